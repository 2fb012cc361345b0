//! What does an operator do about an error of the file system? The text for each kind.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::store::StoreError;

/// An error of the file system in this store directory, with the next step in its text.
pub(super) fn explain(directory: &Path, error: &io::Error) -> StoreError {
    let directory = directory.display();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Unavailable(format!(
            "no space left for the store directory {directory}: make room"
        )),
        ErrorKind::PermissionDenied => StoreError::Config(format!(
            "the store directory {directory} cannot be used by this user: give it to the user \
             that runs sidegate (chown), with read and write permission"
        )),
        ErrorKind::ReadOnlyFilesystem => StoreError::Config(format!(
            "the store directory {directory} is on a read-only file system: mount it writable"
        )),
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists | ErrorKind::IsADirectory => {
            StoreError::Config(format!(
                "{directory} cannot be a store directory ({error}): name another one"
            ))
        }
        _ => StoreError::Unavailable(format!("the store directory {directory}: {error}")),
    }
}
