//! Can the store still commit, and are its files still there?

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::net::lifecycle::{Lifecycle, Phase};
use crate::process::admin::health::Health;
use crate::service::Service;
use crate::store::Lifecycle as _;

/// How often it is checked whether the store can commit.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// How often its files are checked.
const FILES_EVERY: Duration = Duration::from_millis(250);

/// Checks the store until its process closes it.
pub(crate) async fn check_store(service: Arc<Service>, health: Arc<Health>, lifecycle: Lifecycle) {
    let (mut checks, mut files) = (every(CHECK_EVERY), every(FILES_EVERY));
    let mut is_well = true;
    loop {
        tokio::select! {
            _ = checks.tick() => {}
            _ = files.tick() => {
                if service.store().is_lost() {
                    health.lose_store();
                }
                continue;
            }
        }
        if lifecycle.phase() >= Phase::Closing {
            // The store is closed next; from then on it cannot commit.
            return;
        }
        is_well = match service.store().check().await {
            Ok(()) => {
                if !is_well {
                    tracing::info!("the store answers again");
                }
                true
            }
            Err(error) => {
                if is_well {
                    tracing::error!(%error, "the store cannot commit; writes are answered with 503");
                }
                false
            }
        };
        health.store(is_well);
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
