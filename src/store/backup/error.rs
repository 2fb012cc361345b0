//! Why a backup was not written or not read.

use std::io;

use crate::store::StoreError;

/// A backup that failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not a backup at all.
    #[error("it is not a backup of Sidegate")]
    NotABackup,
    /// A newer version wrote it.
    #[error(
        "it has the format {0} and this version reads {known}: use the version of sidegate that \
         wrote it",
        known = super::format::FORMAT
    )]
    Version(u32),
    /// It ends too early.
    #[error("it is cut off after {0} bytes")]
    Truncated(u64),
    /// Some of its bytes are not those that were written.
    #[error("it is damaged at byte {at}: {why}")]
    Damaged {
        /// Where the frame begins.
        at: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}
