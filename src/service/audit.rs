//! Audit records on their way to the store and the log.
//!
//! The record of an act is queued when the act is durable and written with the next group commit.
//! A crash in the milliseconds between can lose the line, never the act. The queue is bounded; a
//! line that does not fit is counted and told to the log instead.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::model::audit::{Actor, AuditAction, AuditRecord};
use crate::model::session::SessionKey;
use crate::model::user::UserKey;
use crate::service::caller::Caller;
use crate::types::ids::TenantId;
use crate::types::time::Timestamp;

/// How many records may wait for the store.
pub const QUEUE: usize = 8_192;

/// The sending end: cheap, never waits.
#[derive(Debug)]
pub struct Audit {
    queue: mpsc::Sender<AuditRecord>,
    lost: AtomicU64,
}

/// The receiving end, for `service::upkeep`.
pub type AuditQueue = mpsc::Receiver<AuditRecord>;

impl Audit {
    /// Both ends.
    pub fn new() -> (Self, AuditQueue) {
        let (queue, records) = mpsc::channel(QUEUE);
        (
            Self {
                queue,
                lost: AtomicU64::new(0),
            },
            records,
        )
    }

    /// Writes one record.
    pub fn record(&self, record: AuditRecord) {
        tracing::info!(
            target: "sidegate::audit",
            action = record.action.as_str(),
            outcome = %record.outcome,
            tenant = %record.tenant,
            user = record.user.map(tracing::field::display),
            session = record.session.map(tracing::field::display),
            address = record.address.map(tracing::field::display),
            request_id = record.request_id.as_deref(),
        );
        if self.queue.try_send(record).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            tracing::error!("the audit queue is full; the record above is in this log only");
        }
    }

    /// How many records did not fit the queue.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Builds a record about an act of a caller.
#[derive(Debug)]
pub struct Entry {
    record: AuditRecord,
}

impl Entry {
    /// An act of the person at the other end of a request.
    pub fn by_caller(at: Timestamp, action: AuditAction, outcome: &str, caller: &Caller) -> Self {
        let mut entry = Self::new(at, action, outcome, Actor::Caller);
        entry.record.address = caller.address;
        if !caller.request_id.is_empty() {
            entry.record.request_id = Some(caller.request_id.clone());
        }
        entry
    }

    /// An act of an operator.
    pub fn by_operator(at: Timestamp, action: AuditAction, outcome: &str) -> Self {
        Self::new(at, action, outcome, Actor::Operator)
    }

    fn new(at: Timestamp, action: AuditAction, outcome: &str, actor: Actor) -> Self {
        Self {
            record: AuditRecord {
                at,
                action,
                outcome: outcome.to_owned(),
                tenant: TenantId::default(),
                user: None,
                session: None,
                actor,
                address: None,
                request_id: None,
            },
        }
    }

    /// About this account.
    #[must_use]
    pub fn about(mut self, user: &UserKey) -> Self {
        self.record.tenant = user.tenant.clone();
        self.record.user = Some(user.user);
        self
    }

    /// About this session.
    #[must_use]
    pub fn of(mut self, session: &SessionKey) -> Self {
        self.record.session = Some(session.id);
        self.about(&session.owner)
    }

    /// The finished record.
    pub fn done(self) -> AuditRecord {
        self.record
    }
}
