//! How is the store read at one commit while writes continue? Each commit keeps the values that it
//! replaces.
//!
//! A page is read from the ledger, which may contain later commits by then. Therefore each commit first keeps
//! the values that it is about to replace, for the keys that are not yet read. Such a key shows its kept value.
//! A page is one operation among others, so other callers wait for one page at most. The size of the kept
//! values is bounded, and the snapshot of a reader that has stopped is discarded.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::store::backup::append_to_page;
use crate::store::embedded::ledger::{Batch, KeyRange, Ledger, Order};
use crate::store::{SnapshotPage, StoreError};
use crate::types::time::Timestamp;

/// The largest number of records in a page.
const PAGE: usize = 512;

/// The largest size of the kept values and their keys, in bytes.
const MOST_KEPT: usize = 128 << 20;

/// The memory for one kept record in addition to its bytes.
const OVERHEAD: usize = 96;

/// The longest time between two pages.
const PATIENCE: Duration = Duration::from_secs(60);

/// The snapshot that is being read, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    current: Option<Snapshot>,
    last_id: u64,
    /// The time on the monotonic clock.
    now: Duration,
}

/// One snapshot.
#[derive(Debug)]
pub(crate) struct Snapshot {
    id: u64,
    /// The keys that are not yet read.
    rest: KeyRange,
    /// The values at keys of `rest` that have changed since; `None` for keys that did not exist.
    kept: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    kept_bytes: usize,
    asked_at: Duration,
}

impl Snapshots {
    /// Sets the time. Called before every other method.
    pub(crate) fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    pub(crate) fn begin(&mut self, at: Timestamp) -> Result<u64, StoreError> {
        self.forget_idle();
        if self.current.is_some() {
            return Err(StoreError::Unavailable(
                "another backup is running; wait until it is complete".to_owned(),
            ));
        }
        // Not a small number, which a reader from before a restart might still use.
        self.last_id = self.last_id.max(at.as_millis()).saturating_add(1);
        self.current = Some(Snapshot {
            id: self.last_id,
            rest: KeyRange {
                from: Vec::new(),
                to: vec![u8::MAX],
            },
            kept: BTreeMap::new(),
            kept_bytes: 0,
            asked_at: self.now,
        });
        Ok(self.last_id)
    }

    pub(crate) fn get(&mut self, id: u64) -> Result<&mut Snapshot, StoreError> {
        let found = self.current.as_mut().filter(|snapshot| snapshot.id == id);
        let snapshot = found.ok_or_else(|| {
            StoreError::Unavailable(format!(
                "the backup was cancelled: it was not continued for {} s, or more than {} MiB \
                 changed meanwhile; begin again",
                PATIENCE.as_secs(),
                MOST_KEPT >> 20
            ))
        })?;
        snapshot.asked_at = self.now;
        Ok(snapshot)
    }

    pub(crate) fn end(&mut self, id: u64) {
        self.current = self.current.take().filter(|snapshot| snapshot.id != id);
    }

    fn forget_idle(&mut self) {
        let now = self.now;
        let is_alive = |snapshot: &Snapshot| now.saturating_sub(snapshot.asked_at) <= PATIENCE;
        self.current = self.current.take().filter(is_alive);
    }

    /// Keeps the values that a batch is about to replace. If that fails, the snapshot is discarded and
    /// the batch continues.
    pub(crate) fn keep(&mut self, ledger: &mut dyn Ledger, batch: &Batch) {
        self.forget_idle();
        let Some(snapshot) = &mut self.current else {
            return;
        };
        if let Err(error) = snapshot.keep(ledger, batch) {
            tracing::error!(%error, "a backup is cancelled");
            self.current = None;
        } else if snapshot.kept_bytes > MOST_KEPT {
            tracing::error!("a backup is cancelled: too much was changed meanwhile");
            self.current = None;
        }
    }
}

impl Snapshot {
    fn keep(&mut self, ledger: &mut dyn Ledger, batch: &Batch) -> Result<(), StoreError> {
        for (key, _) in batch.within(&self.rest) {
            if self.kept.contains_key(key) {
                continue;
            }
            let before = ledger.get(key)?;
            let size = key.len() + before.as_ref().map_or(0, Vec::len);
            self.kept_bytes = self.kept_bytes.saturating_add(size + OVERHEAD);
            self.kept.insert(key.clone(), before);
        }
        Ok(())
    }

    pub(crate) fn page(&mut self, ledger: &mut dyn Ledger) -> Result<SnapshotPage, StoreError> {
        let stored = ledger.scan(&self.rest, Order::Ascending, PAGE)?;
        let is_last = stored.len() < PAGE;
        let after = match stored.last() {
            Some(last) if !is_last => self.rest.clone().after(&last.key),
            _ => KeyRange {
                from: self.rest.to.clone(),
                to: self.rest.to.clone(),
            },
        };
        let later = self.kept.split_off(&after.from);
        let mut kept = std::mem::replace(&mut self.kept, later);
        let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for entry in stored {
            if !kept.contains_key(&entry.key) {
                merged.insert(entry.key, entry.value);
            }
        }
        while let Some((key, before)) = kept.pop_first() {
            let size = key.len() + before.as_ref().map_or(0, Vec::len);
            self.kept_bytes = self.kept_bytes.saturating_sub(size + OVERHEAD);
            if let Some(before) = before {
                merged.insert(key, before);
            }
        }
        self.rest = after;
        let mut bytes = Vec::new();
        for (key, value) in &merged {
            append_to_page(&mut bytes, key, value);
        }
        Ok(SnapshotPage { bytes, is_last })
    }
}
