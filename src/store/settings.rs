//! The settings of the store.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Which engine, where, and how it behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The engine.
    pub engine: Engine,
    /// How long a caller waits for an answer.
    pub deadline: Duration,
    /// How long a revocation matters: the longest life of an access token plus leeway.
    pub revocation_life: Duration,
    /// How long audit lines are kept.
    pub audit_life: Duration,
    /// How long the start waits for another process to let go of the store.
    pub lock_wait: Duration,
}

#[cfg(test)]
impl Settings {
    /// What tests of a store on disk use.
    pub(crate) fn on_disk(directory: &std::path::Path) -> Self {
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

/// A store engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// In memory; gone with the process.
    Memory,
    /// sled in a directory.
    Sled {
        /// The directory.
        path: PathBuf,
        /// Page cache, in bytes.
        cache: u64,
    },
}

impl fmt::Display for Engine {
    /// As `store.url` names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sled { path, .. } => write!(f, "sled:{}", path.display()),
        }
    }
}
