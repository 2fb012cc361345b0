//! How is a second process kept out of a store directory? By a lock on a file in it.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use crate::files;
use crate::store::StoreError;
use crate::store::sled::disk_error::explain;
use crate::store::sled::names::LOCK;

/// The number of attempts to take a lock, and the pause between two: one second in total.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// Takes the lock of a directory, which is created if it does not exist. Nothing else in it is read.
pub(in crate::store) fn hold(directory: &Path) -> Result<File, StoreError> {
    make_directory(directory)?;
    take_lock(directory)
}

/// Creates the directory, for its owner only.
pub(super) fn make_directory(directory: &Path) -> Result<(), StoreError> {
    files::make_directory(directory).map_err(|e| explain(directory, &e))
}

/// Takes the lock of a directory that exists.
pub(super) fn take_lock(directory: &Path) -> Result<File, StoreError> {
    let file = files::private()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join(LOCK))
        .map_err(|e| explain(directory, &e))?;
    match lock(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(format!(
            "the store directory {} is in use by another sidegate: stop that one, or give this \
             one a directory of its own",
            directory.display()
        ))),
        Err(TryLockError::Error(e)) => Err(explain(directory, &e)),
    }
}

/// Waits a moment for a process that is about to exit, or has just forked a child.
fn lock(file: &File) -> Result<(), TryLockError> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::park_timeout(PAUSE),
            outcome => return outcome,
        }
    }
    file.try_lock()
}
