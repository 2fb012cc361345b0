//! How does a backup read, and a restore write, an embedded store?

use crate::store::embedded::Embedded;
use crate::store::embedded::commits::Commit;
use crate::store::embedded::keys::{META_COMMIT, META_TOTALS};
use crate::store::embedded::records::Totals;
use crate::store::embedded::transaction::Transaction;
use crate::store::{BackupStore, SnapshotPage, SnapshotStart, StoreError, codec};

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
    /// Stores encoded records. For a store that is being restored.
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
