//! What must a byte-level engine do? Look up, scan in order, and apply a batch as a whole.
//!
//! Records, indexes and rules are built on top of this trait, once for all such engines.

use std::collections::BTreeMap;

use std::path::Path;

use crate::store::StoreError;
use crate::store::embedded::commits::Commit;
use crate::types::ids::StoreId;

/// An ordered map of bytes that commits whole batches durably. Owned by one thread.
pub(crate) trait Ledger: Send + 'static {
    /// The value of a key.
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Up to `limit` pairs of a range, in the given order.
    fn scan(
        &mut self,
        range: &KeyRange,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// Sets the id of the store. The engine keeps the last commit beside its log, and a copy of it in
    /// the directory `apart`, if there is one. Fails when that copy shows that this store is an older
    /// copy of itself.
    fn identify(&mut self, store: StoreId, apart: Option<&Path>) -> Result<(), StoreError>;

    /// Applies the batch, which is sealed as `commit`, as a whole. Returns when the batch is durable and
    /// recorded as the last one. [`StoreError::Unavailable`] means that nothing of it is or will be
    /// applied, [`StoreError::Indeterminate`] that all of it may be.
    fn commit(&mut self, batch: &Batch, commit: &Commit) -> Result<(), StoreError>;

    /// Bytes on disk; zero for engines without files.
    fn disk_bytes(&self) -> u64;

    /// Whether no store was ever completed here.
    fn is_new(&self) -> bool;

    /// Records durably that a store was completed here, so that a missing store is never taken for a new
    /// one.
    fn mark_created(&mut self, store: StoreId) -> Result<(), StoreError>;

    /// Called about once a second, also when there is nothing to do.
    fn tick(&mut self);

    /// Whether the files were removed, or replaced by others.
    fn is_lost(&self) -> bool;

    /// Releases the files. No other method is called afterwards.
    fn close(&mut self) -> Result<(), StoreError>;
}

/// One stored pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: Vec<u8>,
    /// The value.
    pub(crate) value: Vec<u8>,
}

/// Keys from `from` up to, not including, `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRange {
    /// The first key in the range.
    pub(crate) from: Vec<u8>,
    /// The first key after the range.
    pub(crate) to: Vec<u8>,
}

impl KeyRange {
    /// All keys that begin with `prefix`, which must contain a byte other than `0xFF`.
    pub(crate) fn prefix(prefix: &[u8]) -> Self {
        let mut to = prefix.to_vec();
        while let Some(last) = to.pop() {
            if let Some(next) = last.checked_add(1) {
                to.push(next);
                break;
            }
        }
        Self {
            from: prefix.to_vec(),
            to,
        }
    }

    /// The part of this range after `key`.
    pub(crate) fn after(mut self, key: &[u8]) -> Self {
        let mut next = key.to_vec();
        next.push(0);
        if next > self.from {
            self.from = next;
        }
        self
    }

    /// Whether the range can contain no key.
    pub(crate) fn is_empty(&self) -> bool {
        self.from >= self.to
    }
}

/// The direction of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// Writes by key: `Some` stores a value, `None` deletes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The writes.
    pub(crate) writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Adds later writes, which replace earlier ones of the same key.
    pub(crate) fn absorb(&mut self, later: Self) {
        self.writes.extend(later.writes);
    }

    /// The writes in a range.
    pub(crate) fn within(
        &self,
        range: &KeyRange,
    ) -> impl Iterator<Item = (&Vec<u8>, &Option<Vec<u8>>)> {
        let bounds = (!range.is_empty()).then(|| range.from.clone()..range.to.clone());
        bounds
            .into_iter()
            .flat_map(|bounds| self.writes.range(bounds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_range_ends_where_the_next_prefix_begins() {
        assert_eq!(KeyRange::prefix(b"ab").to, b"ac");
        assert_eq!(KeyRange::prefix(&[b'a', 0xFF, 0xFF]).to, b"b");
    }

    #[test]
    fn after_never_widens_a_range() {
        let range = KeyRange::prefix(b"b");
        assert_eq!(range.clone().after(b"a"), range);
        assert_eq!(range.clone().after(b"bb").from, b"bb\0");
        assert!(range.after(b"c").is_empty());
    }
}
