//! When is an audit record written? After its act is durable and before the act is answered.
//!
//! The record is passed to the operating system before the answer, as long as the disk responds
//! ([`Service::audit_settled`]). Refreshes are counted, and one record each hour states their number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::audit::{AuditLog, Checked, Found, Part, Query};
use crate::model::audit::{Actor, AuditAction, AuditRecord};
use crate::model::session::SessionKey;
use crate::model::user::UserKey;
use crate::service::Service;
use crate::service::caller::Caller;
use crate::service::error::AuthError;
use crate::store::AuditStore as _;
use crate::types::ids::TenantId;
use crate::types::time::Timestamp;

/// How often refreshes are summed up.
const SUMMARY_EVERY: Duration = Duration::from_secs(3_600);

/// The number of records that one step moves out of the store.
const CARRY_BATCH: usize = 500;

/// Writes audit records.
#[derive(Debug)]
pub struct Audit {
    log: Arc<AuditLog>,
    /// Whether each refresh has a record.
    refreshes: bool,
    /// The number of refreshes since the last summary.
    refreshed: AtomicU64,
    /// The time of the last summary, in milliseconds; zero before the first.
    summed_up: AtomicU64,
}

impl Audit {
    /// Writes records to this log, and refreshes one by one or summed up.
    pub fn new(log: AuditLog, refreshes: bool) -> Self {
        Self {
            log: Arc::new(log),
            refreshes,
            refreshed: AtomicU64::new(0),
            summed_up: AtomicU64::new(0),
        }
    }

    /// The log.
    pub fn log(&self) -> &Arc<AuditLog> {
        &self.log
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
            count = record.count,
        );
        if !self.log.record(record) {
            tracing::error!("the audit queue is full; the record above is in this log only");
        }
    }

    /// Writes the record of an ordinary refresh, or counts it.
    pub fn refreshed(&self, record: AuditRecord) {
        if self.refreshes {
            self.record(record);
        } else {
            self.refreshed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes the number of refreshes since the last summary, when it is due or at the end.
    pub fn sum_up(&self, now: Timestamp, is_end: bool) {
        let before = self.summed_up.load(Ordering::Relaxed);
        if before == 0 && !is_end {
            self.summed_up.store(now.as_millis(), Ordering::Relaxed);
            return;
        }
        if !is_end && now.since(Timestamp::from_millis(before)) < SUMMARY_EVERY {
            return;
        }
        self.summed_up.store(now.as_millis(), Ordering::Relaxed);
        let count = self.refreshed.swap(0, Ordering::Relaxed);
        if count > 0 {
            let mut entry = Entry::new(now, AuditAction::Refresh, "summary", Actor::System);
            entry.record.count = Some(count);
            self.record(entry.done());
        }
    }
}

impl Service {
    /// The audit log, for its numbers.
    pub fn audit_log(&self) -> &Arc<AuditLog> {
        self.parts.audit.log()
    }

    /// Waits for a short time until the records so far are passed to the operating system.
    pub async fn audit_settled(&self) {
        self.audit_log().settled().await;
    }

    /// Writes the rest of the audit log and releases its files. For the shutdown.
    pub async fn close_audit(&self) {
        self.parts.audit.sum_up(self.now(), true);
        let log = Arc::clone(self.audit_log());
        if spawn_blocking(move || log.close()).await.is_err() {
            tracing::error!("the end of the audit log panicked");
        }
    }

    /// The newest records that match, newest first.
    pub async fn operator_audit_find(&self, query: Query) -> Result<Found, AuthError> {
        let most_wanted = query.limit;
        let mut found = self.read_audit(Part::Live, query.clone()).await?;
        let mut in_store = Vec::new();
        let left = |found: &Found| query.limit.saturating_sub(found.records.len());
        if left(&found) > 0 {
            // Records that are not yet moved. All are read if the query selects few.
            let most = if query.action.is_some() || query.since.is_some() {
                MOST_IN_STORE
            } else {
                left(&found)
            };
            let old = self.parts.store.audit(query.user.as_ref(), most).await?;
            let wanted = old.into_iter().filter(|record| query.wants(record));
            in_store = wanted.take(left(&found)).collect();
            found.records.extend(in_store.iter().cloned());
        }
        if left(&found) > 0 {
            let rest = Query {
                limit: left(&found) + in_store.len().min(CARRY_BATCH),
                ..query
            };
            let carried = self.read_audit(Part::Carried, rest).await?;
            // A record that was written to the files and not yet removed from the store is found in
            // both.
            for (index, record) in carried.records.into_iter().enumerate() {
                if index >= CARRY_BATCH || !in_store.contains(&record) {
                    found.records.push(record);
                }
            }
            found.records.truncate(most_wanted);
            found.faults.extend(carried.faults);
        }
        Ok(found)
    }

    async fn read_audit(&self, part: Part, query: Query) -> Result<Found, AuthError> {
        let log = Arc::clone(self.audit_log());
        let found = spawn_blocking(move || log.find(part, &query)).await;
        readable(found)
    }

    /// Examines every line of the audit files.
    pub async fn operator_audit_check(&self) -> Result<Checked, AuthError> {
        let log = Arc::clone(self.audit_log());
        readable(spawn_blocking(move || log.check()).await)
    }

    /// Moves the records that an earlier version kept in the store to the files, step by step. Records
    /// that were moved and not yet removed when the process died are not written a second time.
    pub async fn carry_over_audit(&self) {
        match self.carry_over().await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "audit records were moved from the store to files"),
            Err(error) => {
                tracing::warn!(%error, "audit records stay in the store; the next start continues");
            }
        }
    }

    async fn carry_over(&self) -> Result<usize, AuthError> {
        let store = &self.parts.store;
        let mut page = store.old_audit(CARRY_BATCH).await?;
        if page.is_empty() || self.audit_log().directory().is_none() {
            return Ok(0);
        }
        let log = Arc::clone(self.audit_log());
        let written = readable(spawn_blocking(move || log.carried()).await)?;
        let mut count = 0;
        while !page.is_empty() {
            let places = page.iter().map(|(number, r)| (r.at, *number)).collect();
            page.retain(|(number, _)| !written.contains(number));
            count += page.len();
            let carried = self.audit_log().carry(page).await;
            carried.map_err(|error| AuthError::Internal(error.to_string()))?;
            store.forget_audit(places).await?;
            page = store.old_audit(CARRY_BATCH).await?;
        }
        Ok(count)
    }
}

/// The largest number of records in the store that are searched.
const MOST_IN_STORE: usize = 10_000;

fn readable<T>(
    outcome: Result<std::io::Result<T>, tokio::task::JoinError>,
) -> Result<T, AuthError> {
    match outcome {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(AuthError::Internal(format!(
            "the audit files cannot be read: {error}"
        ))),
        Err(_) => Err(AuthError::Internal(
            "reading the audit files panicked".to_owned(),
        )),
    }
}

/// Builds a record.
#[derive(Debug)]
pub struct Entry {
    record: AuditRecord,
}

impl Entry {
    /// An act of the client of a request.
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

    /// An act of Sidegate itself.
    pub fn by_system(at: Timestamp, action: AuditAction, outcome: &str) -> Self {
        Self::new(at, action, outcome, Actor::System)
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
                count: None,
            },
        }
    }

    /// Adds the account.
    #[must_use]
    pub fn about(mut self, user: &UserKey) -> Self {
        self.record.tenant = user.tenant.clone();
        self.record.user = Some(user.user);
        self
    }

    /// Adds the session.
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
