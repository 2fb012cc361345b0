//! Which state do an HTTP/2 connection, its task and its streams share?

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The state that a connection, its task and its streams share.
#[derive(Debug)]
pub(super) struct ConnectionStatus {
    created: Instant,
    /// Streams that are reserved or open.
    streams: AtomicUsize,
    /// The time since when `streams` is zero. One worker thread uses it: the lock is never contended.
    idle_since: Mutex<Instant>,
    /// Whether a request was ever sent on it.
    used: AtomicBool,
    /// Frames of answers that were received.
    frames: AtomicU64,
    closed: AtomicBool,
}

impl ConnectionStatus {
    /// The status of a connection that is made now.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            created: now,
            streams: AtomicUsize::new(0),
            idle_since: Mutex::new(now),
            used: AtomicBool::new(false),
            frames: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Reserves one more stream. Returns whether the connection served a request before.
    pub(super) fn reserve(&self) -> bool {
        self.streams.fetch_add(1, Ordering::Relaxed);
        self.used.swap(true, Ordering::Relaxed)
    }

    /// One stream has ended.
    pub(super) fn release(&self) {
        if self.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            *self.idle_since.lock() = Instant::now();
        }
    }

    /// Whether no request uses the connection.
    pub(super) fn is_idle(&self) -> bool {
        self.streams.load(Ordering::Relaxed) == 0
    }

    /// Counts a received frame of an answer.
    pub(super) fn count_frame(&self) {
        self.frames.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of frames received so far.
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// From now on the connection takes no further request.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// The number of streams that are reserved or open.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Whether a request may begin at `now`, by the connection's age and idle time.
    pub(super) fn is_fresh(&self, now: Instant, idle: Duration, age: Option<Duration>) -> bool {
        let existed = now.saturating_duration_since(self.created);
        let idled = now.saturating_duration_since(*self.idle_since.lock());
        !self.closed.load(Ordering::Relaxed)
            && age.is_none_or(|limit| existed < limit)
            && (!self.is_idle() || idled < idle)
    }
}

#[cfg(test)]
impl ConnectionStatus {
    /// The status of a connection with one open stream.
    pub(super) fn busy() -> Self {
        let status = Self::new();
        status.streams.store(1, Ordering::Relaxed);
        status
    }

    /// Ends all streams.
    pub(super) fn set_idle(&self) {
        self.streams.store(0, Ordering::Relaxed);
    }
}
