//! How are requests read from an HTTP/2 connection (RFC 9113), each in a task of its own?
//!
//! h2 checks the frames; the limits are set here. A client that exceeds them loses its own connection and
//! no other. One task accepts streams and moves the bytes of the connection; each request is answered in a
//! task of its own, which [`H2Stream`](crate::net::connection::h2_streams::H2Stream) can end.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Request, Response};
use tokio::sync::oneshot;

use crate::net::body::Incoming;
use crate::net::connection::active::H2StreamGuard;
use crate::net::connection::h2_response;
use crate::net::connection::h2_tunnel::H2Tunnel;
use crate::net::connection::handle::Connection;
use crate::net::connection::state::ConnectionState;
use crate::net::connection::transport::Transport;
use crate::net::connection::watched_io::WatchedIo;
use crate::net::connections::PanicCounter;
use crate::net::handler::{Handler, ResponseBody};
use crate::net::served::Served;
use crate::net::tasks;
use crate::net::upgrade::H2Upgrade;

/// Streams at once on one connection.
const MAX_STREAMS: u32 = 100;

/// The most of a request's header lines, counted as RFC 9113, 6.5.2 does.
const MAX_HEADER_LIST: u32 = 16 * 1024;

/// How many streams a client may reset before they are accepted (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;

/// How many streams may be reset because of the client's protocol errors.
const MAX_LOCAL_RESETS: usize = 64;

/// How many bytes a client may send of one body, and of all, before they are read.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;

/// How many bytes of one response are buffered for a client that reads slowly.
const MAX_SEND_BUFFER: usize = 64 * 1024;

/// Serves a connection until it ends.
pub(crate) async fn serve<H: Handler>(
    transport: Transport,
    connection: Arc<Connection>,
    served: Arc<Served<H>>,
) {
    let io = WatchedIo::http2(transport, Arc::clone(&connection));
    if let Err(error) = talk(io, &connection, &served).await {
        let peer = connection.peer().address;
        tracing::debug!(%peer, %error, "a client connection ended early");
    }
}

async fn talk<H: Handler>(
    io: WatchedIo,
    connection: &Arc<Connection>,
    served: &Arc<Served<H>>,
) -> Result<(), h2::Error> {
    let mut h2 = builder().handshake::<_, Bytes>(io).await?;
    let mut pings = h2.ping_pong().map(KeepAlive::new);
    let state = &connection.registered.state;
    let mut is_closing = false;
    poll_fn(|task| {
        if !is_closing && state.is_finishing() {
            is_closing = true;
            h2.graceful_shutdown();
        }
        if let Some(pings) = &mut pings {
            pings.poll(state, task);
        }
        loop {
            match h2.poll_accept(task) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    begin(request, respond, connection, served);
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(Some(MAX_LOCAL_RESETS))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(MAX_SEND_BUFFER)
        .enable_connect_protocol();
    builder
}

/// Sends a PING when the connection's sweep requests one. The answer counts like any other frame.
struct KeepAlive {
    pings: PingPong,
    is_waiting: bool,
}

impl KeepAlive {
    fn new(pings: PingPong) -> Self {
        Self {
            pings,
            is_waiting: false,
        }
    }

    fn poll(&mut self, state: &ConnectionState, task: &mut std::task::Context<'_>) {
        if self.is_waiting && self.pings.poll_pong(task).is_ready() {
            self.is_waiting = false;
        }
        if !self.is_waiting && state.must_ping() {
            // An error means that the connection is closed, which the next poll reports.
            self.is_waiting = self.pings.send_ping(Ping::opaque()).is_ok();
        }
    }
}

/// Starts the task of a stream.
fn begin<H: Handler>(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    connection: &Arc<Connection>,
    served: &Arc<Served<H>>,
) {
    let guard = H2StreamGuard::begin(connection);
    let panics = PanicCounter::new(&connection.registered.connections);
    let stream = Arc::clone(&guard.stream);
    // Boxed: a task is moved several times before it runs, and this future is large.
    let mut answering = Box::pin(answer(request, respond, guard, Arc::clone(served)));
    tasks::spawn(async move {
        let _panics = panics;
        let mut is_known = false;
        poll_fn(|task| {
            if stream.is_cut() {
                return Poll::Ready(());
            }
            if !is_known {
                stream.runs_in(task.waker());
                is_known = true;
            }
            answering.as_mut().poll(task)
        })
        .await;
    });
}

async fn answer<H: Handler>(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    mut guard: H2StreamGuard,
    served: Arc<Served<H>>,
) {
    let Some((request, upgrade)) = into_request(request) else {
        respond.send_reset(Reason::INTERNAL_ERROR);
        return;
    };
    let handler = served.handler();
    let response = {
        let handling = handler.handle(request, &guard.connection, &guard.stream.age);
        until_reset(pin!(handling), &mut respond).await
    };
    let Some(mut response) = response else {
        return;
    };
    h2_response::prepare(response.headers_mut(), || handler.date());
    let sent = match upgrade {
        Some(upgrade) if response.status().is_success() => {
            guard.is_answered = true;
            upgrade.accept(response, &mut respond)
        }
        _ => {
            if let Some(watch) = response.body().watch() {
                guard.stream.watch(watch);
            }
            h2_response::send(response, respond, &mut guard).await
        }
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "a stream ended early");
    }
}

/// Polls the handler until it has a response, or (none) until the client resets the stream.
async fn until_reset<T>(
    mut handling: Pin<&mut impl Future<Output = T>>,
    respond: &mut SendResponse<Bytes>,
) -> Option<T> {
    poll_fn(|task| match handling.as_mut().poll(task) {
        Poll::Ready(response) => Poll::Ready(Some(response)),
        Poll::Pending => respond.poll_reset(task).map(|_| None),
    })
    .await
}

/// An extended CONNECT whose response decides whether it becomes a tunnel.
struct PendingUpgrade {
    receive: RecvStream,
    tunnel: oneshot::Sender<H2Tunnel>,
}

impl PendingUpgrade {
    /// Sends the head of a successful response, and hands the stream over.
    fn accept<B>(
        self,
        response: Response<B>,
        respond: &mut SendResponse<Bytes>,
    ) -> Result<(), h2::Error> {
        let mut head = response.map(|_| ());
        head.headers_mut().remove(CONTENT_LENGTH);
        let send = respond.send_response(head, false)?;
        // Without a receiver the tunnel is dropped, which ends the stream.
        self.tunnel.send(H2Tunnel::new(send, self.receive)).ok();
        Ok(())
    }
}

/// The request with its body; `None` for a CONNECT that declares a body.
fn into_request(
    request: Request<RecvStream>,
) -> Option<(Request<Incoming>, Option<PendingUpgrade>)> {
    let length = declared_length(request.headers());
    let (mut head, stream) = request.into_parts();
    if head.method != Method::CONNECT {
        let body = Incoming::http2(stream, length);
        return Some((Request::from_parts(head, body), None));
    }
    if length.is_some_and(|length| length != 0) {
        return None;
    }
    let (tunnel, receiver) = oneshot::channel();
    head.extensions.insert(H2Upgrade::new(receiver));
    let upgrade = PendingUpgrade {
        receive: stream,
        tunnel,
    };
    Some((Request::from_parts(head, Incoming::Empty), Some(upgrade)))
}

/// The length that `Content-Length` declares. h2 checks the data against it.
fn declared_length(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let first = values.next()?;
    values
        .all(|value| value == first)
        .then(|| first.to_str().ok()?.parse().ok())?
}
