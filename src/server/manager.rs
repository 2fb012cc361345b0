//! What the service manager is told: ready, reloading, stopping, alive. systemd listens at
//! `NOTIFY_SOCKET`; where nobody does, nothing is told.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

use crate::server::admin::Pulse;
use crate::server::lifecycle::{Lifecycle, Phase};

/// Requests are answered, by what `status` says.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload has begun. The time goes with it in one message: systemd tells by it that the readiness
/// which follows belongs to this reload.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "no monotonic clock; a reload is not announced"),
    }
}

/// The end has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells that the process is alive as often as is asked for, as long as every worker has turned since
/// the last time. Once the end has begun workers come to rest one by one, which is no trouble.
pub async fn watchdog(pulse: Arc<Pulse>, lifecycle: Lifecycle) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut every = interval((limit / 2).max(SHORTEST));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: Option<Vec<u64>> = None;
    loop {
        every.tick().await;
        let ticks = pulse.ticks();
        if lifecycle.phase() >= Phase::Ending
            || before.is_none_or(|before| all_turned(&before, &ticks))
        {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("a worker is stuck; the watchdog is not told that all is well");
        }
        before = Some(ticks);
    }
}

/// Whether no worker stands where it stood.
fn all_turned(before: &[u64], now: &[u64]) -> bool {
    now.iter().zip(before).all(|(now, before)| now != before)
}

/// Workers turn four times a second; to look more often would find them standing.
const SHORTEST: Duration = Duration::from_millis(500);

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stuck_worker_silences_the_watchdog() {
        assert!(all_turned(&[1, 1], &[2, 3]));
        assert!(!all_turned(&[1, 1], &[2, 1]));
        assert!(!all_turned(&[1, 1], &[1, 1]));
    }
}
