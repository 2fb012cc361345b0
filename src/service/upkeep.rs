//! What runs beside the requests: writing activity, summing up refreshes, sweeping what has expired,
//! forgetting idle limiter keys. The server starts [`work`] once and drops it at the end; dropping
//! loses at most notes of activity.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::service::activity::{ActivityQueue, Note};
use crate::service::error::AuthError;
use crate::service::{Current, Service};
use crate::store::{BulkStore as _, Lifecycle as _, RevocationLog as _, Seen, SessionStore as _};

/// How often expired records are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// How many records one sweep removes at most, so that it never holds up the committer.
const SWEEP_BATCH: usize = 500;

/// The queues that upkeep empties, and what it tells about itself.
#[derive(Debug)]
pub struct Queues {
    /// Notes of activity.
    pub activity: ActivityQueue,
}

/// Numbers about upkeep.
#[derive(Debug, Default)]
pub struct Upkeep {
    swept: AtomicU64,
}

impl Upkeep {
    /// How many expired records were removed so far.
    pub fn swept(&self) -> u64 {
        self.swept.load(Ordering::Relaxed)
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
    /// Loads the revocations that still matter, and what log-ins need. Nothing may be judged before
    /// this succeeded.
    pub async fn load_revocations(&self) -> Result<usize, AuthError> {
        let revocations = self.parts.store.revocations().await?;
        if let Some(moment) = self.parts.store.ended_through().await? {
            self.parts.liveness.end_through(moment);
        }
        self.parts.liveness.load(&revocations);
        // The first log-in must not take longer than the others.
        self.decoy_key().await?;
        Ok(revocations.len())
    }

    /// Removes what has expired, batch by batch. While the wall clock is in doubt nothing goes: what
    /// only seems to have expired could not be brought back.
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
            tracing::debug!(%error, "a note of activity was not kept");
        }
    }
}
