//! What an embedded engine must be able to do, in bytes: look up, scan in order, and apply a batch
//! as a whole. Everything above it (records, indexes, rules) is written once, in this folder.

use std::collections::BTreeMap;

use std::path::Path;

use crate::store::StoreError;
use crate::store::embedded::commits::Commit;
use crate::types::ids::StoreId;

/// An ordered map of bytes that commits whole batches durably. One thread owns it.
pub(crate) trait Ledger: Send + 'static {
    /// The value of a key.
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Up to `limit` pairs of a range, in the asked order.
    fn scan(
        &mut self,
        range: &KeyRange,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// Names the store. The engine keeps the last commit beside its log, and a copy of it in the
    /// directory `apart`, if one is named; refuses when what is kept there says that this store is an
    /// older copy.
    fn identify(&mut self, store: StoreId, apart: Option<&Path>) -> Result<(), StoreError>;

    /// Applies the batch, which is sealed as `commit`, as a whole and returns when it is durable and
    /// noted as the last one. [`StoreError::Unavailable`]
    /// says that nothing of it is or will be applied, [`StoreError::Indeterminate`] that all of it
    /// may be.
    fn commit(&mut self, batch: &Batch, commit: &Commit) -> Result<(), StoreError>;

    /// Bytes on disk; zero for engines without.
    fn disk_bytes(&self) -> u64;

    /// Whether this is a place where no store has ever been completed.
    fn is_new(&self) -> bool;

    /// Notes durably that a store lives here, so that it can never be mistaken for an empty place.
    fn mark_created(&mut self, store: StoreId) -> Result<(), StoreError>;

    /// Called about once a second, however little there is to do.
    fn tick(&mut self);

    /// Whether the files are gone, or others are in their place.
    fn is_lost(&self) -> bool;

    /// Releases the files. Nothing else is called afterwards.
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
    /// The first key that belongs to it.
    pub(crate) from: Vec<u8>,
    /// The first key after it.
    pub(crate) to: Vec<u8>,
}

impl KeyRange {
    /// All keys that begin with `prefix`, which must not consist of `0xFF` alone.
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

    /// The part of this range that comes after `key`.
    pub(crate) fn after(mut self, key: &[u8]) -> Self {
        let mut next = key.to_vec();
        next.push(0);
        if next > self.from {
            self.from = next;
        }
        self
    }

    /// Whether no key can be in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.from >= self.to
    }
}

/// In which direction a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// Writes by key: a value is put, `None` deletes.
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

    /// Adds later writes on top of these.
    pub(crate) fn absorb(&mut self, later: Self) {
        self.writes.extend(later.writes);
    }

    /// The writes that fall into a range.
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
