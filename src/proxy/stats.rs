//! What has one worker's proxy done so far?

use std::sync::atomic::{AtomicU64, Ordering};

/// The connections of one worker to the upstream. The first two fields are current numbers, the others
/// count from the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Connections that are open.
    pub open: u64,
    /// Open connections that no request uses.
    pub idle: u64,
    /// Connections that were made.
    pub created: u64,
    /// Requests that were sent on a connection made before.
    pub reused: u64,
    /// Requests that were sent a second time because their connection was dead.
    pub retried: u64,
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) open: AtomicU64,
    pub(super) created: AtomicU64,
    pub(super) reused: AtomicU64,
    pub(super) retried: AtomicU64,
}

impl Counters {
    /// The current values, with this number of idle connections.
    pub(super) fn read(&self, idle: u64) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            open: read(&self.open),
            idle,
            created: read(&self.created),
            reused: read(&self.reused),
            retried: read(&self.retried),
        }
    }
}
