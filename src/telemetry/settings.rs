//! Settings of the process log and of the access log.

use std::path::PathBuf;

use tracing::level_filters::LevelFilter;

/// Settings of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The least level that is written.
    pub level: LevelFilter,
    /// JSON lines instead of text.
    pub json: bool,
}

/// The target of the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}
