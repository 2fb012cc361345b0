//! Why can a backup not be written or read?

use std::io;

use crate::store::StoreError;

/// An error of a backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file system returned an error.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is not a backup.
    #[error("it is not a backup of Sidegate")]
    NotABackup,
    /// A newer version wrote the file.
    #[error(
        "it has the format {0} and this version reads {known}: use the version of sidegate that \
         wrote it",
        known = super::format::FORMAT
    )]
    Version(u32),
    /// The file ends too early.
    #[error("it is cut off after {0} bytes")]
    Truncated(u64),
    /// Some bytes are not those that were written.
    #[error("it is damaged at byte {at}: {why}")]
    Damaged {
        /// The offset of the frame.
        at: u64,
        /// The damage.
        why: &'static str,
    },
    /// The store returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}
