//! One HTTP/2 connection: how it begins, and the one task that moves its bytes until it ends.
//!
//! The task ends when the peer hangs up, when nobody holds the connection any more, or when a peer
//! that owes answers gives no sign of life. What it owes then fails.

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
use crate::proxy::http2::ticket::Life;
use crate::proxy::pool::Counters;
use crate::proxy::stream::Stream;
use crate::proxy::timer::Alarm;

/// Greets the peer and waits for its settings: a connection stands when the peer has shown that it
/// speaks HTTP/2 and how many streams it takes.
pub(super) async fn open(
    stream: Stream,
    life: &Arc<Life>,
    counters: Arc<Counters>,
    freed: &Arc<Notify>,
) -> Result<SendRequest<Bytes>, UpstreamError> {
    let greeted = Builder::new()
        .initial_max_send_streams(0)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD_LIST)
        .max_send_buffer_size(MAX_SEND_BUFFER)
        .enable_push(false)
        .handshake(stream);
    let (sender, mut connection) = greeted.await.map_err(UpstreamError::of_http2)?;
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
        watch: pings.map(|pings| Watch::new(pings, life)),
        life: Arc::clone(life),
        counters,
        freed: Arc::clone(freed),
    };
    spawn(async move { poll_fn(|cx| task.poll(cx)).await });
    Ok(sender)
}

/// Starts the task of a connection. It lives as long as its worker's runtime at most, and whoever
/// waits for the worker waits for the requests, not for it.
#[expect(
    clippy::disallowed_methods,
    reason = "the server's place for tasks is above this layer; this is the proxy's only one"
)]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}

struct Task {
    connection: Connection<Stream, Bytes>,
    watch: Option<Watch>,
    life: Arc<Life>,
    counters: Arc<Counters>,
    freed: Arc<Notify>,
}

impl Task {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match &mut self.watch {
            Some(watch) => watch.poll(cx),
            None => Poll::Pending,
        }
    }
}

impl Drop for Task {
    /// The connection goes right after this, and with it the hope of every stream on it.
    fn drop(&mut self) {
        self.life.close();
        self.counters.open.fetch_sub(1, Ordering::Relaxed);
        self.freed.notify_waiters();
    }
}

/// Notices a peer that is gone. While answers are owed and nothing was heard of them for 20 seconds
/// the peer is asked for a sign and has 20 seconds to give it.
///
/// As long as the silence lasts it is asked again only after more than 5 minutes: gRPC servers hang
/// up on clients that ping more often, and a watch that is quiet for an hour must stay.
struct Watch {
    pings: PingPong,
    alarm: Alarm,
    life: Arc<Life>,
    heard: u64,
    /// When the peer was asked in this silence.
    asked: Option<Instant>,
    /// Whether its sign is awaited.
    waiting: bool,
    next: Instant,
}

impl Watch {
    fn new(pings: PingPong, life: &Arc<Life>) -> Self {
        Self {
            pings,
            alarm: Alarm::default(),
            life: Arc::clone(life),
            heard: 0,
            asked: None,
            waiting: false,
            next: Instant::now() + SILENCE,
        }
    }

    /// Ready when the peer is gone.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.waiting {
                match self.pings.poll_pong(cx) {
                    Poll::Ready(Ok(_)) => {
                        self.waiting = false;
                        self.next = Instant::now() + SILENCE;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => return self.alarm.poll(cx, self.next),
                }
            }
            if self.alarm.poll(cx, self.next).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            self.next = now + SILENCE;
            let heard = self.life.heard();
            if self.life.is_idle() || heard != self.heard {
                self.heard = heard;
                self.asked = None;
                continue;
            }
            let recently = |asked| now.saturating_duration_since(asked) < PATIENCE;
            if self.asked.is_none_or(|asked| !recently(asked)) {
                if self.pings.send_ping(Ping::opaque()).is_err() {
                    return Poll::Ready(());
                }
                self.asked = Some(now);
                self.waiting = true;
            }
        }
    }
}

/// How much of one answer may wait here for a slow client. The connection's window has room for all
/// streams that there may be, so that slow clients do not hold up the others.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 100 * STREAM_WINDOW;

/// The largest head of an answer, as HTTP/2 counts it: as large as over HTTP/1.1.
const MAX_HEAD_LIST: u32 = 64 * 1024;

/// How much of one request may wait here for the upstream.
const MAX_SEND_BUFFER: usize = 64 * 1024;

/// See [`Watch`].
const SILENCE: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(330);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const ACK: u8 = 1;

    /// A connection with its watch, and the other end under the test's hand.
    async fn watched() -> (
        SendRequest<Bytes>,
        Connection<DuplexStream, Bytes>,
        Watch,
        Arc<Life>,
        DuplexStream,
    ) {
        let (near, mut far) = duplex(64 * 1024);
        let (sender, mut connection) = Builder::new().handshake(near).await.unwrap();
        far.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        let life = Arc::new(Life::busy());
        let watch = Watch::new(connection.ping_pong().unwrap(), &life);
        (sender, connection, watch, life, far)
    }

    /// Moves the connection until its watch says that the peer is gone, or the time is over.
    async fn gone_within(
        connection: &mut Connection<DuplexStream, Bytes>,
        watch: &mut Watch,
        limit: Duration,
    ) -> bool {
        let watching = poll_fn(|cx| {
            assert!(Pin::new(&mut *connection).poll(cx).is_pending());
            watch.poll(cx)
        });
        tokio::time::timeout(limit, watching).await.is_ok()
    }

    /// Answers pings, and counts them.
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
    async fn a_peer_that_owes_an_answer_and_gives_no_sign_is_gone_after_forty_seconds() {
        let (_sender, mut connection, mut watch, _life, _far) = watched().await;
        let begin = Instant::now();
        let hour = Duration::from_secs(3600);
        assert!(gone_within(&mut connection, &mut watch, hour).await);
        assert_eq!(begin.elapsed(), SILENCE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_owes_nothing_may_be_silent() {
        let (_sender, mut connection, mut watch, life, _far) = watched().await;
        life.rest();
        let hour = Duration::from_secs(3600);
        assert!(!gone_within(&mut connection, &mut watch, hour).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_watch_is_asked_seldom_enough_for_grpc_servers() {
        let (_sender, mut connection, mut watch, _life, far) = watched().await;
        let count = Arc::default();
        let mut beside = tokio::task::JoinSet::new();
        beside.spawn(answering(far, Arc::clone(&count)));
        let hour = Duration::from_secs(3600);
        assert!(!gone_within(&mut connection, &mut watch, hour).await);
        // They count pings that come within five minutes of another, and hang up at the third.
        let pings = count.load(Ordering::SeqCst);
        assert!((2..=12).contains(&pings), "{pings} pings in an hour");
    }
}
