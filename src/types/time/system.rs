//! How is time derived from the clocks of the machine?

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};
use rustix::time::ClockId;

use crate::types::time::line::{Change, Line, Reading, Resumed};
use crate::types::time::{Clock, State, Timestamp, millis};

/// The latest accepted wall clock: the last millisecond of the year 9999.
const LAST: u64 = 253_402_300_799_999;

/// The interval between two warnings that the clocks differ.
const REMIND_EVERY: Duration = Duration::from_secs(60);

/// The clocks that time is derived from.
pub trait Readings: Send + Sync + fmt::Debug + 'static {
    /// The time since some fixed point in the past. It cannot be set, and it includes the time in suspend.
    fn monotonic(&self) -> Duration;

    /// The wall clock, which can be set at any moment.
    fn wall(&self) -> Timestamp;
}

/// The clock that cannot be set: on systems that have one, the clock that includes the time in suspend.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MONOTONIC: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const MONOTONIC: ClockId = ClockId::Monotonic;

/// The clocks of the machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct Machine;

impl Readings for Machine {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the monotonic clock"
    )]
    fn monotonic(&self) -> Duration {
        let read = rustix::time::clock_gettime(MONOTONIC);
        // Neither part is ever negative.
        let nanos = u32::try_from(read.tv_nsec).unwrap_or_default();
        Duration::new(read.tv_sec.cast_unsigned(), nanos)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    fn wall(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp(since.map_or(0, millis))
    }
}

/// Time as [`Line`] derives it from two clocks. [`Clock::now`] is the monotonic clock plus an offset and never
/// decreases; it takes no lock.
#[derive(Debug)]
pub struct TimeLine<R> {
    readings: R,
    /// Time minus the monotonic clock, modulo 2^64.
    offset: AtomicU64,
    /// The latest time that was returned.
    latest: AtomicU64,
    line: Mutex<Line>,
    forward: AtomicU64,
    backward: AtomicU64,
    /// When the last reminder was due, by the monotonic clock; zero before the first.
    reminded: AtomicU64,
}

/// The clock of a process: the machine's.
pub type SystemClock = TimeLine<Machine>;

impl Default for SystemClock {
    fn default() -> Self {
        Self::new(Machine)
    }
}

impl<R: Readings> TimeLine<R> {
    /// Time begins as the time of the wall clock.
    pub fn new(readings: R) -> Self {
        let line = Line::start(read(&readings));
        Self {
            offset: AtomicU64::new(line.offset().cast_unsigned()),
            latest: AtomicU64::new(0),
            line: Mutex::new(line),
            forward: AtomicU64::new(0),
            backward: AtomicU64::new(0),
            reminded: AtomicU64::new(0),
            readings,
        }
    }

    /// The clocks that time is derived from.
    pub const fn readings(&self) -> &R {
        &self.readings
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock()
    }

    fn publish(&self, line: &Line) {
        let offset = line.offset().cast_unsigned();
        self.offset.store(offset, Ordering::Relaxed);
    }
}

impl<R: Readings> Clock for TimeLine<R> {
    fn now(&self) -> Timestamp {
        let offset = self.offset.load(Ordering::Relaxed);
        let read = millis(self.readings.monotonic()).wrapping_add(offset);
        // A plain load first: the cache line stays shared between workers until the millisecond changes.
        let latest = self.latest.load(Ordering::Relaxed);
        if read <= latest {
            // The offset has just been slewed back by a few milliseconds.
            return Timestamp(latest);
        }
        Timestamp(self.latest.fetch_max(read, Ordering::Relaxed).max(read))
    }

    fn monotonic(&self) -> Duration {
        self.readings.monotonic()
    }

    fn wall(&self) -> Timestamp {
        self.readings.wall()
    }

    fn resume(&self, mark: Timestamp) -> Resumed {
        let mut line = self.line();
        let mark = signed(mark.0.min(LAST));
        let resumed = line.resume(read(&self.readings), mark);
        self.publish(&line);
        resumed
    }

    fn look(&self) -> [Option<Change>; 2] {
        let mut line = self.line();
        let changes = line.look(read(&self.readings));
        self.publish(&line);
        for change in changes.iter().flatten() {
            if let Change::Jumped { by } = change {
                let count = if *by > 0 {
                    &self.forward
                } else {
                    &self.backward
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        changes
    }

    fn state(&self) -> State {
        let line = self.line();
        State {
            difference: line.difference(),
            is_apart: line.is_apart(),
            is_settled: line.is_settled(),
            jumps_forward: self.forward.load(Ordering::Relaxed),
            jumps_backward: self.backward.load(Ordering::Relaxed),
        }
    }

    fn reminder(&self) -> Option<State> {
        let state = self.state();
        let now = millis(self.readings.monotonic()).max(1);
        let last = self.reminded.load(Ordering::Relaxed);
        let is_due = last == 0 || now.saturating_sub(last) >= millis(REMIND_EVERY);
        let is_first = || {
            let (set, fail) = (Ordering::Relaxed, Ordering::Relaxed);
            let exchanged = self.reminded.compare_exchange(last, now, set, fail);
            exchanged.is_ok()
        };
        (state.is_apart && is_due && is_first()).then_some(state)
    }
}

fn read(readings: &impl Readings) -> Reading {
    Reading {
        monotonic: signed(millis(readings.monotonic())),
        wall: signed(readings.wall().0.min(LAST)),
    }
}

/// Both clocks stay far below the limit of the type: the wall clock is bounded, and no machine runs
/// that long.
fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}
