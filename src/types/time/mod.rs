//! Time as an argument: a point in time, and the clock that returns it.
//!
//! No other module reads the machine's clock (`clippy.toml` refuses it). So expiry, lock-out and
//! rotation can be tested without sleeping.
//!
//! A process has one time, which never decreases and follows the monotonic clock ([`mod@line`]). Every
//! expiry, lock, grace period and lifetime is compared with [`Clock::now`]. Spans within the process
//! are measured with [`Clock::monotonic`]. The validity of certificates is compared with
//! [`Clock::wall`], because other machines issued them.

pub mod line;
mod manual;
mod system;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub use line::{Change, Resumed};
pub use manual::{ManualClock, ManualReadings};
pub use system::{Machine, Readings, SystemClock, TimeLine};

/// A point in time: milliseconds since the Unix epoch, UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The latest moment, which means "never".
    pub const MAX: Self = Self(u64::MAX);

    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From whole seconds since the Unix epoch, as JWT claims carry them (RFC 7519, 2).
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The date in the form of HTTP headers (RFC 9110, 5.6.7): `Sun, 22 Nov 2026 16:07:00 GMT`. A moment after
    /// the year 9999 is shown as the last moment of that year.
    pub fn http_date(self) -> String {
        httpdate::fmt_http_date(self.printable())
    }

    /// The moment, or the last one that the usual formats can express: formatting a later one panics.
    fn printable(self) -> SystemTime {
        let last = 253_402_300_799_999;
        UNIX_EPOCH + Duration::from_millis(self.0.min(last))
    }

    /// The moment for libraries. A moment after the year 9999 becomes the last moment of that year.
    pub fn to_system_time(self) -> SystemTime {
        self.printable()
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// This moment plus a span; stops at [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// This moment minus a span; stops at the epoch.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// How long it is from `earlier` to this moment; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Faster than [`Duration::as_millis`], which computes with 128 bits: [`Clock::now`] is called several times
/// per request.
fn millis(span: Duration) -> u64 {
    span.as_secs()
        .saturating_mul(1000)
        .saturating_add(u64::from(span.subsec_millis()))
}

impl fmt::Display for Timestamp {
    /// ISO 8601 in UTC with milliseconds: `2026-11-22T16:07:00.000Z`. A moment after the year 9999
    /// is shown as the last moment of that year.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(self.printable()).fmt(f)
    }
}

/// A source of the current time.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The current time. Never earlier than a time that this clock has returned before.
    fn now(&self) -> Timestamp;

    /// The time since some fixed point in the past. A change of the wall clock does not affect it.
    fn monotonic(&self) -> Duration {
        self.now().since(Timestamp::default())
    }

    /// The wall clock, which may be wrong.
    fn wall(&self) -> Timestamp {
        self.now()
    }

    /// Time is at least `mark` from now on, because an earlier process has reached it.
    fn resume(&self, mark: Timestamp) -> Resumed;

    /// Compares time with the wall clock and adjusts time to follow it. Must be called about once a second.
    fn look(&self) -> [Option<Change>; 2] {
        [None, None]
    }

    /// The relation of time and the wall clock.
    fn state(&self) -> State {
        State::default()
    }

    /// The state when the two differ, at most once a minute: for a line in the log.
    fn reminder(&self) -> Option<State> {
        None
    }
}

/// The relation of time and the wall clock at their last comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The wall clock minus time, in milliseconds.
    pub difference: i64,
    /// Whether they differ by more than a small drift.
    pub is_apart: bool,
    /// Whether expired data may be removed. Nothing is removed while the wall clock is ahead and has not been
    /// stable for long enough.
    pub is_settled: bool,
    /// How often the wall clock was set forward.
    pub jumps_forward: u64,
    /// How often it was set back.
    pub jumps_backward: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            difference: 0,
            is_apart: false,
            is_settled: true,
            jumps_forward: 0,
            jumps_backward: 0,
        }
    }
}

/// Measures how long something takes, for logs and metrics only: no decision depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts.
    #[expect(clippy::disallowed_methods, reason = "measures, decides nothing")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
