//! What is sent to the service manager (systemd), and when?
//!
//! Ready, reloading, stopping, alive. systemd listens at `NOTIFY_SOCKET`; without it nothing is sent.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

use crate::net::lifecycle::{Lifecycle, Phase};
use crate::process::admin::health::Health;

/// Requests are answered. `status` is shown by `systemctl status`.
pub(crate) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload has begun. The message contains the time, by which systemd recognises that the next readiness
/// belongs to this reload.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => {
            tracing::warn!(%error, "no monotonic clock; the service manager is not notified of the reload");
        }
    }
}

/// The process begins to end.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Notifies the service manager's watchdog at the interval that it wants, while every worker has ticked since
/// the last time. Once the process begins to end, workers stop one by one, which is normal.
pub(crate) async fn watchdog(health: Arc<Health>, lifecycle: Lifecycle) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut every = interval((limit / 2).max(SHORTEST));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: Option<Vec<u64>> = None;
    loop {
        every.tick().await;
        let ticks = health.ticks();
        if lifecycle.phase() >= Phase::Ending
            || before.is_none_or(|before| have_all_ticked(&before, &ticks))
        {
            notify(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("a worker is stuck; the watchdog is not notified");
        }
        before = Some(ticks);
    }
}

/// Whether each worker has ticked in between.
fn have_all_ticked(before: &[u64], now: &[u64]) -> bool {
    now.iter().zip(before).all(|(now, before)| now != before)
}

/// Workers tick four times a second: a shorter interval would find them unchanged.
const SHORTEST: Duration = Duration::from_millis(500);

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be notified");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stuck_worker_stops_the_watchdog_notifications() {
        assert!(have_all_ticked(&[1, 1], &[2, 3]));
        assert!(!have_all_ticked(&[1, 1], &[2, 1]));
        assert!(!have_all_ticked(&[1, 1], &[1, 1]));
    }
}
