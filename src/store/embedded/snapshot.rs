//! The store as it stood at one commit, read page by page while writes go on.
//!
//! A page is read from the ledger, which by then may hold later commits. Therefore every commit first
//! keeps what it is about to replace, for the keys that have not been read yet: such a key shows its
//! kept value in place of the present one. One page is one operation among others, so nobody waits
//! longer than for a page; what is kept is bounded, and a reader that has gone away is forgotten.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::store::backup::append_to_page;
use crate::store::embedded::Embedded;
use crate::store::embedded::commits::Commit;
use crate::store::embedded::keys::{META_COMMIT, META_TOTALS};
use crate::store::embedded::ledger::{Batch, KeyRange, Ledger, Order};
use crate::store::embedded::records::Totals;
use crate::store::embedded::transaction::Transaction;
use crate::store::{BackupStore, SnapshotPage, SnapshotStart, StoreError, codec};
use crate::types::time::Timestamp;

/// The most records of one page.
const PAGE: usize = 512;

/// How much may be kept for a snapshot, in bytes of keys and values.
const MOST_KEPT: usize = 128 << 20;

/// What keeping one record costs beside its bytes.
const OVERHEAD: usize = 96;

/// How long a reader may take from one page to the next.
const PATIENCE: Duration = Duration::from_secs(60);

impl BackupStore for Embedded {
    async fn snapshot_begin(&self) -> Result<SnapshotStart, StoreError> {
        let store = self.id();
        self.run(move |view| {
            let totals: Totals = view.get(META_TOTALS)?.unwrap_or_default();
            let at = view.now;
            let (ledger, snapshots) = view.committed();
            let commit = match ledger.get(META_COMMIT)? {
                Some(bytes) => codec::decode::<Commit>(META_COMMIT, &bytes)?.number,
                None => 0,
            };
            Ok(SnapshotStart {
                id: snapshots.begin(at)?,
                at,
                store,
                commit,
                sessions: totals.sessions,
                users: totals.users,
            })
        })
        .await
    }

    async fn snapshot_page(&self, id: u64) -> Result<SnapshotPage, StoreError> {
        self.run(move |view| view.snapshot_page(id)).await
    }

    async fn snapshot_end(&self, id: u64) -> Result<(), StoreError> {
        self.run(move |view| {
            view.committed().1.end(id);
            Ok(())
        })
        .await
    }
}

impl Embedded {
    /// Stores records as they are; for a store that is being restored.
    pub(crate) async fn import(&self, records: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), StoreError> {
        self.run(move |view| {
            for (key, value) in records {
                view.put_raw(key, value);
            }
            Ok(())
        })
        .await
    }
}

impl Transaction<'_> {
    fn snapshot_page(&mut self, id: u64) -> Result<SnapshotPage, StoreError> {
        let (ledger, snapshots) = self.committed();
        let snapshot = snapshots.get(id)?;
        let page = snapshot.page(ledger)?;
        if page.is_last {
            snapshots.end(id);
        }
        Ok(page)
    }
}

/// The snapshot that is being read, if any.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    current: Option<Snapshot>,
    last_id: u64,
    /// The monotonic time.
    now: Duration,
}

#[derive(Debug)]
struct Snapshot {
    id: u64,
    /// What has not been read yet.
    rest: KeyRange,
    /// What stood at keys of `rest` that have changed since; nothing for those that were not there.
    kept: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    kept_bytes: usize,
    asked_at: Duration,
}

impl Snapshots {
    /// Says what time it is, before anything else is asked of it.
    pub(crate) fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    fn begin(&mut self, at: Timestamp) -> Result<u64, StoreError> {
        self.forget_idle();
        if self.current.is_some() {
            return Err(StoreError::Unavailable(
                "a backup is being made already; wait until it is complete".to_owned(),
            ));
        }
        // Not a small number that a reader from before a restart might still use.
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

    fn get(&mut self, id: u64) -> Result<&mut Snapshot, StoreError> {
        let found = self.current.as_mut().filter(|snapshot| snapshot.id == id);
        let snapshot = found.ok_or_else(|| {
            StoreError::Unavailable(format!(
                "the backup was given up: it was not continued for {} s, or more than {} MiB \
                 changed meanwhile; begin again",
                PATIENCE.as_secs(),
                MOST_KEPT >> 20
            ))
        })?;
        snapshot.asked_at = self.now;
        Ok(snapshot)
    }

    fn end(&mut self, id: u64) {
        self.current = self.current.take().filter(|snapshot| snapshot.id != id);
    }

    fn forget_idle(&mut self) {
        let now = self.now;
        let is_alive = |snapshot: &Snapshot| now.saturating_sub(snapshot.asked_at) <= PATIENCE;
        self.current = self.current.take().filter(is_alive);
    }

    /// Keeps what a batch is about to replace. A snapshot for which that fails is given up; the batch
    /// is none of its business.
    pub(crate) fn keep(&mut self, ledger: &mut dyn Ledger, batch: &Batch) {
        self.forget_idle();
        let Some(snapshot) = &mut self.current else {
            return;
        };
        if let Err(error) = snapshot.keep(ledger, batch) {
            tracing::error!(%error, "a backup is given up");
            self.current = None;
        } else if snapshot.kept_bytes > MOST_KEPT {
            tracing::error!("a backup is given up: too much changed while it was made");
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

    fn page(&mut self, ledger: &mut dyn Ledger) -> Result<SnapshotPage, StoreError> {
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
