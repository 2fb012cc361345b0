//! What runs beside the requests: writing activity and audit records, sweeping what has expired,
//! forgetting idle limiter keys. The server starts [`work`] once and drops it at the
//! end; dropping loses at most notes of activity, because the audit queue is emptied by
//! [`Service::flush_audit`] on the way out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::service::activity::{ActivityQueue, Note};
use crate::service::audit::AuditQueue;
use crate::service::error::AuthError;
use crate::service::{Current, Service};
use crate::store::{
    AuditStore as _, BulkStore as _, Lifecycle as _, RevocationLog as _, Seen, SessionStore as _,
};

/// How often expired records are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// How many records one sweep removes at most, so that it never holds up the committer.
const SWEEP_BATCH: usize = 500;

/// How many audit records go to the store at once.
const AUDIT_BATCH: usize = 256;

/// The queues that upkeep empties, and what it tells about itself.
#[derive(Debug)]
pub struct Queues {
    /// Notes of activity.
    pub activity: ActivityQueue,
    /// Audit records.
    pub audit: AuditQueue,
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
    let mut records = Vec::with_capacity(AUDIT_BATCH);
    loop {
        tokio::select! {
            _ = sweep.tick() => current.load_full().sweep(upkeep).await,
            Some(note) = queues.activity.recv() => current.load_full().keep_note(&note).await,
            count = queues.audit.recv_many(&mut records, AUDIT_BATCH) => {
                if count > 0 {
                    let records = std::mem::take(&mut records);
                    current.load_full().keep_audit(records).await;
                }
            }
        }
    }
}

impl Service {
    /// Loads the revocations that still matter. Nothing may be judged before this succeeded.
    pub async fn load_revocations(&self) -> Result<usize, AuthError> {
        let revocations = self.parts.store.revocations().await?;
        if let Some(moment) = self.parts.store.ended_through().await? {
            self.parts.liveness.end_through(moment);
        }
        self.parts.liveness.load(&revocations);
        Ok(revocations.len())
    }

    /// Writes what is left in the audit queue; for the way out.
    pub async fn flush_audit(&self, queues: &mut Queues) {
        let mut records = Vec::new();
        while let Ok(record) = queues.audit.try_recv() {
            records.push(record);
        }
        if !records.is_empty() {
            self.keep_audit(records).await;
        }
    }

    /// Removes what has expired, batch by batch. While the wall clock is in doubt nothing goes: what
    /// only seems to have expired could not be brought back.
    pub async fn sweep(&self, upkeep: &Upkeep) {
        self.parts.limits.housekeep();
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

    async fn keep_audit(&self, records: Vec<crate::model::audit::AuditRecord>) {
        let count = records.len();
        if let Err(error) = self.parts.store.append_audit(records).await {
            tracing::error!(%error, count, "audit records are in this log only");
        }
    }
}
