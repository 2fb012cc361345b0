//! Which settings does a store have? The engine, its place, and times.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The settings of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The engine.
    pub engine: Engine,
    /// How long a caller waits for an answer.
    pub deadline: Duration,
    /// How long a revocation is kept: the longest life of an access token plus leeway.
    pub revocation_life: Duration,
    /// How long audit records are kept.
    pub audit_life: Duration,
    /// How long the start waits for another process to release the store.
    pub lock_wait: Duration,
}

#[cfg(test)]
impl Settings {
    /// The settings for tests of a store on disk.
    pub(crate) fn on_disk(directory: &Path) -> Self {
        Self {
            engine: Engine::Sled {
                path: directory.to_owned(),
                cache: 4 << 20,
            },
            deadline: Duration::from_secs(20),
            revocation_life: Duration::from_secs(930),
            audit_life: Duration::from_secs(1_000),
            lock_wait: Duration::ZERO,
        }
    }
}

/// A store engine. An engine is added here with its own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// In memory; lost when the process ends.
    Memory,
    /// sled in a directory.
    Sled {
        /// The directory.
        path: PathBuf,
        /// Page cache, in bytes.
        cache: u64,
    },
}

impl Engine {
    /// The directory of the store; none for an engine without files.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Memory => None,
            Self::Sled { path, .. } => Some(path),
        }
    }
}

impl fmt::Display for Engine {
    /// The engine as `store.url` names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sled { path, .. } => write!(f, "sled:{}", path.display()),
        }
    }
}
