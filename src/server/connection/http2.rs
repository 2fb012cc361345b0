//! HTTP/2 (RFC 9113): many requests at once, each on a stream and in a task of its own.
//!
//! hyper and h2 hold the frames to the protocol; the limits are ours. A client that works against
//! them loses its connection, and nobody else theirs.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::server::connection::Noted;
use crate::server::connection::transport::Transport;
use crate::server::connection::turns::{Left, Turn};
use crate::server::connection::vigil::State;
use crate::server::connection::watched::Watched;
use crate::server::peer::Peer;
use crate::server::tasks;
use crate::telemetry::metrics::Dropped;

/// Streams at once on one connection.
const MAX_STREAMS: u32 = 100;

/// The most of a request's header lines, counted as RFC 9113, 6.5.2 does.
const MAX_HEADER_LIST: u32 = 16 * 1024;

/// How many streams a client may reset that nobody has looked at yet (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;

/// How many streams the client's mistakes may make us reset.
const MAX_LOCAL_RESETS: usize = 64;

/// What a client may send of one body, and of all, before somebody has read it.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;

/// How much of one answer is held for a client that reads slowly.
const MAX_SEND_BUFFER: usize = 64 * 1024;

/// How often a client is asked whether it is still there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves a connection until it ends.
pub(super) async fn serve(transport: Transport, peer: Arc<Peer>) {
    let vigil = Arc::clone(&peer.open.vigil);
    let io = TokioIo::new(Watched::http2(transport, Arc::clone(&peer)));
    let spawner = Spawner {
        peer: Arc::clone(&peer),
        next: Arc::default(),
    };
    let next = Arc::clone(&spawner.next);
    let answering = {
        let peer = Arc::clone(&peer);
        service_fn(move |request| {
            let stream = TurnGuard::begin(&peer);
            // hyper hands the stream's future to the executor right after this call.
            *next.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&stream.turn));
            // Boxed: hyper and the executor hand a future on several times, and this is a large one.
            Box::pin(async move {
                let peer = &stream.peer;
                let answer = peer
                    .open
                    .worker
                    .pipeline()
                    .handle(request, peer, &stream.turn.progress)
                    .await;
                if let Some(tie) = answer.body().tie() {
                    stream.turn.tie(tie);
                }
                Ok::<_, Infallible>(answer.map(|body| Sent {
                    body,
                    last: None,
                    fault: None,
                    stream,
                }))
            })
        })
    };
    let mut connection = pin!(builder(spawner).serve_connection(io, answering));
    let mut is_leaving = false;
    poll_fn(|task| {
        if !is_leaving && vigil.is_finishing() {
            is_leaving = true;
            connection.as_mut().graceful_shutdown();
        }
        match connection.as_mut().poll(task) {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(error)) => {
                tracing::debug!(peer = %peer.address, %error, "a client connection ended early");
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

fn builder(spawner: Spawner) -> http2::Builder<Spawner> {
    let mut builder = http2::Builder::new(spawner);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .enable_connect_protocol();
    builder
}

/// Starts the tasks of a connection, and remembers which task answers which stream.
#[derive(Debug, Clone)]
struct Spawner {
    peer: Arc<Peer>,
    next: Arc<Mutex<Option<Arc<Turn>>>>,
}

impl<F> Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let noted = Noted::new(&self.peer);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.take();
        tasks::spawn(async move {
            let _noted = noted;
            let mut future = pin!(future);
            let mut is_known = false;
            poll_fn(|task| {
                if let Some(turn) = &turn {
                    if turn.is_cut() {
                        return Poll::Ready(());
                    }
                    if !is_known {
                        turn.runs_in(task.waker());
                        is_known = true;
                    }
                }
                future.as_mut().poll(task).map(drop)
            })
            .await;
        });
    }
}

/// Keeps a stream in the books of its connection; strikes it out on drop.
#[derive(Debug)]
pub(super) struct TurnGuard {
    peer: Arc<Peer>,
    turn: Arc<Turn>,
    /// Whether it came to its end, or the client hung up.
    pub(super) answered: bool,
}

impl TurnGuard {
    pub(super) fn begin(peer: &Arc<Peer>) -> Self {
        let open = &peer.open;
        open.vigil.enter(State::Busy, open.worker.tick());
        Self {
            peer: Arc::clone(peer),
            turn: open.vigil.turns.begin(),
            answered: false,
        }
    }
}

impl Drop for TurnGuard {
    fn drop(&mut self) {
        let open = &self.peer.open;
        match open.vigil.turns.end(&self.turn, self.answered) {
            Left::Nothing => open.vigil.enter(State::Waiting, open.worker.tick()),
            Left::TooFickle if open.vigil.cut() => open.note(Dropped::Resets),
            Left::Some | Left::TooFickle => {}
        }
    }
}

/// A piece of an answer of which more than this would wait in h2's buffer without anybody who watches.
const SMALL: usize = 4 * 1024;

/// A body on its way out, and the stream that ends with it.
///
/// hyper is done with a stream when it has handed the last piece to h2, whether or not the client has
/// room for it: a client that takes nothing could have as much as a piece of each stream kept for as
/// long as it likes. So the last byte of a large last piece is held back. hyper asks for it when the
/// client has room for all before it and for one byte more.
///
/// h2 drops what it has not sent of a stream that is reset. So a fault is reported one poll later, as
/// over HTTP/1.1: the head has gone by then.
struct Sent<B: Body> {
    body: B,
    /// The last byte.
    last: Option<Bytes>,
    fault: Option<B::Error>,
    stream: TurnGuard,
}

impl<B: Body<Data = Bytes, Error: Unpin> + Unpin> Sent<B> {
    fn piece(&mut self, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(last) = self.last.take() {
            return Poll::Ready(Some(Ok(Frame::data(last))));
        }
        if let Some(fault) = self.fault.take() {
            return Poll::Ready(Some(Err(fault)));
        }
        let mut polled = Pin::new(&mut self.body).poll_frame(task);
        if let Poll::Ready(Some(Err(fault))) = polled {
            self.fault = Some(fault);
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(data) = frame.data_mut().filter(|data| data.len() > SMALL)
            && self.body.is_end_stream()
        {
            self.last = Some(data.split_off(data.len() - 1));
        }
        polled
    }
}

impl<B: Body<Data = Bytes, Error: Unpin> + Unpin> Body for Sent<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        // Whoever asks for a piece has found room for the one before.
        this.stream.turn.asked();
        let polled = this.piece(task);
        match &polled {
            Poll::Ready(Some(Ok(_))) => {
                let worker = &this.stream.peer.open.worker;
                this.stream.turn.handed(worker.tick());
            }
            // Also where the application's answer broke off: that is not the client's doing.
            Poll::Ready(_) => this.stream.answered = true,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none() && self.fault.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.last {
            None => self.body.size_hint(),
            Some(last) => SizeHint::with_exact(last.len() as u64),
        }
    }
}

impl<B: Body> Drop for Sent<B> {
    fn drop(&mut self) {
        // A body without anything in it is not asked for.
        self.stream.answered |= self.last.is_none() && self.body.is_end_stream();
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use http_body_util::{Empty, Full};
    use hyper::body::Incoming;
    use hyper_util::rt::TokioExecutor;

    use super::*;

    /// What hyper did, in order.
    #[derive(Debug, Clone, Default)]
    struct Story(Arc<Mutex<Vec<&'static str>>>);

    impl Story {
        fn note(&self, what: &'static str) {
            self.0.lock().unwrap().push(what);
        }
    }

    impl<F> Executor<F> for Story
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        fn execute(&self, future: F) {
            self.note("task");
            tasks::spawn(future);
        }
    }

    /// [`Spawner`] knows by this alone which task answers which stream.
    #[tokio::test]
    async fn hyper_starts_a_streams_task_right_after_the_call_that_it_answers() {
        let story = Story::default();
        let answering = service_fn(|_: Request<Incoming>| {
            story.note("call");
            async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
        });
        let (client, server) = tokio::io::duplex(64 * 1024);
        let serving =
            http2::Builder::new(story.clone()).serve_connection(TokioIo::new(server), answering);
        let asking = async {
            let executor = TokioExecutor::new();
            let client = hyper::client::conn::http2::handshake(executor, TokioIo::new(client));
            let (sender, connection) = client.await.unwrap();
            let all = async {
                let mut asked = tokio::task::JoinSet::new();
                for _ in 0..3 {
                    let request = Request::get("http://a/").body(Empty::<Bytes>::new());
                    asked.spawn(sender.clone().send_request(request.unwrap()));
                }
                drop(sender);
                for answer in asked.join_all().await {
                    assert_eq!(answer.unwrap().status(), 200);
                }
            };
            tokio::join!(connection, all).0.unwrap();
        };
        let all = async { tokio::join!(serving, asking).0.unwrap() };
        tokio::time::timeout(Duration::from_secs(30), all)
            .await
            .unwrap();
        let told = ["call", "task", "call", "task", "call", "task"];
        assert_eq!(*story.0.lock().unwrap(), told);
    }
}
