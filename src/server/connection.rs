//! The life of one client connection: hyper reads requests from it, the pipeline answers them, and a
//! watch keeps time.
//!
//! Time is kept coarsely, by the worker's tick, instead of with a timer per request: a connection
//! notes when its present state began, and a sweep a few times a second tells the ones that have
//! overstayed to go. The states:
//!
//! ```text
//! New ── first byte ──→ Head ── head complete ──→ Busy ── answer sent ──→ Waiting ── first byte ──→ Head
//!   header_timeout        header_timeout            (write stalled:         KEEP_ALIVE
//!                                                    WRITE_STALL)
//! ```
//!
//! A connection that is told to finish answers the request it has begun to hear, or that comes within
//! a moment, and says `Connection: close` in that answer; else it goes when the moment has passed. A
//! client that asks at the very time the process is told to end is so not left without an answer.

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::HeaderValue;
use http::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::server::listener::Stream;
use crate::server::peer::Peer;
use crate::server::worker::Worker;

/// How long a connection may wait between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How long a client may take nothing of an answer that is ready for it.
const WRITE_STALL: Duration = Duration::from_secs(60);

/// How long a connection that was told to finish waits for a request that may be on its way.
const LAST_CALL: Duration = Duration::from_secs(1);

/// The most bytes of a request head.
const MAX_HEAD: usize = 64 * 1024;

const HEAD: u8 = 0;
const BUSY: u8 = 1;
const WAITING: u8 = 2;
const NEW: u8 = 3;

const GO_ON: u8 = 0;
const FINISH: u8 = 1;
const LEAVE: u8 = 2;
const CUT: u8 = 3;

/// What the sweep knows about a connection and can tell it.
#[derive(Debug)]
pub(super) struct Vigil {
    state: AtomicU8,
    since: AtomicU64,
    /// When a write first found no room; zero when none is waiting.
    stalled: AtomicU64,
    order: AtomicU8,
    /// When it was told to finish.
    told: AtomicU64,
    task: Mutex<Option<Waker>>,
}

impl Vigil {
    pub(super) fn new(tick: u64) -> Self {
        Self {
            state: AtomicU8::new(NEW),
            since: AtomicU64::new(tick),
            stalled: AtomicU64::new(0),
            order: AtomicU8::new(GO_ON),
            told: AtomicU64::new(0),
            task: Mutex::new(None),
        }
    }

    fn enter(&self, state: u8, tick: u64) {
        self.state.store(state, Ordering::Relaxed);
        self.since.store(tick, Ordering::Relaxed);
    }

    /// Finish the request in hand or on its way, take no more.
    pub(super) fn finish(&self, tick: u64) {
        if self.order.load(Ordering::Relaxed) == GO_ON {
            self.told.store(tick, Ordering::Relaxed);
            self.tell(FINISH);
        }
    }

    /// Go as soon as nothing is in hand.
    fn leave(&self) {
        self.tell(LEAVE);
    }

    /// End at once.
    pub(super) fn cut(&self) {
        self.tell(CUT);
    }

    /// Tells the connection to go if it has overstayed at `tick` (in milliseconds).
    pub(super) fn sweep(&self, tick: u64, header_timeout: Duration) {
        let aged = |since: u64, limit: Duration| {
            u128::from(tick.saturating_sub(since)) >= limit.as_millis()
        };
        let since = self.since.load(Ordering::Relaxed);
        let quiet = since.max(self.told.load(Ordering::Relaxed));
        let is_last = self.is_finishing() && aged(quiet, LAST_CALL);
        match self.state.load(Ordering::Relaxed) {
            NEW if is_last => self.cut(),
            NEW | HEAD if aged(since, header_timeout) => self.cut(),
            WAITING if is_last || aged(since, KEEP_ALIVE) => self.leave(),
            _ => {}
        }
        let stalled = self.stalled.load(Ordering::Relaxed);
        if stalled != 0 && aged(stalled, WRITE_STALL) {
            self.cut();
        }
    }

    fn is_finishing(&self) -> bool {
        self.order.load(Ordering::Relaxed) >= FINISH
    }

    /// Whether the connection is between the end of one head and the beginning of the next.
    fn has_heard(&self) -> bool {
        matches!(self.state.load(Ordering::Relaxed), BUSY | WAITING)
    }

    fn tell(&self, order: u8) {
        if self.order.fetch_max(order, Ordering::Relaxed) < order {
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(waker) = task.as_ref() {
                waker.wake_by_ref();
            }
        }
    }

    fn listen(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        *task = Some(waker.clone());
    }
}

/// Serves one connection until it ends.
pub(super) async fn serve(stream: Stream, peer: Arc<Peer>) {
    let (worker, vigil) = (&peer.open.worker, &peer.open.vigil);
    let io = TokioIo::new(Watched {
        stream,
        vigil: Arc::clone(vigil),
        worker: Arc::clone(worker),
    });
    let answering = {
        let peer = Arc::clone(&peer);
        service_fn(move |request| {
            let peer = Arc::clone(&peer);
            async move {
                let (worker, vigil) = (&peer.open.worker, &peer.open.vigil);
                vigil.enter(BUSY, worker.tick());
                let pipeline = worker.pipeline();
                let mut answer = pipeline.handle(request, &peer).await;
                if vigil.is_finishing() {
                    let close = HeaderValue::from_static("close");
                    answer.headers_mut().insert(CONNECTION, close);
                }
                Ok::<_, Infallible>(answer.map(|body| Sent { body, peer }))
            }
        })
    };
    let builder = builder();
    let mut connection = pin!(builder.serve_connection(io, answering).with_upgrades());
    let mut heard = GO_ON;
    let mut listening = false;
    poll_fn(|task| {
        if !listening {
            vigil.listen(task.waker());
            listening = true;
        }
        let order = vigil.order.load(Ordering::Relaxed);
        if order == CUT {
            return Poll::Ready(());
        }
        // While a head is on its way hyper would drop it.
        if order == LEAVE && heard == GO_ON && vigil.has_heard() {
            heard = LEAVE;
            connection.as_mut().graceful_shutdown();
        }
        match connection.as_mut().poll(task) {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(error)) => {
                if error.is_parse() {
                    worker.pipeline().unreadable();
                }
                tracing::debug!(peer = %peer.address, %error, "a client connection ended early");
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

/// A request has at most 100 header lines, which is hyper's own limit. Saying so with `max_headers`
/// would make hyper clear a table for each request that it otherwise leaves as it is.
fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_header_size(MAX_HEAD).max_buf_size(MAX_HEAD);
    builder.keep_alive(true).half_close(false);
    builder
}

/// A body whose end puts its connection back to waiting.
struct Sent<B> {
    body: B,
    peer: Arc<Peer>,
}

impl<B: http_body::Body + Unpin> http_body::Body for Sent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(task)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Sent<B> {
    fn drop(&mut self) {
        let open = &self.peer.open;
        open.vigil.enter(WAITING, open.worker.tick());
    }
}

/// The client's socket, telling the vigil what happens on it.
struct Watched {
    stream: Stream,
    vigil: Arc<Vigil>,
    worker: Arc<Worker>,
}

impl Watched {
    fn wrote<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let stalled = &self.vigil.stalled;
        match &result {
            Poll::Pending => {
                if stalled.load(Ordering::Relaxed) == 0 {
                    stalled.store(self.worker.tick().max(1), Ordering::Relaxed);
                }
            }
            Poll::Ready(_) => stalled.store(0, Ordering::Relaxed),
        }
        result
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = match &mut this.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(task, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(task, buffer),
        };
        let read = buffer.filled().len() > before;
        let state = this.vigil.state.load(Ordering::Relaxed);
        if read && (state == WAITING || state == NEW) {
            this.vigil.enter(HEAD, this.worker.tick());
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = match &mut this.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(task, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(task, bytes),
        };
        this.wrote(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = match &mut this.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(task, slices),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(task, slices),
        };
        this.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(task),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(task),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(task),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(task),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// The first line of the answer to a request with so many header lines.
    async fn answer_to(lines: usize) -> String {
        let (mut client, server) = duplex(64 * 1024);
        let service =
            service_fn(|_| async { Ok::<_, Infallible>(http::Response::new(String::new())) });
        let serving = builder().serve_connection(TokioIo::new(server), service);
        let talking = async {
            let mut head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n".to_owned();
            for line in 2..lines {
                write!(head, "X-{line}: 1\r\n").unwrap();
            }
            head.push_str("\r\n");
            client.write_all(head.as_bytes()).await.unwrap();
            let mut heard = String::new();
            client.read_to_string(&mut heard).await.unwrap();
            heard
        };
        let (_, heard) = tokio::join!(serving, talking);
        heard.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn a_request_has_at_most_a_hundred_header_lines() {
        assert_eq!(answer_to(100).await, "HTTP/1.1 200 OK");
        let refused = answer_to(101).await;
        assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
    }
}
