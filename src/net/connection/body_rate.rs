//! How fast must a request body arrive?
//!
//! A client that sends single bytes at long intervals would hold a connection of the proxy and one of the
//! application for an unlimited time. Therefore a body must reach a rate. Only the time counts in which the
//! reader waits for the client: an application that reads slowly is not the client's fault. The rate is
//! averaged over windows, so that a pause or a slow start is permitted. Windows are checked when bytes arrive
//! and by the worker's tick; there is no timer.

use std::error::Error;
use std::fmt;
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};

/// The time a rate is averaged over, in milliseconds.
const WINDOW: u64 = 30_000;

/// A body arrived too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooSlow;

impl TooSlow {
    /// Whether this is why a body could not be read.
    pub fn is_the_cause(error: &(dyn Error + Send + Sync + 'static)) -> bool {
        error.is::<Self>()
    }
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body arrived too slowly")
    }
}

impl Error for TooSlow {}

/// The rate of one body.
#[derive(Debug)]
pub struct BodyRate {
    /// Bytes a second.
    least: u64,
    measured: Mutex<Measured>,
}

#[derive(Debug, Default)]
struct Measured {
    window: Window,
    waker: Option<Waker>,
    is_watched: bool,
}

/// The reader's wait for more of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Whether the body is too slow already.
    pub is_slow: bool,
    /// Whether the reader waits for this body for the first time, so that it must be registered with the
    /// connection's sweep.
    pub is_first: bool,
}

impl BodyRate {
    /// A body that must reach `least` bytes a second.
    pub fn new(least: u64) -> Self {
        Self {
            least,
            measured: Mutex::default(),
        }
    }

    /// The reader waits for more since `tick` (milliseconds).
    pub fn wait(&self, waker: &Waker, tick: u64) -> Wait {
        let mut measured = self.measured();
        if !(measured.waker.as_ref()).is_some_and(|known| known.will_wake(waker)) {
            measured.waker = Some(waker.clone());
        }
        let is_first = !measured.is_watched;
        measured.is_watched = true;
        measured.window.begin_wait(tick);
        Wait {
            is_slow: measured.window.is_slow,
            is_first,
        }
    }

    /// Bytes arrived at `tick`. Returns whether the body is too slow.
    pub fn received(&self, bytes: u64, tick: u64) -> bool {
        let mut measured = self.measured();
        measured.window.received(bytes, tick, self.least);
        measured.window.is_slow
    }

    /// Checks the window; wakes the reader when the body is too slow.
    pub(crate) fn check(&self, tick: u64) {
        let mut measured = self.measured();
        measured.window.check(tick, self.least);
        if measured.window.is_slow
            && let Some(waker) = measured.waker.take()
        {
            waker.wake();
        }
    }

    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock()
    }
}

/// The window that is being measured.
#[derive(Debug, Default)]
struct Window {
    /// When the present wait began.
    since: Option<u64>,
    /// The length of the waits before that.
    waited: u64,
    bytes: u64,
    is_slow: bool,
}

impl Window {
    fn begin_wait(&mut self, tick: u64) {
        self.since.get_or_insert(tick);
    }

    fn received(&mut self, bytes: u64, tick: u64, least: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.check(tick, least);
        if let Some(since) = self.since.take() {
            self.waited += tick.saturating_sub(since);
        }
    }

    fn check(&mut self, tick: u64, least: u64) {
        let waiting = self.since.map_or(0, |since| tick.saturating_sub(since));
        let waited = self.waited + waiting;
        if waited >= WINDOW {
            self.is_slow |= self.bytes < least.saturating_mul(waited) / 1_000;
            self.since = self.since.map(|_| tick);
            (self.waited, self.bytes) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 100;

    #[test]
    fn a_body_that_keeps_the_rate_may_take_long() {
        let mut window = Window::default();
        for second in 0..600 {
            window.begin_wait(second * 1_000);
            window.received(RATE, (second + 1) * 1_000, RATE);
            window.check((second + 1) * 1_000, RATE);
        }
        assert!(!window.is_slow);
    }

    #[test]
    fn a_byte_now_and_then_is_too_slow_after_one_window() {
        let mut window = Window::default();
        for second in 0..29 {
            window.begin_wait(second * 1_000);
            window.received(1, (second + 1) * 1_000, RATE);
        }
        assert!(!window.is_slow);
        window.begin_wait(29_000);
        window.check(30_000, RATE);
        assert!(window.is_slow);
    }

    #[test]
    fn the_time_that_the_application_takes_does_not_count() {
        let mut window = Window::default();
        window.begin_wait(0);
        window.received(1, 1_000, RATE);
        window.check(900_000, RATE);
        window.begin_wait(900_000);
        window.check(901_000, RATE);
        assert!(!window.is_slow);
    }
}
