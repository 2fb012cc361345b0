//! Does the time of this process agree with the wall clock? Compared once a second.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::process::admin::health::Health;
use crate::tokens::keys::Keys;
use crate::types::random::Random;
use crate::types::time::{Change, Clock};

/// How often the clocks are compared.
const EVERY: Duration = Duration::from_secs(1);

/// How many lines about jumps may follow each other. One more is allowed each minute.
const LINES: u32 = 10;

/// Compares the clocks, and informs the parts that depend on the time.
pub(crate) struct ClockCheck {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) health: Arc<Health>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) random: Arc<dyn Random>,
}

impl ClockCheck {
    /// Compares until dropped.
    pub(crate) async fn run(self) {
        let mut every = interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lines = Lines {
            left: LINES,
            since: self.clock.monotonic(),
        };
        let mut was_settled = self.clock.state().is_settled;
        loop {
            every.tick().await;
            let changes = self.clock.look();
            let state = self.clock.state();
            self.health.clock(!state.is_apart);
            for change in changes.into_iter().flatten() {
                if lines.may_write(self.clock.monotonic()) {
                    self.log(change);
                }
            }
            if state.is_settled && !was_settled {
                let now = self.clock.now();
                if let Err(error) = self.keys.let_retired_go(now, &*self.random) {
                    tracing::warn!(%error, "keys that have retired were not removed");
                }
            }
            was_settled = state.is_settled;
        }
    }

    fn log(&self, change: Change) {
        let (wall, time) = (self.clock.wall(), self.clock.now());
        match change {
            Change::Jumped { by } if by > 0 => tracing::warn!(
                by = %span(by), %wall, %time,
                "the wall clock jumped forward: time continues without it, and follows when it has \
                 been stable for 30 s"
            ),
            Change::Jumped { by } => tracing::warn!(
                by = %span(by), %wall, %time,
                "the wall clock jumped back: time continues, and limits, locks and lifetimes with it"
            ),
            Change::Adopted { by } => tracing::warn!(
                by = %span(by), %time,
                "the wall clock has been ahead for 30 s: time is set forward to it"
            ),
            Change::Met => tracing::info!(%time, "time and the wall clock agree again"),
        }
    }
}

/// Limits the log lines of a clock that is set again and again.
struct Lines {
    left: u32,
    since: Duration,
}

impl Lines {
    fn may_write(&mut self, now: Duration) -> bool {
        let minutes = now.saturating_sub(self.since).as_secs() / 60;
        if minutes > 0 {
            let more = u32::try_from(minutes).unwrap_or(LINES);
            self.left = self.left.saturating_add(more).min(LINES);
            self.since = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

fn span(millis: i64) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_millis(millis.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_all_the_time_does_not_fill_the_log() {
        let mut lines = Lines {
            left: LINES,
            since: Duration::ZERO,
        };
        let hour = 1..=3_600;
        let written = hour.filter(|second| lines.may_write(Duration::from_secs(*second)));
        assert_eq!(written.count(), 70);
        assert!(lines.may_write(Duration::from_secs(7_200)));
    }
}
