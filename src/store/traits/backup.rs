//! How is a store read as a whole while writes continue? As a snapshot of one commit, page by page.

use std::future::Future;

use crate::store::StoreError;
use crate::types::ids::StoreId;
use crate::types::time::Timestamp;

/// Reads the whole store as it was at one commit.
pub trait BackupStore: Send + Sync + 'static {
    /// Begins a snapshot. There is one at a time; it is discarded when no page was read for a minute.
    fn snapshot_begin(&self) -> impl Future<Output = Result<SnapshotStart, StoreError>> + Send;

    /// The next page. A page may be empty without being the last. The snapshot ends with its last
    /// page.
    fn snapshot_page(
        &self,
        id: u64,
    ) -> impl Future<Output = Result<SnapshotPage, StoreError>> + Send;

    /// Discards the snapshot.
    fn snapshot_end(&self, id: u64) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A snapshot that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotStart {
    /// The id of the snapshot.
    pub id: u64,
    /// When it began.
    pub at: Timestamp,
    /// The id of the store.
    pub store: StoreId,
    /// The number of the last commit in it.
    pub commit: u64,
    /// The number of sessions in it.
    pub sessions: u64,
    /// The number of accounts in it.
    pub users: u64,
}

/// Some records of a snapshot, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPage {
    /// The records, to be read by [`split_page`](crate::store::backup::split_page).
    pub bytes: Vec<u8>,
    /// Whether this is the last page.
    pub is_last: bool,
}
