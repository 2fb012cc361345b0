//! How does an HTTP/2 connection begin, and when does it end?
//!
//! One task moves its bytes. It ends when the peer closes the connection, when the last handle to the
//! connection is dropped, or when a peer with open streams does not answer a ping. Open streams then fail.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::proxy::error::UpstreamError;
use crate::proxy::http2::status::ConnectionStatus;
use crate::proxy::stats::Counters;
use crate::proxy::stream::Stream;
use crate::proxy::timer::DeadlineTimer;

/// Sends the preface and waits for the peer's settings: only then it is certain that the peer speaks HTTP/2,
/// and how many streams it permits.
pub(super) async fn open(
    stream: Stream,
    status: &Arc<ConnectionStatus>,
    counters: Arc<Counters>,
    released: &Arc<Notify>,
) -> Result<SendRequest<Bytes>, UpstreamError> {
    let handshake = Builder::new()
        .initial_max_send_streams(0)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD_LIST)
        .max_send_buffer_size(MAX_SEND_BUFFER)
        .enable_push(false)
        .handshake(stream);
    let (sender, mut connection) = handshake.await.map_err(UpstreamError::of_http2)?;
    poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(Ok(())) => {
            let ended = io::Error::from(io::ErrorKind::UnexpectedEof);
            Poll::Ready(Err(UpstreamError::Unreachable(ended)))
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(UpstreamError::of_http2(error))),
        Poll::Pending if connection.max_concurrent_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await?;
    counters.created.fetch_add(1, Ordering::Relaxed);
    counters.open.fetch_add(1, Ordering::Relaxed);
    let pings = connection.ping_pong();
    let mut task = Task {
        connection,
        keep_alive: pings.map(|pings| KeepAlive::new(pings, status)),
        status: Arc::clone(status),
        counters,
        released: Arc::clone(released),
    };
    spawn(async move { poll_fn(|cx| task.poll(cx)).await });
    Ok(sender)
}

/// Starts the task of a connection. It ends with its worker's runtime at the latest; a worker that stops waits
/// for its requests, not for this task.
#[expect(
    clippy::disallowed_methods,
    reason = "net's task set is above this layer, and this is the proxy's only task"
)]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}

struct Task {
    connection: Connection<Stream, Bytes>,
    keep_alive: Option<KeepAlive>,
    status: Arc<ConnectionStatus>,
    counters: Arc<Counters>,
    released: Arc<Notify>,
}

impl Task {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match &mut self.keep_alive {
            Some(keep_alive) => keep_alive.poll(cx),
            None => Poll::Pending,
        }
    }
}

impl Drop for Task {
    /// The connection is dropped next, and every stream on it fails.
    fn drop(&mut self) {
        self.status.close();
        self.counters.open.fetch_sub(1, Ordering::Relaxed);
        self.released.notify_waiters();
    }
}

/// Detects a dead peer. If streams are open and no frame of an answer came for 20 seconds, a ping is sent, and
/// the peer has 20 seconds to answer it.
///
/// While the silence lasts, the next ping is sent only after more than 5 minutes: gRPC servers close
/// connections with more frequent pings, and a stream without events for an hour must stay open.
struct KeepAlive {
    pings: PingPong,
    timer: DeadlineTimer,
    status: Arc<ConnectionStatus>,
    frames: u64,
    /// When the last ping of this silence was sent.
    pinged: Option<Instant>,
    /// Whether the answer to a ping is awaited.
    waiting: bool,
    next: Instant,
}

impl KeepAlive {
    fn new(pings: PingPong, status: &Arc<ConnectionStatus>) -> Self {
        Self {
            pings,
            timer: DeadlineTimer::default(),
            status: Arc::clone(status),
            frames: 0,
            pinged: None,
            waiting: false,
            next: Instant::now() + SILENCE,
        }
    }

    /// Ready when the peer is considered dead.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.waiting {
                match self.pings.poll_pong(cx) {
                    Poll::Ready(Ok(_)) => {
                        self.waiting = false;
                        self.next = Instant::now() + SILENCE;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => return self.timer.poll(cx, self.next),
                }
            }
            if self.timer.poll(cx, self.next).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            self.next = now + SILENCE;
            let frames = self.status.frames();
            if self.status.is_idle() || frames != self.frames {
                self.frames = frames;
                self.pinged = None;
                continue;
            }
            let recently = |pinged| now.saturating_duration_since(pinged) < PING_INTERVAL;
            if self.pinged.is_none_or(|pinged| !recently(pinged)) {
                if self.pings.send_ping(Ping::opaque()).is_err() {
                    return Poll::Ready(());
                }
                self.pinged = Some(now);
                self.waiting = true;
            }
        }
    }
}

/// How much of one answer is buffered here for a slow client. The connection's window has room for the
/// windows of all its streams, so that slow clients do not block the others.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 100 * STREAM_WINDOW;

/// The largest head of an answer, as HTTP/2 counts it: as large as over HTTP/1.1.
const MAX_HEAD_LIST: u32 = 64 * 1024;

/// How much of one request is buffered here for a slow upstream.
const MAX_SEND_BUFFER: usize = 64 * 1024;

/// See [`KeepAlive`].
const SILENCE: Duration = Duration::from_secs(20);
const PING_INTERVAL: Duration = Duration::from_secs(330);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const ACK: u8 = 1;

    /// A connection with its keep-alive, and its other end.
    async fn connected() -> (
        SendRequest<Bytes>,
        Connection<DuplexStream, Bytes>,
        KeepAlive,
        Arc<ConnectionStatus>,
        DuplexStream,
    ) {
        let (near, mut far) = duplex(64 * 1024);
        let (sender, mut connection) = Builder::new().handshake(near).await.unwrap();
        far.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        let status = Arc::new(ConnectionStatus::busy());
        let keep_alive = KeepAlive::new(connection.ping_pong().unwrap(), &status);
        (sender, connection, keep_alive, status, far)
    }

    /// Polls the connection until its keep-alive reports a dead peer. False if the time is over first.
    async fn is_dead_within(
        connection: &mut Connection<DuplexStream, Bytes>,
        keep_alive: &mut KeepAlive,
        limit: Duration,
    ) -> bool {
        let polling = poll_fn(|cx| {
            assert!(Pin::new(&mut *connection).poll(cx).is_pending());
            keep_alive.poll(cx)
        });
        tokio::time::timeout(limit, polling).await.is_ok()
    }

    /// Answers and counts pings.
    async fn answering(mut far: DuplexStream, count: Arc<std::sync::atomic::AtomicUsize>) {
        let mut preface = [0; 24];
        far.read_exact(&mut preface).await.unwrap();
        loop {
            let mut head = [0; 9];
            if far.read_exact(&mut head).await.is_err() {
                return;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            far.read_exact(&mut payload).await.unwrap();
            if head[3] == PING && head[4] & ACK == 0 {
                count.fetch_add(1, Ordering::SeqCst);
                head[4] |= ACK;
                far.write_all(&head).await.unwrap();
                far.write_all(&payload).await.unwrap();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_with_an_open_stream_is_closed_after_forty_seconds() {
        let (_sender, mut connection, mut keep_alive, _status, _far) = connected().await;
        let begin = Instant::now();
        let hour = Duration::from_secs(3600);
        assert!(is_dead_within(&mut connection, &mut keep_alive, hour).await);
        assert_eq!(begin.elapsed(), SILENCE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_without_open_streams_may_be_silent() {
        let (_sender, mut connection, mut keep_alive, status, _far) = connected().await;
        status.set_idle();
        let hour = Duration::from_secs(3600);
        assert!(!is_dead_within(&mut connection, &mut keep_alive, hour).await);
    }

    #[tokio::test(start_paused = true)]
    async fn pings_on_idle_streams_are_rare_enough_for_grpc_servers() {
        let (_sender, mut connection, mut keep_alive, _status, far) = connected().await;
        let count = Arc::default();
        let mut beside = tokio::task::JoinSet::new();
        beside.spawn(answering(far, Arc::clone(&count)));
        let hour = Duration::from_secs(3600);
        assert!(!is_dead_within(&mut connection, &mut keep_alive, hour).await);
        // They count pings within five minutes of the one before, and close the connection at the third.
        let pings = count.load(Ordering::SeqCst);
        assert!((2..=12).contains(&pings), "{pings} pings in an hour");
    }
}
