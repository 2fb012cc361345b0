//! What does one operation see of the store? Its own writes, then those of its group, then the ledger.
//!
//! The writes of an operation are applied only if it succeeds as a whole.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::StoreError;
use crate::store::codec;
use crate::store::embedded::keys::{self, META_TOTALS};
use crate::store::embedded::ledger::{Batch, Entry, KeyRange, Ledger, Order};
use crate::store::embedded::records::Totals;
use crate::store::embedded::snapshot::Snapshots;
use crate::store::embedded::touches::Touches;
use crate::types::time::Timestamp;

/// The number of records in one read when all of a range are wanted.
const PAGE: usize = 512;

/// How long records are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lives {
    /// How long a revocation is kept.
    pub(crate) revocation: Duration,
    /// How long audit records are kept.
    pub(crate) audit: Duration,
}

/// The view of one operation.
pub(crate) struct Transaction<'a> {
    ledger: &'a mut dyn Ledger,
    group: &'a Batch,
    own: Batch,
    saw_group: bool,
    /// Activity that is recorded and not yet written.
    pub(crate) touches: &'a mut Touches,
    snapshots: &'a mut Snapshots,
    /// The time of the operation, by the clock of the store.
    pub(crate) now: Timestamp,
    /// How long records are kept.
    pub(crate) lives: Lives,
}

impl<'a> Transaction<'a> {
    /// A view at `now`, on top of the writes of the group so far.
    pub(crate) fn new(
        ledger: &'a mut dyn Ledger,
        group: &'a Batch,
        touches: &'a mut Touches,
        snapshots: &'a mut Snapshots,
        now: Timestamp,
        lives: Lives,
    ) -> Self {
        Self {
            ledger,
            group,
            own: Batch::default(),
            saw_group: false,
            touches,
            snapshots,
            now,
            lives,
        }
    }

    /// The writes of the operation, and whether it has read writes of its group that are not yet
    /// durable.
    pub(crate) fn finish(self) -> (Batch, bool) {
        (self.own, self.saw_group)
    }

    /// The record of a key.
    pub(crate) fn get<T: DeserializeOwned>(&mut self, key: &[u8]) -> Result<Option<T>, StoreError> {
        let bytes = self.bytes(key)?;
        bytes.map(|bytes| codec::decode(key, &bytes)).transpose()
    }

    /// The record of a key, undecoded.
    pub(crate) fn bytes(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let written = match self.own.writes.get(key) {
            Some(written) => Some(written.clone()),
            None => self.group.writes.get(key).map(|written| {
                self.saw_group = true;
                written.clone()
            }),
        };
        match written {
            Some(value) => Ok(value),
            None => self.ledger.get(key),
        }
    }

    /// Whether there is a record with this key.
    pub(crate) fn has(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        let one = KeyRange {
            from: key.to_vec(),
            to: [key, &[0]].concat(),
        };
        Ok(!self.scan(&one, Order::Ascending, 1)?.is_empty())
    }

    /// Stores a record.
    pub(crate) fn put<T: Serialize>(&mut self, key: Vec<u8>, record: &T) -> Result<(), StoreError> {
        let bytes = codec::encode(&key, record)?;
        self.put_raw(key, bytes);
        Ok(())
    }

    /// Stores bytes that are an encoded record.
    pub(crate) fn put_raw(&mut self, key: Vec<u8>, bytes: Vec<u8>) {
        self.own.writes.insert(key, Some(bytes));
    }

    /// The ledger without the writes of this group, and the snapshot of a backup.
    pub(crate) fn committed(&mut self) -> (&mut dyn Ledger, &mut Snapshots) {
        (&mut *self.ledger, &mut *self.snapshots)
    }

    /// Removes a record.
    pub(crate) fn delete(&mut self, key: Vec<u8>) {
        self.own.writes.insert(key, None);
    }

    /// Up to `limit` pairs of a range, undecoded, in the given order.
    pub(crate) fn scan(
        &mut self,
        range: &KeyRange,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut shadowed = 0;
        for (_, write) in self.group.within(range) {
            self.saw_group = true;
            shadowed += usize::from(write.is_none());
        }
        let own_deletes = self.own.within(range).filter(|(_, w)| w.is_none()).count();
        // Enough to have `limit` pairs left when the deleted ones are removed.
        let fetch = limit.saturating_add(shadowed).saturating_add(own_deletes);
        let stored = self.ledger.scan(range, order, fetch)?;
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = stored
            .into_iter()
            .map(|entry| (entry.key, entry.value))
            .collect();
        for (key, write) in self.group.within(range).chain(self.own.within(range)) {
            match write {
                Some(bytes) => merged.insert(key.clone(), bytes.clone()),
                None => merged.remove(key),
            };
        }
        let entry = |(key, value)| Entry { key, value };
        let merged = merged.into_iter();
        Ok(match order {
            Order::Ascending => merged.take(limit).map(entry).collect(),
            Order::Descending => merged.rev().take(limit).map(entry).collect(),
        })
    }

    /// All records of a range that is small by its meaning (the sessions of one user, the revocations in
    /// force), read page by page.
    pub(crate) fn all<T: DeserializeOwned>(
        &mut self,
        range: KeyRange,
    ) -> Result<Vec<T>, StoreError> {
        let mut rest = range;
        let mut records = Vec::new();
        loop {
            let page = self.scan(&rest, Order::Ascending, PAGE)?;
            for Entry { key, value } in &page {
                records.push(codec::decode(key, value)?);
            }
            match page.last() {
                Some(last) if page.len() == PAGE => rest = rest.after(&last.key),
                _ => return Ok(records),
            }
        }
    }

    /// Stores the entry with the time at which a record is examined.
    pub(crate) fn expire_at(&mut self, at: Timestamp, record: &[u8]) -> Result<(), StoreError> {
        self.put(keys::expiry(at, record), &())
    }

    /// Deletes that entry.
    pub(crate) fn unexpire(&mut self, at: Timestamp, record: &[u8]) {
        self.delete(keys::expiry(at, record));
    }

    /// Changes the totals.
    pub(crate) fn count(&mut self, change: impl FnOnce(&mut Totals)) -> Result<Totals, StoreError> {
        let mut totals: Totals = self.get(META_TOTALS)?.unwrap_or_default();
        change(&mut totals);
        self.put(META_TOTALS.to_vec(), &totals)?;
        Ok(totals)
    }
}
