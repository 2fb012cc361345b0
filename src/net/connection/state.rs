//! Which deadline holds for a connection at this moment?
//!
//! Time is measured coarsely, by the worker's tick, instead of with a timer per request: a connection
//! stores when its present state began, and a sweep four times a second gives a command to those that
//! have exceeded a deadline.
//!
//! ```text
//! Handshake ─ TLS complete ─→ New ─ first byte ─→ Head ─ head complete ─→ Busy ─ answered ─→ Waiting
//!  handshake_timeout       header_timeout     header_timeout               │                KEEP_ALIVE
//!                                                                          └ write stalled: WRITE_STALL,
//!                                                                            or ENDED_STALL
//! ```
//!
//! From `Waiting` the next byte leads to `Head`. A connection that has been `Waiting` for `IDLE_AFTER` drops
//! its buffers (`idle`). Over HTTP/2 a connection is `Busy` while it has streams and `Waiting` while it has
//! none; an incomplete frame or header block has `header_timeout` of its own.
//!
//! A connection that has to finish answers the request that is in progress, or that arrives within
//! `LAST_CALL`, and announces the end in that response (`Connection: close`, GOAWAY). Otherwise it closes
//! when `LAST_CALL` has passed. So a request that is sent while the process begins to end is answered.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;

use crate::net::connection::body_rate::BodyRate;
use crate::net::connection::command::{Command, ConnectionCommand};
use crate::net::connection::deadlines::{Deadlines, ENDED_STALL, WRITE_STALL};
use crate::net::connection::h2_streams::H2Streams;
use crate::net::connection::head_end::LastBytes;
use crate::net::connection::request_age::RequestAge;
use crate::net::connection::response_watch::ResponseWatch;
use crate::telemetry::metrics::Dropped;

/// How long a connection may wait between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How long a connection waits between two requests before it drops its buffers. Building them again
/// costs about a tenth of a request.
const IDLE_AFTER: Duration = Duration::from_secs(3);

/// How long a connection that has to finish waits for a request that may be arriving.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How long a connection without a request may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an HTTP/2 client may send nothing before it is sent a PING, and how long it may take to answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The phase a connection is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// A request head is arriving.
    Head,
    /// A request is being answered.
    Busy,
    /// Between two requests.
    Waiting,
    /// No byte has arrived.
    New,
    /// The TLS handshake.
    Handshake,
}

/// The state of a connection, shared by its task and the worker's sweep.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    state: AtomicU8,
    since: AtomicU64,
    /// The tick of the first write that found no room; zero when none waits.
    stalled_since: AtomicU64,
    /// The tick since which a frame or header block is incomplete; zero when none is.
    partial_since: AtomicU64,
    /// The tick of the last frame that arrived; zero over HTTP/1.1.
    last_frame_at: AtomicU64,
    /// Whether the client has to be sent a PING.
    must_ping: AtomicBool,
    /// Whether the connection was asked to drop its buffers and has not been used since.
    must_idle: AtomicBool,
    /// Whether the last request had a body, the rest of which hyper may still expect.
    has_body: AtomicBool,
    command: Command,
    /// Request bodies whose readers wait for the client.
    bodies: Mutex<Vec<Weak<BodyRate>>>,
    /// The watch over the response that HTTP/1.1 is sending.
    watch: Mutex<Option<Arc<dyn ResponseWatch>>>,
    pub(crate) last_bytes: LastBytes,
    /// The age of the HTTP/1.1 request in progress.
    pub(crate) age: RequestAge,
    /// The streams of an HTTP/2 connection.
    pub(crate) h2_streams: H2Streams,
}

impl ConnectionState {
    pub(crate) fn new(tick: u64) -> Self {
        Self {
            state: AtomicU8::new(State::New as u8),
            since: AtomicU64::new(tick),
            stalled_since: AtomicU64::new(0),
            partial_since: AtomicU64::new(0),
            last_frame_at: AtomicU64::new(0),
            must_ping: AtomicBool::new(false),
            must_idle: AtomicBool::new(false),
            has_body: AtomicBool::new(false),
            command: Command::new(),
            bodies: Mutex::default(),
            watch: Mutex::default(),
            last_bytes: LastBytes::default(),
            age: RequestAge::default(),
            h2_streams: H2Streams::default(),
        }
    }

    pub(crate) fn enter(&self, state: State, tick: u64) {
        self.state.store(state as u8, Ordering::Relaxed);
        self.since.store(tick, Ordering::Relaxed);
        self.must_idle.store(false, Ordering::Relaxed);
        self.age.begin();
    }

    pub(crate) fn is(&self, state: State) -> bool {
        self.state.load(Ordering::Relaxed) == state as u8
    }

    /// Answer the current request, or the one that is arriving, and accept no more.
    pub(crate) fn finish(&self, tick: u64) {
        self.command.give(ConnectionCommand::Finish, tick);
    }

    /// End at once. Returns whether that is new.
    pub(crate) fn cut(&self) -> bool {
        self.command.give(ConnectionCommand::Cut, 0)
    }

    /// Whether this command holds, or one that replaces it.
    pub(crate) fn has_command(&self, command: ConnectionCommand) -> bool {
        self.command.is(command)
    }

    pub(crate) fn is_finishing(&self) -> bool {
        self.has_command(ConnectionCommand::Finish)
    }

    /// Wakes this task with every new command.
    pub(crate) fn listen(&self, waker: &Waker) {
        self.command.listen(waker);
    }

    /// Checks every deadline at `tick` (milliseconds) and gives the commands that follow. `note` counts the
    /// reason when the client caused it.
    pub(crate) fn sweep(&self, tick: u64, deadlines: &Deadlines, note: impl Fn(Dropped)) {
        self.sweep_state(tick, deadlines, &note);
        self.sweep_stalls(tick, deadlines, &note);
        if self.is(State::Busy) && self.age.sweep() {
            self.command.wake();
        }
        self.h2_streams.sweep(tick, &note);
        self.sweep_pings(tick);
        self.sweep_bodies(tick);
    }

    fn sweep_state(&self, tick: u64, deadlines: &Deadlines, note: &impl Fn(Dropped)) {
        let since = self.since.load(Ordering::Relaxed);
        let quiet_since = since.max(self.command.given_at());
        let is_last_call_over = self.is_finishing() && has_passed(tick, quiet_since, LAST_CALL);
        if self.is(State::Handshake) {
            if has_passed(tick, since, deadlines.handshake) {
                self.cut_for(Dropped::SlowHandshake, note);
            }
        } else if self.is(State::New) {
            if is_last_call_over {
                self.cut();
            } else if has_passed(tick, since, deadlines.header) {
                self.cut_for(Dropped::Silent, note);
            }
        } else if self.is(State::Head) {
            if has_passed(tick, since, deadlines.header) {
                self.cut_for(Dropped::SlowHead, note);
            }
        } else if self.is(State::Waiting) {
            let is_stalled = self.stalled_since.load(Ordering::Relaxed) != 0;
            if self.is_finishing() && !is_stalled && has_passed(tick, quiet_since, CLOSE_TIMEOUT) {
                self.cut();
            } else if is_last_call_over || has_passed(tick, since, KEEP_ALIVE) {
                self.command.give(ConnectionCommand::Close, tick);
            } else if !is_stalled
                && has_passed(tick, since, IDLE_AFTER)
                && !self.must_idle.swap(true, Ordering::Relaxed)
            {
                self.command.wake();
            }
        }
    }

    fn sweep_stalls(&self, tick: u64, deadlines: &Deadlines, note: &impl Fn(Dropped)) {
        let stalled = self.stalled_since.load(Ordering::Relaxed);
        if stalled != 0 && has_passed(tick, stalled, WRITE_STALL) {
            self.cut_for(Dropped::SlowReader, note);
        }
        if stalled != 0 && has_passed(tick, stalled, ENDED_STALL) && self.is_response_over() {
            self.cut();
        }
        let partial = self.partial_since.load(Ordering::Relaxed);
        if partial != 0 && has_passed(tick, partial, deadlines.header) {
            self.cut_for(Dropped::SlowHead, note);
        }
    }

    fn cut_for(&self, reason: Dropped, note: &impl Fn(Dropped)) {
        if self.cut() {
            note(reason);
        }
    }

    fn sweep_pings(&self, tick: u64) {
        let last = self.last_frame_at.load(Ordering::Relaxed);
        if last == 0 {
            return;
        }
        if has_passed(tick, last, PING_EVERY + PING_TIMEOUT) {
            self.cut();
        } else if has_passed(tick, last, PING_EVERY)
            && !self.must_ping.swap(true, Ordering::Relaxed)
        {
            self.command.wake();
        }
    }

    fn sweep_bodies(&self, tick: u64) {
        let mut bodies = self.bodies.lock();
        bodies.retain(|body| match body.upgrade() {
            Some(body) => {
                body.check(tick);
                true
            }
            None => false,
        });
    }

    /// Bytes of HTTP/2 arrived at `tick`.
    pub(crate) fn frame_received(&self, tick: u64) {
        self.last_frame_at.store(tick.max(1), Ordering::Relaxed);
        self.must_ping.store(false, Ordering::Relaxed);
    }

    /// Whether the client has to be sent a PING.
    pub(crate) fn must_ping(&self) -> bool {
        self.must_ping.load(Ordering::Relaxed)
    }

    /// A request has begun, with a body or without.
    pub(crate) fn set_has_body(&self, has_body: bool) {
        self.has_body.store(has_body, Ordering::Relaxed);
    }

    /// Whether the connection should drop its buffers: it has been waiting for a while, and no part of the
    /// last request can be outstanding.
    pub(crate) fn may_idle(&self) -> bool {
        self.must_idle.load(Ordering::Relaxed)
            && self.is(State::Waiting)
            && !self.has_body.load(Ordering::Relaxed)
    }

    /// The connection is used again, or was at least woken.
    pub(crate) fn ends_idle(&self) {
        self.must_idle.store(false, Ordering::Relaxed);
    }

    /// Whether the connection is between the end of one head and the beginning of the next.
    pub(crate) fn is_between_heads(&self) -> bool {
        self.is(State::Busy) || self.is(State::Waiting)
    }

    /// Stores the tick since which a frame or header block is incomplete; zero when none is.
    pub(crate) fn set_partial_since(&self, tick: u64) {
        self.partial_since.store(tick, Ordering::Relaxed);
    }

    /// Whether a frame or header block is incomplete.
    pub(crate) fn is_partial(&self) -> bool {
        self.partial_since.load(Ordering::Relaxed) != 0
    }

    /// A write, or a flush, found no room at `tick`.
    pub(crate) fn write_stalled(&self, tick: u64) {
        if self.stalled_since.load(Ordering::Relaxed) == 0 {
            self.stalled_since.store(tick.max(1), Ordering::Relaxed);
        }
    }

    /// A write found room.
    pub(crate) fn write_continued(&self) {
        self.stalled_since.store(0, Ordering::Relaxed);
    }

    /// Sets the watch over the response that is being sent, or (none) removes it.
    pub(crate) fn watch_response(&self, watch: Option<Arc<dyn ResponseWatch>>) {
        *self.watch.lock() = watch;
    }

    fn is_response_over(&self) -> bool {
        let watch = self.watch.lock();
        watch.as_ref().is_some_and(|watch| watch.is_over())
    }

    /// Checks the rate of this body with every sweep.
    pub(crate) fn watch_body(&self, body: Weak<BodyRate>) {
        let mut bodies = self.bodies.lock();
        bodies.retain(|body| body.strong_count() > 0);
        bodies.push(body);
    }
}

fn has_passed(tick: u64, since: u64, limit: Duration) -> bool {
    u128::from(tick.saturating_sub(since)) >= limit.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINES: Deadlines = Deadlines {
        header: Duration::from_secs(10),
        handshake: Duration::from_secs(5),
    };

    /// The command that a connection has at `tick`, which has been in this state since 1.
    fn command(state: State, tick: u64) -> u8 {
        let connection = ConnectionState::new(1);
        connection.enter(state, 1);
        connection.sweep(tick, &DEADLINES, |_| ());
        connection.command.value()
    }

    #[test]
    fn every_state_but_busy_has_its_deadline() {
        for (state, limit, expected) in [
            (State::Handshake, 5_000, ConnectionCommand::Cut),
            (State::New, 10_000, ConnectionCommand::Cut),
            (State::Head, 10_000, ConnectionCommand::Cut),
            (State::Waiting, 60_000, ConnectionCommand::Close),
        ] {
            let before = command(state, limit);
            assert_eq!(before, ConnectionCommand::Continue as u8, "{state:?}");
            assert_eq!(command(state, limit + 1), expected as u8, "{state:?}");
        }
        let busy = command(State::Busy, 1_000_000);
        assert_eq!(busy, ConnectionCommand::Continue as u8);
    }

    #[test]
    fn s50_a_cut_is_counted_once_and_under_its_reason() {
        for (state, reason) in [
            (State::Handshake, Dropped::SlowHandshake),
            (State::New, Dropped::Silent),
            (State::Head, Dropped::SlowHead),
            (State::Busy, Dropped::SlowReader),
        ] {
            let connection = ConnectionState::new(1);
            connection.enter(state, 1);
            if state == State::Busy {
                connection.write_stalled(1);
            }
            let noted = std::cell::RefCell::new(Vec::new());
            for tick in [60_001, 60_002] {
                connection.sweep(tick, &DEADLINES, |why| noted.borrow_mut().push(why));
            }
            assert_eq!(noted.take(), [reason], "{state:?}");
        }
    }

    #[test]
    fn a_connection_that_does_not_close_is_cut() {
        let connection = ConnectionState::new(1);
        connection.enter(State::Waiting, 1);
        connection.sweep(60_001, &DEADLINES, |_| ());
        connection.sweep(65_000, &DEADLINES, |_| ());
        assert!(!connection.has_command(ConnectionCommand::Cut));
        connection.sweep(65_001, &DEADLINES, |_| ());
        assert!(connection.has_command(ConnectionCommand::Cut));
    }

    #[test]
    fn a_silent_http2_client_is_sent_a_ping_and_cut_when_it_does_not_answer() {
        let connection = ConnectionState::new(1);
        connection.enter(State::Busy, 1);
        connection.sweep(1_000_000, &DEADLINES, |_| ());
        assert!(!connection.must_ping(), "over HTTP/1.1");
        connection.frame_received(1);
        connection.sweep(30_000, &DEADLINES, |_| ());
        assert!(!connection.must_ping());
        connection.sweep(30_001, &DEADLINES, |_| ());
        assert!(connection.must_ping());
        connection.frame_received(40_000);
        assert!(!connection.must_ping(), "the answer has arrived");
        connection.sweep(89_999, &DEADLINES, |_| ());
        assert!(!connection.has_command(ConnectionCommand::Cut));
        connection.sweep(90_000, &DEADLINES, |_| ());
        assert!(connection.has_command(ConnectionCommand::Cut));
    }

    #[test]
    fn an_incomplete_header_block_has_its_own_deadline() {
        let connection = ConnectionState::new(1);
        connection.enter(State::Busy, 1);
        connection.set_partial_since(5);
        connection.sweep(10_004, &DEADLINES, |_| ());
        assert!(!connection.has_command(ConnectionCommand::Cut));
        connection.sweep(10_005, &DEADLINES, |_| ());
        assert!(connection.has_command(ConnectionCommand::Cut));
    }
}
