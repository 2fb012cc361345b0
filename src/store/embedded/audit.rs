//! How are audit records read that an earlier version has written to the store?

use crate::model::audit::AuditRecord;
use crate::model::user::UserKey;
use crate::store::embedded::Embedded;
use crate::store::embedded::keys;
use crate::store::embedded::ledger::{Entry, Order};
use crate::store::embedded::transaction::Transaction;
use crate::store::{AuditStore, Route, StoreError, codec};
use crate::types::time::Timestamp;

impl AuditStore for Embedded {
    async fn old_audit(&self, limit: usize) -> Result<Vec<(u64, AuditRecord)>, StoreError> {
        self.run(move |view| view.old_audit(limit)).await
    }

    async fn forget_audit(&self, places: Vec<(Timestamp, u64)>) -> Result<(), StoreError> {
        self.run(move |view| view.forget_audit(&places)).await
    }

    async fn audit(
        &self,
        user: Option<&UserKey>,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let route = user.map(Route::of);
        self.run(move |view| {
            if let Some(route) = route {
                return view.audit_of(route, limit);
            }
            let page = view.scan(&keys::audits(), Order::Descending, limit)?;
            page.iter()
                .map(|line| codec::decode(&line.key, &line.value))
                .collect()
        })
        .await
    }
}

impl Embedded {
    /// Appends records, for tests that need a store of an earlier version.
    pub(crate) async fn append_audit(&self, records: Vec<AuditRecord>) -> Result<(), StoreError> {
        self.run(move |view| view.append_audit(&records)).await
    }
}

impl Transaction<'_> {
    fn append_audit(&mut self, records: &[AuditRecord]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let added = records.len() as u64;
        let totals = self.count(|t| t.audit_lines = t.audit_lines.saturating_add(added))?;
        let first = totals.audit_lines.saturating_sub(added);
        for (number, record) in (first..).zip(records) {
            self.put(keys::audit(record.at, number), record)?;
            if let Some(route) = route_of(record) {
                self.put(keys::audit_index(route, record.at, number), &())?;
            }
        }
        Ok(())
    }

    fn audit_of(&mut self, route: Route, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        let mut records = Vec::new();
        for entry in self.scan(&keys::audit_index_of(route), Order::Descending, limit)? {
            let Some(line) = keys::indexed_audit(&entry.key) else {
                continue;
            };
            if let Some(record) = self.get(&line)? {
                records.push(record);
            }
        }
        Ok(records)
    }

    /// The oldest records. A damaged record is removed, because it can never be read.
    fn old_audit(&mut self, limit: usize) -> Result<Vec<(u64, AuditRecord)>, StoreError> {
        let mut records = Vec::new();
        for Entry { key, value } in self.scan(&keys::audits(), Order::Ascending, limit)? {
            let record = codec::decode::<AuditRecord>(&key, &value);
            match (record, keys::audit_number(&key)) {
                (Ok(record), Some(number)) if keys::audit(record.at, number) == key => {
                    records.push((number, record));
                }
                _ => {
                    tracing::warn!("a damaged audit record is removed from the store");
                    self.delete(key);
                }
            }
        }
        Ok(records)
    }

    fn forget_audit(&mut self, places: &[(Timestamp, u64)]) -> Result<(), StoreError> {
        for (at, number) in places {
            let line = keys::audit(*at, *number);
            let Some(record) = self.get::<AuditRecord>(&line)? else {
                continue;
            };
            let entry = route_of(&record).and_then(|r| keys::audit_index_at(r, &line));
            if let Some(entry) = entry {
                self.delete(entry);
            }
            self.delete(line);
        }
        Ok(())
    }

    /// Removes up to `limit` records that are older than they must be kept.
    pub(crate) fn sweep_audit(&mut self, limit: usize) -> Result<usize, StoreError> {
        let oldest = self.now.minus(self.lives.audit);
        let page = self.scan(&keys::audits_before(oldest), Order::Ascending, limit)?;
        let swept = page.len();
        for Entry { key: line, value } in page {
            match codec::decode::<AuditRecord>(&line, &value) {
                Ok(record) => {
                    let entry = route_of(&record).and_then(|r| keys::audit_index_at(r, &line));
                    if let Some(entry) = entry {
                        self.delete(entry);
                    }
                }
                Err(error) => tracing::warn!(%error, "a damaged audit record is removed"),
            }
            self.delete(line);
        }
        Ok(swept)
    }
}

fn route_of(record: &AuditRecord) -> Option<Route> {
    let user = record.user?;
    Some(Route::of(&UserKey {
        tenant: record.tenant.clone(),
        user,
    }))
}
