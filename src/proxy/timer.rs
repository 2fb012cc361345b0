//! A deadline that is cheap to move. One timer lives as long as its connection and is reset only when it
//! fires. A busy connection moves its deadline many times a second; the timer wheel is updated once a
//! minute.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer of one connection. It is created at the first wait.
#[derive(Debug, Default)]
pub struct DeadlineTimer(Option<Pin<Box<Sleep>>>);

impl DeadlineTimer {
    /// Ready once `deadline` has passed. Until then the task is woken at the deadline, and perhaps once before.
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
    async fn it_fires_at_its_deadline_after_any_move() {
        let mut timer = DeadlineTimer::default();
        for seconds in [5, 1, 60, 2] {
            let deadline = Instant::now() + Duration::from_secs(seconds);
            poll_fn(|cx| timer.poll(cx, deadline)).await;
            assert_eq!(Instant::now(), deadline);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_was_moved_does_not_fire_at_the_old_time() {
        let mut timer = DeadlineTimer::default();
        let start = Instant::now();
        let early = start + Duration::from_secs(1);
        assert!(
            poll_fn(|cx| Poll::Ready(timer.poll(cx, early)))
                .await
                .is_pending()
        );
        let late = start + Duration::from_secs(9);
        poll_fn(|cx| timer.poll(cx, late)).await;
        assert_eq!(Instant::now(), late);
    }
}
