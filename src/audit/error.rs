//! Why audit records cannot be written or read.

use std::io;
use std::path::PathBuf;

/// Why the audit log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The directory cannot be created, opened or locked.
    #[error(
        "the audit directory {} cannot be used: {error}; give it to the user that runs sidegate, \
         or set audit.dir to another one",
        path.display()
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        #[source]
        error: io::Error,
    },
    /// Another process writes to this directory.
    #[error("the audit directory {} is in use by another process; set audit.dir to another one", .0.display())]
    InUse(PathBuf),
    /// The writer's thread could not be started.
    #[error("the thread of the audit log cannot be started: {0}")]
    Thread(#[source] io::Error),
    /// Records could not be written.
    #[error("audit records could not be written: {0}")]
    Write(String),
}
