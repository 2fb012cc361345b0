//! What runs beside the requests? Writing activity, summing up refreshes, removing expired records and
//! idle entries of the limits.
//!
//! The process starts [`work`] once and drops it at the end. Dropping it loses reports of activity at
//! most.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::service::activity::{ActivityQueue, Note};
use crate::service::{Current, Service};
use crate::store::{Lifecycle as _, Seen, SessionStore as _};

/// How often expired records are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// The number of records that one step removes, so that it does not delay other operations.
const SWEEP_BATCH: usize = 500;

/// The queues that upkeep reads.
#[derive(Debug)]
pub struct Queues {
    /// Reports of activity.
    pub activity: ActivityQueue,
}

/// Numbers about upkeep.
#[derive(Debug, Default)]
pub struct Upkeep {
    swept: AtomicU64,
    mails: AtomicU64,
}

impl Upkeep {
    /// The number of expired records removed so far.
    pub fn swept(&self) -> u64 {
        self.swept.load(Ordering::Relaxed)
    }

    /// The number of mails in the queue, when it was read last.
    pub fn mails(&self) -> u64 {
        self.mails.load(Ordering::Relaxed)
    }

    /// Notes the number of mails in the queue.
    pub(super) fn note_mails(&self, waiting: u64) {
        self.mails.store(waiting, Ordering::Relaxed);
    }
}

/// Works until dropped, each time with the service in force.
pub async fn work(current: &Current, queues: &mut Queues, upkeep: &Upkeep) {
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = sweep.tick() => current.load_full().sweep(upkeep).await,
            Some(note) = queues.activity.recv() => current.load_full().keep_note(&note).await,
        }
    }
}

impl Service {
    /// Removes expired records, batch by batch. While the wall clock is in doubt nothing is removed,
    /// because a removal could not be undone.
    pub async fn sweep(&self, upkeep: &Upkeep) {
        self.parts.limits.housekeep();
        self.parts.audit.sum_up(self.now(), false);
        if !self.parts.clock.state().is_settled {
            return;
        }
        self.parts.renewals.housekeep(self.now());
        self.parts.first_sights.housekeep();
        self.parts.liveness.prune(self.now());
        loop {
            match self.parts.store.sweep(SWEEP_BATCH).await {
                Ok(count) => {
                    upkeep.swept.fetch_add(count as u64, Ordering::Relaxed);
                    if count < SWEEP_BATCH {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "expired records were not removed; trying again soon");
                    return;
                }
            }
        }
    }

    async fn keep_note(&self, note: &Note) {
        let seen = Seen {
            address: note.address,
        };
        if let Err(error) = self.parts.store.touch(&note.session, seen).await {
            tracing::debug!(%error, "the activity of a session was not recorded");
        }
    }
}
