//! Time as an argument: a point in time, and the clock that is asked for one.
//!
//! No other place reads the machine's clock (`clippy.toml` refuses it), which is why expiry,
//! lock-out and rotation can be tested without sleeping.
//!
//! A process has one time, which never decreases and runs on the monotonic clock ([`mod@line`]): every
//! expiry, lock, grace and lifetime is judged by [`Clock::now`]. What only measures a span within
//! the process uses [`Clock::monotonic`]; the validity of certificates is judged by
//! [`Clock::wall`], because other machines issued them.

pub mod line;
mod manual;
mod system;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub use line::{Change, Resumed};
pub use manual::{ManualClock, ManualReadings};
pub use system::{Machine, Readings, SystemClock, TimeLine};

/// Milliseconds since the Unix epoch, UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The latest moment there is: "never".
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

/// Without the detour over 128 bits that [`Duration::as_millis`] takes: [`Clock::now`] is asked
/// several times a request.
fn millis(span: Duration) -> u64 {
    span.as_secs()
        .saturating_mul(1000)
        .saturating_add(u64::from(span.subsec_millis()))
}

impl fmt::Display for Timestamp {
    /// ISO 8601 in UTC with milliseconds: `2026-11-22T16:07:00.000Z`. A moment past the year 9999
    /// shows as the last one before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = 253_402_300_799_999;
        let moment = UNIX_EPOCH + Duration::from_millis(self.0.min(last));
        humantime::format_rfc3339_millis(moment).fmt(f)
    }
}

/// Where "now" comes from.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The current time. Never earlier than an answer given before by the same clock.
    fn now(&self) -> Timestamp;

    /// The time since some fixed point in the past; nothing that is done to the wall clock moves it.
    fn monotonic(&self) -> Duration {
        self.now().since(Timestamp::default())
    }

    /// What the wall clock says, right or wrong.
    fn wall(&self) -> Timestamp {
        self.now()
    }

    /// Time is at least `mark` from here on: a process before this one has reached it.
    fn resume(&self, mark: Timestamp) -> Resumed;

    /// Compares time with the wall clock, which it follows; to be called about once a second.
    fn look(&self) -> [Option<Change>; 2] {
        [None, None]
    }

    /// How time and the wall clock stand.
    fn state(&self) -> State {
        State::default()
    }

    /// The state when the two differ, at most once a minute: for a line in the log.
    fn reminder(&self) -> Option<State> {
        None
    }
}

/// How time and the wall clock stand, when they were last compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The wall clock minus time, in milliseconds.
    pub difference: i64,
    /// Whether they differ by more than a small drift.
    pub is_apart: bool,
    /// Whether nothing speaks against forgetting what has expired. While the wall clock is ahead and
    /// has not been stable for long enough, nothing is swept.
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

/// Measures how long something takes, for logs and numbers only: no decision depends on it.
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
