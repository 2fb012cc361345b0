//! The settings of the audit log.

use std::path::PathBuf;
use std::time::Duration;

/// The place and the lifetime of audit records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The directory of their files; `None` keeps them in memory.
    pub dir: Option<PathBuf>,
    /// How long records are kept.
    pub keep: Duration,
    /// The most bytes of all files; the oldest are deleted first.
    pub max_size: u64,
    /// One record for each refresh, not one for many.
    pub refreshes: bool,
}
