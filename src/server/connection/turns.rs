//! The streams of one HTTP/2 connection, as the connection's watch sees them: how many there are, which
//! one's client takes nothing of its answer, and how often the client hung up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use crate::server::connection::progress::Progress;
use crate::server::connection::vigil::{TIED_STALL, WRITE_STALL};
use crate::server::leash::Tie;
use crate::telemetry::metrics::Dropped;

/// How many more streams a client may reset than it lets end. A client that asks and hangs up makes
/// us and the application work for nothing.
const MAX_HUNG_UP: u32 = 100;

/// All streams of a connection.
#[derive(Debug, Default)]
pub(super) struct Turns {
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    open: Vec<Arc<Turn>>,
    /// How many more streams the client has hung up on than it has let end.
    hung_up: u32,
}

/// One stream, as its connection's watch sees it.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// When the last piece of its answer was handed over; zero once the client has room for more.
    handed: AtomicU64,
    /// What ties its answer to a session.
    tie: OnceLock<Arc<Tie>>,
    /// How long it has been under way.
    pub(super) progress: Progress,
    task: Mutex<Option<Waker>>,
    is_cut: AtomicBool,
}

/// Whether anything is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// There are other streams.
    Some,
    /// That was the last one.
    Nothing,
    /// The client hangs up too often to be served.
    TooFickle,
}

impl Turns {
    pub(super) fn begin(&self) -> Arc<Turn> {
        let turn = Arc::new(Turn::default());
        self.lock().open.push(Arc::clone(&turn));
        turn
    }

    /// A stream is over: answered, or not.
    pub(super) fn end(&self, turn: &Arc<Turn>, answered: bool) -> Left {
        let mut books = self.lock();
        books.open.retain(|other| !Arc::ptr_eq(other, turn));
        books.hung_up = if answered {
            books.hung_up.saturating_sub(1)
        } else {
            books.hung_up.saturating_add(1)
        };
        match books.open.is_empty() {
            _ if books.hung_up > MAX_HUNG_UP => Left::TooFickle,
            true => Left::Nothing,
            false => Left::Some,
        }
    }

    /// Ends the streams whose clients take nothing: after a while, or soon when their session is over.
    /// The others of the connection go on: a browser that has paused a film still asks for pages.
    pub(super) fn sweep(&self, tick: u64, note: impl Fn(Dropped)) {
        for turn in &self.lock().open {
            if turn.progress.sweep() {
                turn.wake();
            }
            let handed = turn.handed.load(Ordering::Relaxed);
            let waited = Duration::from_millis(tick.saturating_sub(handed));
            let is_over = || turn.tie.get().is_some_and(|tie| tie.is_over());
            if handed == 0 || waited < TIED_STALL {
                continue;
            }
            if is_over() {
                turn.cut();
            } else if waited >= WRITE_STALL && turn.cut() {
                note(Dropped::SlowReader);
            }
        }
    }

    /// Ends all streams.
    pub(super) fn cut(&self) {
        // Ending a stream calls `end`, later, from the runtime: never inside this lock.
        for turn in &self.lock().open {
            turn.cut();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// The task that answers it.
    pub(super) fn runs_in(&self, task: &Waker) {
        *self.task() = Some(task.clone());
    }

    /// Whether its task has to end.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    /// Its answer is tied to a session.
    pub(super) fn tie(&self, tie: &Arc<Tie>) {
        // A stream has one answer.
        self.tie.set(Arc::clone(tie)).ok();
    }

    /// A piece of the answer was handed over at `tick`.
    pub(super) fn handed(&self, tick: u64) {
        self.handed.store(tick.max(1), Ordering::Relaxed);
    }

    /// There is room for the next piece.
    pub(super) fn asked(&self) {
        self.handed.store(0, Ordering::Relaxed);
    }

    fn wake(&self) {
        if let Some(task) = &*self.task() {
            task.wake_by_ref();
        }
    }

    /// Ends the task; whether there was one.
    fn cut(&self) -> bool {
        self.is_cut.store(true, Ordering::Relaxed);
        self.task().take().map(Waker::wake).is_some()
    }

    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hangs_up_again_and_again_is_not_served() {
        let turns = Turns::default();
        let ended = |answered| turns.end(&turns.begin(), answered);
        for _ in 0..1_000 {
            assert_eq!(ended(false), Left::Nothing);
            assert_eq!(ended(true), Left::Nothing);
        }
        for _ in 0..MAX_HUNG_UP {
            assert_eq!(ended(false), Left::Nothing);
        }
        assert_eq!(ended(false), Left::TooFickle);
    }

    #[test]
    fn a_stream_whose_client_takes_nothing_is_ended_and_the_others_go_on() {
        let turns = Turns::default();
        let (stuck, well) = (turns.begin(), turns.begin());
        for turn in [&stuck, &well] {
            turn.runs_in(Waker::noop());
            turn.handed(1);
        }
        well.asked();
        let cut = std::cell::Cell::new(0);
        for tick in [60_000, 60_001, 60_002] {
            turns.sweep(tick, |_| cut.set(cut.get() + 1));
        }
        assert_eq!(cut.get(), 1);
        assert!(stuck.is_cut() && !well.is_cut());
    }

    #[test]
    fn a_connection_has_nothing_left_when_its_last_stream_is_over() {
        let turns = Turns::default();
        let (first, second) = (turns.begin(), turns.begin());
        assert_eq!(turns.end(&first, true), Left::Some);
        assert_eq!(turns.end(&second, true), Left::Nothing);
    }
}
