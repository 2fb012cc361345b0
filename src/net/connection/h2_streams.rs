//! What does the connection's sweep check on each HTTP/2 stream?
//!
//! How many streams are open, whether a client accepts nothing of a response, and how often it resets streams.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::net::connection::deadlines::{ENDED_STALL, WRITE_STALL};
use crate::net::connection::request_age::RequestAge;
use crate::net::connection::response_watch::ResponseWatch;
use crate::telemetry::metrics::Dropped;

/// How many more streams a client may reset than it lets complete. Requests that are reset cost the
/// server and the application work for nothing (CVE-2023-44487).
const MAX_RESETS: u32 = 100;

/// All streams of a connection.
#[derive(Debug, Default)]
pub(crate) struct H2Streams {
    streams: Mutex<Streams>,
}

#[derive(Debug, Default)]
struct Streams {
    open: Vec<Arc<H2Stream>>,
    /// How many more streams the client has reset than it has let complete.
    resets: u32,
}

/// One stream, as the connection's sweep sees it.
#[derive(Debug, Default)]
pub(crate) struct H2Stream {
    /// The tick at which the last piece of the response was handed to h2; zero once there is room for more.
    handed_at: AtomicU64,
    watch: OnceLock<Arc<dyn ResponseWatch>>,
    /// How long the request has been in progress.
    pub(crate) age: RequestAge,
    task: Mutex<Option<Waker>>,
    is_cut: AtomicBool,
}

/// The state of a connection after a stream has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remaining {
    /// Other streams.
    Some,
    /// No stream.
    None,
    /// The client resets too many streams: the connection has to be closed.
    TooManyResets,
}

impl H2Streams {
    pub(crate) fn begin(&self) -> Arc<H2Stream> {
        let stream = Arc::new(H2Stream::default());
        self.lock().open.push(Arc::clone(&stream));
        stream
    }

    /// A stream has ended: answered, or reset.
    pub(crate) fn end(&self, stream: &Arc<H2Stream>, is_answered: bool) -> Remaining {
        let mut streams = self.lock();
        streams.open.retain(|other| !Arc::ptr_eq(other, stream));
        streams.resets = if is_answered {
            streams.resets.saturating_sub(1)
        } else {
            streams.resets.saturating_add(1)
        };
        match streams.open.is_empty() {
            _ if streams.resets > MAX_RESETS => Remaining::TooManyResets,
            true => Remaining::None,
            false => Remaining::Some,
        }
    }

    /// Ends the streams whose clients accept nothing: after [`WRITE_STALL`], or after [`ENDED_STALL`] when
    /// their session has ended. The other streams of the connection continue: a browser that has paused a
    /// video still requests pages.
    pub(crate) fn sweep(&self, tick: u64, note: impl Fn(Dropped)) {
        for stream in &self.lock().open {
            if stream.age.sweep() {
                stream.wake();
            }
            let handed_at = stream.handed_at.load(Ordering::Relaxed);
            let waited = Duration::from_millis(tick.saturating_sub(handed_at));
            let is_over = || stream.watch.get().is_some_and(|watch| watch.is_over());
            if handed_at == 0 || waited < ENDED_STALL {
                continue;
            }
            if is_over() {
                stream.cut();
            } else if waited >= WRITE_STALL && stream.cut() {
                note(Dropped::SlowReader);
            }
        }
    }

    /// Ends all streams.
    pub(crate) fn cut(&self) {
        // The task of a cut stream calls `end` later, when the runtime polls it, so never while this lock is
        // held.
        for stream in &self.lock().open {
            stream.cut();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock()
    }
}

impl H2Stream {
    /// Sets the task that answers the stream.
    pub(crate) fn runs_in(&self, task: &Waker) {
        *self.task() = Some(task.clone());
    }

    /// Whether its task has to end.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    /// Sets the watch over its response.
    pub(crate) fn watch(&self, watch: Arc<dyn ResponseWatch>) {
        // A stream has one response.
        self.watch.set(watch).ok();
    }

    /// A piece of the response was handed to h2 at `tick`.
    pub(crate) fn handed(&self, tick: u64) {
        self.handed_at.store(tick.max(1), Ordering::Relaxed);
    }

    /// h2 has room for the next piece.
    pub(crate) fn has_room(&self) {
        self.handed_at.store(0, Ordering::Relaxed);
    }

    fn wake(&self) {
        if let Some(task) = &*self.task() {
            task.wake_by_ref();
        }
    }

    /// Ends the task. Returns whether there was one.
    fn cut(&self) -> bool {
        self.is_cut.store(true, Ordering::Relaxed);
        self.task().take().map(Waker::wake).is_some()
    }

    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_resets_again_and_again_is_not_served() {
        let streams = H2Streams::default();
        let ended = |is_answered| streams.end(&streams.begin(), is_answered);
        for _ in 0..1_000 {
            assert_eq!(ended(false), Remaining::None);
            assert_eq!(ended(true), Remaining::None);
        }
        for _ in 0..MAX_RESETS {
            assert_eq!(ended(false), Remaining::None);
        }
        assert_eq!(ended(false), Remaining::TooManyResets);
    }

    #[test]
    fn a_stream_whose_client_accepts_nothing_is_ended_and_the_others_continue() {
        let streams = H2Streams::default();
        let (stuck, well) = (streams.begin(), streams.begin());
        for stream in [&stuck, &well] {
            stream.runs_in(Waker::noop());
            stream.handed(1);
        }
        well.has_room();
        let cut = std::cell::Cell::new(0);
        for tick in [60_000, 60_001, 60_002] {
            streams.sweep(tick, |_| cut.set(cut.get() + 1));
        }
        assert_eq!(cut.get(), 1);
        assert!(stuck.is_cut() && !well.is_cut());
    }

    #[test]
    fn a_connection_is_idle_when_its_last_stream_has_ended() {
        let streams = H2Streams::default();
        let (first, second) = (streams.begin(), streams.begin());
        assert_eq!(streams.end(&first, true), Remaining::Some);
        assert_eq!(streams.end(&second, true), Remaining::None);
    }
}
