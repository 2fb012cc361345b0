//! How often was the configuration read again, and which one is in force?

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts reloads. The configuration of the start is generation 1; each one applied is the next.
#[derive(Debug, Default)]
pub struct Reloads {
    applied: AtomicU64,
    rejected: AtomicU64,
}

impl Reloads {
    /// One took effect. Returns its generation.
    pub fn applied(&self) -> u64 {
        self.applied.fetch_add(1, Ordering::Relaxed) + 2
    }

    /// One was refused, and the old one stays in force.
    pub fn rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// The configuration in force.
    pub fn generation(&self) -> u64 {
        self.applied.load(Ordering::Relaxed) + 1
    }

    /// The counts by the label's value.
    pub(super) fn by_result(&self) -> [(&'static str, u64); 2] {
        [
            ("applied", self.applied.load(Ordering::Relaxed)),
            ("rejected", self.rejected.load(Ordering::Relaxed)),
        ]
    }
}
