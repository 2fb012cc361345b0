//! Which database is used?

use std::path::PathBuf;

/// The settings of the look-up of places.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// The city database; `None` if places are not looked up.
    pub database: Option<PathBuf>,
}
