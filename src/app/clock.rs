//! Compares the time of this process with the wall clock, once a second, and says what it finds.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::server::admin::Pulse;
use crate::telemetry::metrics::ClockNumbers;
use crate::tokens::keys::Keys;
use crate::types::random::Random;
use crate::types::time::{Change, Clock};

/// How often the clocks are compared.
const EVERY: Duration = Duration::from_secs(1);

/// The most lines about jumps that follow each other; one more is allowed each minute.
const LINES: u32 = 10;

/// The clock's numbers for the metrics page.
pub(super) fn numbers(clock: &Arc<dyn Clock>) -> impl Fn() -> ClockNumbers + use<> {
    let clock = Arc::clone(clock);
    move || {
        let state = clock.state();
        ClockNumbers {
            forward: state.jumps_forward,
            backward: state.jumps_backward,
            difference: state.difference,
        }
    }
}

/// The parts that have to do with time.
pub(super) struct Watcher {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) keys: Arc<Keys>,
    pub(super) random: Arc<dyn Random>,
}

impl Watcher {
    /// Watches until dropped.
    pub(super) async fn watch(self) {
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
            self.pulse.clock(!state.is_apart);
            for change in changes.into_iter().flatten() {
                if lines.may_be_written(self.clock.monotonic()) {
                    self.tell(change);
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

    fn tell(&self, change: Change) {
        let (wall, time) = (self.clock.wall(), self.clock.now());
        match change {
            Change::Jumped { by } if by > 0 => tracing::warn!(
                by = %span(by), %wall, %time,
                "the wall clock jumped forward: time goes on without it, and follows when it has \
                 been stable for 30 s"
            ),
            Change::Jumped { by } => tracing::warn!(
                by = %span(by), %wall, %time,
                "the wall clock jumped back: time goes on, and limits, locks and lifetimes with it"
            ),
            Change::Adopted { by } => tracing::warn!(
                by = %span(by), %time,
                "the wall clock has been ahead for 30 s: time has gone forward to meet it"
            ),
            Change::Met => tracing::info!(%time, "time and the wall clock agree again"),
        }
    }
}

/// A clock that is set again and again must not fill the log.
struct Lines {
    left: u32,
    since: Duration,
}

impl Lines {
    fn may_be_written(&mut self, now: Duration) -> bool {
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
        let written = hour.filter(|second| lines.may_be_written(Duration::from_secs(*second)));
        assert_eq!(written.count(), 70);
        assert!(lines.may_be_written(Duration::from_secs(7_200)));
    }
}
