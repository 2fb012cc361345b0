//! A deadline that is cheap to move: one timer lives as long as its connection and is set again
//! only when it rings. A busy connection moves its deadline many times a second; the timer wheel
//! hears of it once a minute.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer of one connection. Nothing is made before the first wait.
#[derive(Debug, Default)]
pub struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once `deadline` has passed; until then the task is woken at or before it, perhaps
    /// once too often.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_its_deadline_wherever_that_was_moved() {
        let mut alarm = Alarm::default();
        for seconds in [5, 1, 60, 2] {
            let deadline = Instant::now() + Duration::from_secs(seconds);
            poll_fn(|cx| alarm.poll(cx, deadline)).await;
            assert_eq!(Instant::now(), deadline);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_moved_back_does_not_ring_at_the_old_time() {
        let mut alarm = Alarm::default();
        let start = Instant::now();
        let early = start + Duration::from_secs(1);
        assert!(
            poll_fn(|cx| Poll::Ready(alarm.poll(cx, early)))
                .await
                .is_pending()
        );
        let late = start + Duration::from_secs(9);
        poll_fn(|cx| alarm.poll(cx, late)).await;
        assert_eq!(Instant::now(), late);
    }
}
