//! The watch over one connection. Time is kept coarsely, by the worker's tick, instead of with a timer
//! per request: a connection notes when its present state began, and a sweep a few times a second tells
//! the ones that have overstayed to go. The states:
//!
//! ```text
//! Shaking ── TLS stands ──→ New ── first byte ──→ Head ── head complete ──→ Busy ── answered ──→ Waiting
//!   handshake_timeout         header_timeout        header_timeout           │                  KEEP_ALIVE
//!                                                                            └ write stalled: WRITE_STALL,
//!                                                                              or TIED_STALL (session over)
//! ```
//!
//! From `Waiting` the next first byte leads to `Head`. A connection that has been `Waiting` for `REST_AFTER` is
//! asked to drop its buffers ([`rest`](crate::server::connection::rest)). Over HTTP/2 a connection is `Busy` while it has
//! streams and `Waiting` while it has none; a frame or a header block that is begun has
//! `header_timeout` of its own, whatever else goes on.
//!
//! A connection that is told to finish answers the request it has begun to hear, or that comes within
//! a moment, and says so in that answer (`Connection: close`, GOAWAY); else it goes when the moment has
//! passed. A client that asks at the very time the process is told to end is so not left without an
//! answer.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use crate::server::connection::pace::Pace;
use crate::server::connection::progress::Progress;
use crate::server::connection::turns::Turns;
use crate::server::leash::Tie;
use crate::telemetry::metrics::Dropped;

/// How long a connection may wait between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How long a connection waits between two requests before it drops its buffers. Building them again
/// costs about as much as a tenth of a request.
const REST_AFTER: Duration = Duration::from_secs(3);

/// How long a client may take nothing of an answer that is ready for it.
pub(super) const WRITE_STALL: Duration = Duration::from_secs(60);

/// The same when the session that the answer is given for is over. Long enough for a client that reads
/// to be told that in words.
pub(super) const TIED_STALL: Duration = Duration::from_millis(500);

/// How long a connection that was told to finish waits for a request that may be on its way.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How long a connection that has nothing left to do may take to say good-bye.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    /// A request is on its way.
    Head,
    /// A request is being answered.
    Busy,
    /// Nothing is going on.
    Waiting,
    /// Nothing has come.
    New,
    /// TLS is being agreed on.
    Shaking,
}

/// What a connection was told; what is later in the list outranks what is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Order {
    /// Go on.
    GoOn,
    /// Finish the request in hand or on its way, take no more.
    Finish,
    /// Go as soon as nothing is in hand.
    Leave,
    /// End at once.
    Cut,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// A complete request head, from its first byte; the first also from the beginning.
    pub header: Duration,
    /// A TLS handshake.
    pub handshake: Duration,
    /// Bytes a second that a request's body must reach; zero = none.
    pub body_rate: u64,
}

/// What the sweep knows about a connection and can tell it.
#[derive(Debug)]
pub(in crate::server) struct Vigil {
    state: AtomicU8,
    since: AtomicU64,
    /// When a write first found no room; zero when none is waiting.
    stalled: AtomicU64,
    /// Since when a frame or header block has been incomplete; zero when none is.
    partial: AtomicU64,
    /// The last four bytes that came.
    tail: AtomicU32,
    order: AtomicU8,
    /// Whether the connection was asked to drop its buffers and has not been used since.
    rest: AtomicBool,
    /// Whether the last request had a body, the rest of which hyper may still expect.
    has_body: AtomicBool,
    /// When it was last told something.
    told: AtomicU64,
    task: Mutex<Option<Waker>>,
    /// Request bodies that are waited for.
    bodies: Mutex<Vec<Weak<Pace>>>,
    /// What ties the answer that HTTP/1.1 is sending to a session.
    tie: Mutex<Option<Arc<Tie>>>,
    /// The request that HTTP/1.1 has in hand.
    pub(super) progress: Progress,
    /// The streams of an HTTP/2 connection.
    pub(super) turns: Turns,
}

impl Vigil {
    pub(in crate::server) fn new(tick: u64) -> Self {
        Self {
            state: AtomicU8::new(State::New as u8),
            since: AtomicU64::new(tick),
            stalled: AtomicU64::new(0),
            partial: AtomicU64::new(0),
            tail: AtomicU32::new(0),
            order: AtomicU8::new(Order::GoOn as u8),
            rest: AtomicBool::new(false),
            has_body: AtomicBool::new(false),
            told: AtomicU64::new(0),
            task: Mutex::new(None),
            bodies: Mutex::new(Vec::new()),
            tie: Mutex::default(),
            progress: Progress::default(),
            turns: Turns::default(),
        }
    }

    pub(super) fn enter(&self, state: State, tick: u64) {
        self.state.store(state as u8, Ordering::Relaxed);
        self.since.store(tick, Ordering::Relaxed);
        self.rest.store(false, Ordering::Relaxed);
        self.progress.begin();
    }

    pub(super) fn is(&self, state: State) -> bool {
        self.state.load(Ordering::Relaxed) == state as u8
    }

    /// Finish the request in hand or on its way, take no more.
    pub(in crate::server) fn finish(&self, tick: u64) {
        self.tell(Order::Finish, tick);
    }

    /// End at once; whether that is news.
    pub(in crate::server) fn cut(&self) -> bool {
        self.tell(Order::Cut, 0)
    }

    /// Tells the connection to go if it has overstayed at `tick` (in milliseconds), and `note` why if
    /// that is the client's doing.
    pub(in crate::server) fn sweep(
        &self,
        tick: u64,
        deadlines: &Deadlines,
        note: impl Fn(Dropped),
    ) {
        let aged = |since: u64, limit: Duration| {
            u128::from(tick.saturating_sub(since)) >= limit.as_millis()
        };
        let drop_for = |reason| {
            if self.cut() {
                note(reason);
            }
        };
        let since = self.since.load(Ordering::Relaxed);
        let quiet = since.max(self.told.load(Ordering::Relaxed));
        let stalled = self.stalled.load(Ordering::Relaxed);
        let is_last = self.is_finishing() && aged(quiet, LAST_CALL);
        if self.is(State::Shaking) {
            if aged(since, deadlines.handshake) {
                drop_for(Dropped::SlowHandshake);
            }
        } else if self.is(State::New) {
            if is_last {
                self.cut();
            } else if aged(since, deadlines.header) {
                drop_for(Dropped::Silent);
            }
        } else if self.is(State::Head) {
            if aged(since, deadlines.header) {
                drop_for(Dropped::SlowHead);
            }
        } else if self.is(State::Waiting) {
            if self.is_finishing() && stalled == 0 && aged(quiet, FAREWELL) {
                self.cut();
            } else if is_last || aged(since, KEEP_ALIVE) {
                self.tell(Order::Leave, tick);
            } else if stalled == 0
                && aged(since, REST_AFTER)
                && !self.rest.swap(true, Ordering::Relaxed)
            {
                self.wake();
            }
        }
        if stalled != 0 && aged(stalled, WRITE_STALL) {
            drop_for(Dropped::SlowReader);
        }
        if stalled != 0 && aged(stalled, TIED_STALL) && self.is_session_over() {
            self.cut();
        }
        let partial = self.partial.load(Ordering::Relaxed);
        if partial != 0 && aged(partial, deadlines.header) {
            drop_for(Dropped::SlowHead);
        }
        if self.is(State::Busy) && self.progress.sweep() {
            self.wake();
        }
        self.turns.sweep(tick, &note);
        self.sweep_bodies(tick, deadlines.body_rate);
    }

    /// A request has begun, with a body or without.
    pub(super) fn note_body(&self, has_body: bool) {
        self.has_body.store(has_body, Ordering::Relaxed);
    }

    /// Whether the connection should drop its buffers: nothing has come or gone for a while, and nothing
    /// of the last request can be outstanding.
    pub(super) fn may_rest(&self) -> bool {
        self.rest.load(Ordering::Relaxed)
            && self.is(State::Waiting)
            && !self.has_body.load(Ordering::Relaxed)
    }

    /// The connection is used again, or was at least woken.
    pub(super) fn ends_rest(&self) {
        self.rest.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_finishing(&self) -> bool {
        self.is_told(Order::Finish)
    }

    /// Whether it was told this, or something that outranks it.
    pub(super) fn is_told(&self, order: Order) -> bool {
        self.order.load(Ordering::Relaxed) >= order as u8
    }

    /// Whether the connection is between the end of one head and the beginning of the next.
    pub(super) fn is_between_heads(&self) -> bool {
        self.is(State::Busy) || self.is(State::Waiting)
    }

    /// Wakes this task when something is told.
    pub(super) fn listen(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        *task = Some(waker.clone());
    }

    /// Bytes came; the last of them are remembered.
    pub(super) fn note_tail(&self, bytes: &[u8]) {
        let last = match bytes {
            [.., a, b, c, d] => u32::from_be_bytes([*a, *b, *c, *d]),
            few => few
                .iter()
                .fold(self.tail.load(Ordering::Relaxed), |tail, byte| {
                    tail << 8 | u32::from(*byte)
                }),
        };
        self.tail.store(last, Ordering::Relaxed);
    }

    /// Whether what came last was the empty line that ends a head or a chunked body. If it was not,
    /// the beginning of another request has come with it.
    pub(super) fn ends_in_empty_line(&self) -> bool {
        let [_, a, b, c] = self.tail.load(Ordering::Relaxed).to_be_bytes();
        matches!([a, b, c], [b'\n', b'\r', b'\n'] | [_, b'\n', b'\n'])
    }

    /// A frame or header block is incomplete since `tick`, or (zero) none is.
    pub(super) fn partial_since(&self, tick: u64) {
        self.partial.store(tick, Ordering::Relaxed);
    }

    /// Whether a frame or header block is incomplete.
    pub(super) fn is_partial(&self) -> bool {
        self.partial.load(Ordering::Relaxed) != 0
    }

    /// A write, or a flush, found no room at `tick`.
    pub(super) fn stalls(&self, tick: u64) {
        if self.stalled.load(Ordering::Relaxed) == 0 {
            self.stalled.store(tick.max(1), Ordering::Relaxed);
        }
    }

    /// A write went through.
    pub(super) fn flows(&self) {
        self.stalled.store(0, Ordering::Relaxed);
    }

    /// The answer that is being sent is tied to a session, or (none) is not.
    pub(super) fn tie(&self, tie: Option<&Arc<Tie>>) {
        *self.tie.lock().unwrap_or_else(PoisonError::into_inner) = tie.map(Arc::clone);
    }

    fn is_session_over(&self) -> bool {
        let tie = self.tie.lock().unwrap_or_else(PoisonError::into_inner);
        tie.as_ref().is_some_and(|tie| tie.is_over())
    }

    /// Watches over a body that has not come yet.
    pub(super) fn wait_for(&self, body: Weak<Pace>) {
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.retain(|body| body.strong_count() > 0);
        bodies.push(body);
    }

    fn sweep_bodies(&self, tick: u64, rate: u64) {
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.retain(|body| match body.upgrade() {
            Some(body) => {
                body.look(tick, rate);
                true
            }
            None => false,
        });
    }

    /// Gives an order; whether it is news.
    fn tell(&self, order: Order, tick: u64) -> bool {
        let is_news = self.order.fetch_max(order as u8, Ordering::Relaxed) < order as u8;
        if is_news {
            self.told.fetch_max(tick, Ordering::Relaxed);
            self.wake();
        }
        is_news
    }

    fn wake(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = task.as_ref() {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINES: Deadlines = Deadlines {
        header: Duration::from_secs(10),
        handshake: Duration::from_secs(5),
        body_rate: 0,
    };

    /// What a connection in this state since 1 is told at `tick`.
    fn told(state: State, tick: u64) -> u8 {
        let vigil = Vigil::new(1);
        vigil.enter(state, 1);
        vigil.sweep(tick, &DEADLINES, |_| ());
        vigil.order.load(Ordering::Relaxed)
    }

    #[test]
    fn every_state_but_work_has_its_time() {
        for (state, limit, order) in [
            (State::Shaking, 5_000, Order::Cut),
            (State::New, 10_000, Order::Cut),
            (State::Head, 10_000, Order::Cut),
            (State::Waiting, 60_000, Order::Leave),
        ] {
            assert_eq!(told(state, limit), Order::GoOn as u8, "{state:?}");
            assert_eq!(told(state, limit + 1), order as u8, "{state:?}");
        }
        assert_eq!(told(State::Busy, 1_000_000), Order::GoOn as u8);
    }

    #[test]
    fn s50_a_cut_is_noted_once_and_under_its_reason() {
        for (state, reason) in [
            (State::Shaking, Dropped::SlowHandshake),
            (State::New, Dropped::Silent),
            (State::Head, Dropped::SlowHead),
            (State::Busy, Dropped::SlowReader),
        ] {
            let vigil = Vigil::new(1);
            vigil.enter(state, 1);
            if state == State::Busy {
                vigil.stalls(1);
            }
            let noted = std::cell::RefCell::new(Vec::new());
            for tick in [60_001, 60_002] {
                vigil.sweep(tick, &DEADLINES, |why| noted.borrow_mut().push(why));
            }
            assert_eq!(noted.take(), [reason], "{state:?}");
        }
    }

    #[test]
    fn who_does_not_go_when_told_is_cut() {
        let vigil = Vigil::new(1);
        vigil.enter(State::Waiting, 1);
        vigil.sweep(60_001, &DEADLINES, |_| ());
        vigil.sweep(65_000, &DEADLINES, |_| ());
        assert!(!vigil.is_told(Order::Cut));
        vigil.sweep(65_001, &DEADLINES, |_| ());
        assert!(vigil.is_told(Order::Cut));
    }

    #[test]
    fn a_header_block_has_its_time_whatever_else_goes_on() {
        let vigil = Vigil::new(1);
        vigil.enter(State::Busy, 1);
        vigil.partial_since(5);
        vigil.sweep(10_004, &DEADLINES, |_| ());
        assert!(!vigil.is_told(Order::Cut));
        vigil.sweep(10_005, &DEADLINES, |_| ());
        assert!(vigil.is_told(Order::Cut));
    }

    #[test]
    fn the_end_of_a_head_is_seen_however_it_comes() {
        let vigil = Vigil::new(1);
        for pieces in [
            &["GET / HTTP/1.1\r\n\r\n"][..],
            &["GET / HTTP/1.1\r\n\r", "\n"],
            &["\n", "\r", "\n"],
            &["GET / HTTP/1.1\n\n"],
        ] {
            vigil.note_tail(b"xxxx");
            for piece in pieces {
                vigil.note_tail(piece.as_bytes());
            }
            assert!(vigil.ends_in_empty_line(), "{pieces:?}");
        }
        vigil.note_tail(b"\r\n\r\nGET / HT");
        assert!(!vigil.ends_in_empty_line());
    }
}
