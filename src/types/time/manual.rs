//! Clocks for tests, which move only when they are advanced.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::types::time::{Clock, Readings, Resumed, Timestamp, millis};

/// Time that a test sets. The wall clock shows the same time.
#[derive(Debug)]
pub struct ManualClock {
    now: AtomicU64,
}

impl ManualClock {
    /// A clock whose time is `now`.
    pub const fn new(now: Timestamp) -> Self {
        Self {
            now: AtomicU64::new(now.0),
        }
    }

    /// Moves the clock on.
    pub fn advance(&self, span: Duration) {
        self.now.fetch_add(millis(span), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn resume(&self, mark: Timestamp) -> Resumed {
        let before = Timestamp(self.now.fetch_max(mark.0, Ordering::SeqCst));
        if before < mark {
            Resumed::Behind(mark.since(before))
        } else {
            Resumed::Agrees
        }
    }
}

/// Two clocks that a test sets, for a [`TimeLine`](crate::types::time::TimeLine). Clones share their state, so
/// that one process after another can read the same machine's clocks.
#[derive(Debug, Clone)]
pub struct ManualReadings {
    clocks: Arc<Clocks>,
}

#[derive(Debug)]
struct Clocks {
    monotonic: AtomicU64,
    /// The wall clock minus the monotonic clock.
    wall: AtomicI64,
}

impl ManualReadings {
    /// Clocks of a machine whose wall clock shows `wall`.
    pub fn new(wall: Timestamp) -> Self {
        Self {
            clocks: Arc::new(Clocks {
                monotonic: AtomicU64::new(0),
                wall: AtomicI64::new(wall.0.try_into().unwrap_or(i64::MAX)),
            }),
        }
    }

    /// Time passes on both clocks.
    pub fn advance(&self, span: Duration) {
        let clocks = &self.clocks;
        clocks.monotonic.fetch_add(millis(span), Ordering::SeqCst);
    }

    /// Moves the wall clock by this number of milliseconds, back if negative.
    pub fn set_wall(&self, by: i64) {
        self.clocks.wall.fetch_add(by, Ordering::SeqCst);
    }
}

impl Readings for ManualReadings {
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.clocks.monotonic.load(Ordering::SeqCst))
    }

    fn wall(&self) -> Timestamp {
        let monotonic = self.clocks.monotonic.load(Ordering::SeqCst);
        let wall = self.clocks.wall.load(Ordering::SeqCst);
        Timestamp(monotonic.saturating_add_signed(wall))
    }
}
