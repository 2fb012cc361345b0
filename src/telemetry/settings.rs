//! What the process log is told by the configuration.

use tracing::level_filters::LevelFilter;

/// What the log is told by the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The least level that is written.
    pub level: LevelFilter,
    /// JSON lines instead of text.
    pub json: bool,
}
