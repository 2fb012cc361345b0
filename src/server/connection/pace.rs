//! The pace of a request's body. A client that sends a byte now and then would hold a connection of
//! ours and one of the application for as long as it likes; so a body has to reach a rate.
//!
//! Only the time counts in which somebody waits for the client: an application that reads slowly is
//! not the client's fault. The rate is averaged over windows, so that a pause or a slow start is
//! forgiven. Windows are looked at when bytes come and by the worker's tick; there is no timer.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::proxy::Proxy;
use crate::server::peer::Peer;

/// The time a rate is averaged over, in milliseconds.
const WINDOW: u64 = 30_000;

/// A body that is held to its pace, where there is one to hold it to.
#[derive(Debug)]
pub struct Paced<B> {
    body: B,
    pace: Option<Arc<Pace>>,
    /// Where it goes if it is a stream, which may be silent as long as HTTP/2 is spoken there.
    stream_to: Option<Arc<Proxy>>,
}

impl<B: Body> Paced<B> {
    /// Watches a body of this peer's, if there is a rate and anything to wait for.
    pub fn new(body: B, peer: &Arc<Peer>) -> Self {
        let watched = peer.open.worker.deadlines().body_rate > 0 && !body.is_end_stream();
        Self {
            body,
            pace: watched.then(|| Arc::new(Pace::new(Arc::clone(peer)))),
            stream_to: None,
        }
    }

    /// A body that nobody watches.
    pub fn free(body: B) -> Self {
        Self {
            body,
            pace: None,
            stream_to: None,
        }
    }

    /// A stream, which may be silent for as long as its ends like: there is one only where HTTP/2 is
    /// spoken on both sides. What the upstream speaks is known when its connection stands, which is
    /// before anybody waits for the body; until then it has the benefit of the doubt.
    pub fn stream(body: B, peer: &Arc<Peer>, upstream: &Arc<Proxy>) -> Self {
        Self {
            stream_to: Some(Arc::clone(upstream)),
            ..Self::new(body, peer)
        }
    }
}

impl<B> Body for Paced<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(task);
        let is_stream =
            (this.stream_to.as_ref()).is_some_and(|upstream| upstream.may_speak_http2());
        if let Some(pace) = this.pace.as_ref().filter(|_| !is_stream) {
            let is_slow = match &polled {
                Poll::Pending => pace.waits(task.waker()),
                Poll::Ready(Some(Ok(frame))) => {
                    pace.came(frame.data_ref().map_or(0, Bytes::len) as u64)
                }
                Poll::Ready(_) => false,
            };
            if is_slow {
                return Poll::Ready(Some(Err(TooSlow.into())));
            }
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body came too slowly.
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
        f.write_str("the body came too slowly")
    }
}

impl Error for TooSlow {}

/// How a body is coming along.
#[derive(Debug)]
pub(super) struct Pace {
    peer: Arc<Peer>,
    state: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    window: Window,
    waker: Option<Waker>,
    is_known: bool,
}

impl Pace {
    fn new(peer: Arc<Peer>) -> Self {
        Self {
            peer,
            state: Mutex::default(),
        }
    }

    /// Somebody waits; says whether that has been too long.
    fn waits(self: &Arc<Self>, waker: &Waker) -> bool {
        let open = &self.peer.open;
        let mut state = self.lock();
        if !(state.waker.as_ref()).is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        if !state.is_known {
            state.is_known = true;
            open.vigil.wait_for(Arc::downgrade(self));
        }
        state.window.waits(open.worker.tick());
        state.window.is_slow
    }

    /// Bytes came; says whether they were too few.
    fn came(&self, bytes: u64) -> bool {
        let worker = &self.peer.open.worker;
        let mut state = self.lock();
        let rate = worker.deadlines().body_rate;
        state.window.came(bytes, worker.tick(), rate);
        state.window.is_slow
    }

    /// Looks at the window; wakes who waits if it was too slow.
    pub(super) fn look(&self, tick: u64, rate: u64) {
        let mut state = self.lock();
        state.window.look(tick, rate);
        if state.window.is_slow
            && let Some(waker) = state.waker.take()
        {
            waker.wake();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One window of a body's way.
#[derive(Debug, Default)]
struct Window {
    /// Since when somebody has been waiting.
    since: Option<u64>,
    /// How long somebody waited before that.
    waited: u64,
    bytes: u64,
    is_slow: bool,
}

impl Window {
    fn waits(&mut self, tick: u64) {
        self.since.get_or_insert(tick);
    }

    fn came(&mut self, bytes: u64, tick: u64, rate: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.look(tick, rate);
        if let Some(since) = self.since.take() {
            self.waited += tick.saturating_sub(since);
        }
    }

    fn look(&mut self, tick: u64, rate: u64) {
        let waiting = self.since.map_or(0, |since| tick.saturating_sub(since));
        let waited = self.waited + waiting;
        if waited >= WINDOW {
            self.is_slow |= self.bytes < rate.saturating_mul(waited) / 1_000;
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
    fn a_body_that_keeps_the_rate_may_take_its_time() {
        let mut window = Window::default();
        for second in 0..600 {
            window.waits(second * 1_000);
            window.came(RATE, (second + 1) * 1_000, RATE);
            window.look((second + 1) * 1_000, RATE);
        }
        assert!(!window.is_slow);
    }

    #[test]
    fn a_byte_now_and_then_is_too_slow_after_one_window() {
        let mut window = Window::default();
        for second in 0..29 {
            window.waits(second * 1_000);
            window.came(1, (second + 1) * 1_000, RATE);
        }
        assert!(!window.is_slow);
        window.waits(29_000);
        window.look(30_000, RATE);
        assert!(window.is_slow);
    }

    #[test]
    fn the_time_that_the_application_takes_is_not_the_clients() {
        let mut window = Window::default();
        window.waits(0);
        window.came(1, 1_000, RATE);
        window.look(900_000, RATE);
        window.waits(900_000);
        window.look(901_000, RATE);
        assert!(!window.is_slow);
    }
}
