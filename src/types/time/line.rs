//! How does the time of the process follow the wall clock? A pure state machine with two inputs, the
//! monotonic clock and the wall clock.
//!
//! Time is the monotonic clock plus an offset, and only this file decides how the offset changes:
//!
//! | the wall clock differs from time by | what happens |
//! |---|---|
//! | at most [`JUMP`] | the offset is slewed, one part in [`SLEW`] |
//! | more, and it is ahead | nothing, until the difference was stable for [`STABLE`]; then it is adopted |
//! | more, and it is behind | time continues and is slewed, until the two meet |
//!
//! So a jump of the wall clock that is shorter than [`STABLE`] has no effect, and time never runs
//! backwards and never stops.

use std::time::Duration;

/// A difference above this is a jump, in milliseconds.
pub const JUMP: i64 = 2_000;

/// How long the wall clock must have been ahead by the same span before its time is adopted, in
/// milliseconds.
pub const STABLE: i64 = 30_000;

/// Time is corrected by at most one part in this number: half a per cent.
pub const SLEW: i64 = 200;

/// If the wall clock at the start is at most this far after the store's mark, it is trusted.
const RECENT: i64 = 60_000;

/// The longest time that one comparison counts, in milliseconds. After a longer pause, it is unknown what
/// happened in between.
const MOST_SEEN: i64 = 2_000;

/// Differences that come from rounding to milliseconds.
const ROUNDING: i64 = 2;

/// The two clocks at one moment, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Since some fixed point in the past.
    pub monotonic: i64,
    /// The machine's wall clock, since the Unix epoch.
    pub wall: i64,
}

impl Reading {
    const fn offset(self) -> i64 {
        self.wall.saturating_sub(self.monotonic)
    }
}

/// The result of a comparison of the clocks. Spans are in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The wall clock was set, forward where `by` is positive.
    Jumped {
        /// The span by which it was set.
        by: i64,
    },
    /// The wall clock was ahead for long enough, and time has adopted it.
    Adopted {
        /// The span by which time was set.
        by: i64,
    },
    /// The wall clock and time agree again.
    Met,
}

/// The effect of the store's high-water mark on time at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// The wall clock is at the mark or not far after it.
    Agrees,
    /// The wall clock is behind the mark by this span: time begins at the mark.
    Behind(Duration),
    /// The wall clock is this far after the mark: the process was away, or the clock is wrong.
    After(Duration),
}

/// The state machine.
#[derive(Debug, Clone)]
pub struct Line {
    /// Time minus the monotonic clock.
    offset: i64,
    /// The wall clock minus the monotonic clock, when they were last compared.
    wall: i64,
    /// The monotonic clock at that moment.
    seen: i64,
    /// Whether the two differ by more than a jump.
    is_apart: bool,
    /// A wall clock that is ahead and has not been stable for long enough.
    doubt: Option<Doubt>,
}

#[derive(Debug, Clone, Copy)]
struct Doubt {
    /// The wall clock minus the monotonic clock, when the doubt arose.
    wall: i64,
    /// How long the wall clock has kept that value, in milliseconds.
    held: i64,
    /// Whether time began with this wall clock, and is wrong if the wall clock was.
    is_time_too: bool,
}

impl Line {
    /// Time begins as the time of the wall clock.
    pub const fn start(now: Reading) -> Self {
        Self {
            offset: now.offset(),
            wall: now.offset(),
            seen: now.monotonic,
            is_apart: false,
            doubt: None,
        }
    }

    /// Time is at least `mark`, which an earlier process of this store has reached.
    pub fn resume(&mut self, now: Reading, mark: i64) -> Resumed {
        self.wall = now.offset();
        self.seen = now.monotonic;
        let ahead = now.wall.saturating_sub(mark);
        if now.monotonic.saturating_add(self.offset) < mark {
            self.offset = mark.saturating_sub(now.monotonic);
        }
        self.is_apart = self.difference().abs() > JUMP;
        if ahead > RECENT {
            self.doubt = Some(self.doubt_of(true));
            return Resumed::After(span(ahead));
        }
        if ahead < 0 {
            return Resumed::Behind(span(ahead));
        }
        Resumed::Agrees
    }

    /// Compares the clocks; to be called about once a second.
    pub fn look(&mut self, now: Reading) -> [Option<Change>; 2] {
        let wall = now.offset();
        let elapsed = now.monotonic.saturating_sub(self.seen).clamp(0, MOST_SEEN);
        let step = wall.saturating_sub(self.wall);
        self.wall = wall;
        self.seen = self.seen.max(now.monotonic);
        let was_apart = self.is_apart;
        self.is_apart = self.difference().abs() > JUMP;
        let jumped = if step.abs() > JUMP {
            Some(Change::Jumped { by: step })
        } else if self.is_apart && !was_apart {
            // It drifted, or was set in small steps.
            let by = self.difference();
            Some(Change::Jumped { by })
        } else {
            None
        };
        if self.is_stable(elapsed) && self.difference() > JUMP {
            let by = self.difference();
            self.offset = self.wall;
            self.is_apart = false;
            return [jumped, Some(Change::Adopted { by })];
        }
        if self.difference() <= JUMP {
            self.slew(elapsed);
        }
        let met = was_apart && !self.is_apart;
        [jumped, met.then_some(Change::Met)]
    }

    /// Whether a wall clock that was ahead has now been stable for [`STABLE`]. If so, the doubt about it ends.
    fn is_stable(&mut self, elapsed: i64) -> bool {
        let is_ahead = self.difference() > JUMP;
        let Some(doubt) = &mut self.doubt else {
            self.doubt = is_ahead.then(|| self.doubt_of(false));
            return false;
        };
        if !is_ahead && !doubt.is_time_too {
            self.doubt = None;
            return false;
        }
        if self.wall.saturating_sub(doubt.wall).abs() <= JUMP {
            doubt.held += elapsed;
            let is_stable = doubt.held >= STABLE;
            if is_stable {
                self.doubt = None;
            }
            return is_stable;
        }
        // The wall clock was set again. If time began with its earlier value and it is now behind, that value
        // was wrong: data that looks expired may not be, so the doubt stays until the two meet.
        doubt.held = 0;
        if is_ahead {
            self.doubt = Some(self.doubt_of(false));
        } else if self.difference() >= -JUMP {
            self.doubt = None;
        }
        false
    }

    const fn doubt_of(&self, is_time_too: bool) -> Doubt {
        Doubt {
            wall: self.wall,
            held: 0,
            is_time_too,
        }
    }

    fn slew(&mut self, elapsed: i64) {
        let difference = self.difference();
        if difference.abs() > ROUNDING {
            let most = elapsed / SLEW;
            self.offset += difference.clamp(-most, most);
        }
    }

    /// Time minus the monotonic clock.
    pub const fn offset(&self) -> i64 {
        self.offset
    }

    /// The wall clock minus time, when they were last compared.
    pub const fn difference(&self) -> i64 {
        self.wall.saturating_sub(self.offset)
    }

    /// Whether the two differ by more than a jump.
    pub const fn is_apart(&self) -> bool {
        self.is_apart
    }

    /// Whether expired data may be removed.
    pub const fn is_settled(&self) -> bool {
        self.doubt.is_none()
    }
}

fn span(millis: i64) -> Duration {
    Duration::from_millis(millis.unsigned_abs())
}
