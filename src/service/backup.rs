//! How is a backup taken while requests continue? Page by page, from a snapshot.

use crate::service::Service;
use crate::service::error::AuthError;
use crate::store::{BackupStore as _, SnapshotPage, SnapshotStart};

/// The number of bytes that are collected before they are passed on.
const CHUNK: usize = 1 << 20;

impl Service {
    /// Begins a backup of the present state of the store.
    pub async fn backup_begin(&self) -> Result<SnapshotStart, AuthError> {
        Ok(self.parts.store.snapshot_begin().await?)
    }

    /// The next part. Each page is an operation of its own, so other callers wait for one page at most.
    pub async fn backup_next(&self, id: u64) -> Result<SnapshotPage, AuthError> {
        let mut chunk = SnapshotPage {
            bytes: Vec::new(),
            is_last: false,
        };
        while !chunk.is_last && chunk.bytes.len() < CHUNK {
            let page = self.parts.store.snapshot_page(id).await?;
            chunk.bytes.extend_from_slice(&page.bytes);
            chunk.is_last = page.is_last;
        }
        Ok(chunk)
    }

    /// Cancels the backup.
    pub async fn backup_end(&self, id: u64) -> Result<(), AuthError> {
        Ok(self.parts.store.snapshot_end(id).await?)
    }
}
