//! A backup while requests go on.

use crate::service::Service;
use crate::service::error::AuthError;
use crate::store::{BackupStore as _, SnapshotPage, SnapshotStart};

/// How many bytes are gathered before they are handed over.
const CHUNK: usize = 1 << 20;

impl Service {
    /// Begins a backup of the store as it is now.
    pub async fn backup_begin(&self) -> Result<SnapshotStart, AuthError> {
        Ok(self.parts.store.snapshot_begin().await?)
    }

    /// More of it. Each page is an operation of its own, so that others wait for one page at most.
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

    /// Gives it up.
    pub async fn backup_end(&self, id: u64) -> Result<(), AuthError> {
        Ok(self.parts.store.snapshot_end(id).await?)
    }
}
