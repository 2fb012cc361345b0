//! How are requests read from an HTTP/1.1 (or 1.0) connection, one after the other?

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode};
use http_body::Body as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::net::body::Incoming;
use crate::net::connection::command::ConnectionCommand;
use crate::net::connection::handle::Connection;
use crate::net::connection::idle;
use crate::net::connection::state::State;
use crate::net::connection::transport::Transport;
use crate::net::connection::watched_io::WatchedIo;
use crate::net::handler::{Handler, ResponseBody};
use crate::net::served::Served;

/// The most bytes of a request head.
const MAX_HEAD: usize = 64 * 1024;

/// Serves a connection until it ends, or until it switches protocols.
pub(crate) async fn serve<H: Handler>(
    mut transport: Transport,
    connection: Arc<Connection>,
    served: Arc<Served<H>>,
) {
    let mut again = Bytes::new();
    loop {
        // Boxed, and freed at the end of this statement, so that an idle connection does not hold its memory.
        let talk = Box::pin(talk(transport, again, Arc::clone(&connection), &served));
        let Some(parts) = talk.await else { return };
        (transport, again) = parts;
        if !idle::wait(&mut transport, &connection).await {
            return;
        }
    }
}

/// Answers requests until the connection ends (`None`), or until it is idle: then the transport is
/// returned, with the bytes that were read from it and not used.
async fn talk<H: Handler>(
    transport: Transport,
    again: Bytes,
    connection: Arc<Connection>,
    served: &Arc<Served<H>>,
) -> Option<(Transport, Bytes)> {
    let io = WatchedIo::http1(transport, again, Arc::clone(&connection));
    let answering = {
        let connection = Arc::clone(&connection);
        let served = Arc::clone(served);
        service_fn(move |request: Request<hyper::body::Incoming>| {
            let request = request.map(Incoming::Http1);
            answer(request, Arc::clone(&connection), Arc::clone(&served))
        })
    };
    let state = &connection.registered.state;
    let mut serving = builder()
        .serve_connection(TokioIo::new(io), answering)
        .with_upgrades();
    let mut is_closing = false;
    let is_over = poll_fn(|task| {
        // hyper would drop a head that is arriving.
        if !is_closing && state.has_command(ConnectionCommand::Close) && state.is_between_heads() {
            is_closing = true;
            Pin::new(&mut serving).graceful_shutdown();
        }
        match Pin::new(&mut serving).poll(task) {
            Poll::Ready(Ok(())) => Poll::Ready(true),
            Poll::Ready(Err(error)) => {
                failed(&error, &connection, served);
                Poll::Ready(true)
            }
            // Everything that could be read and written has been: see `ConnectionState::may_idle`.
            Poll::Pending if state.may_idle() && !is_closing => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if is_over {
        return None;
    }
    let parts = serving.into_parts()?;
    Some((parts.io.into_inner().into_transport(), parts.read_buf))
}

fn failed<H: Handler>(error: &hyper::Error, connection: &Connection, served: &Served<H>) {
    let peer = connection.peer();
    if error.is_parse() {
        let status = if error.is_parse_too_large() { 431 } else { 400 };
        served.handler().unreadable(peer, status);
    }
    tracing::debug!(peer = %peer.address, %error, "a client connection ended early");
}

async fn answer<H: Handler>(
    request: Request<Incoming>,
    connection: Arc<Connection>,
    served: Arc<Served<H>>,
) -> Result<http::Response<Sent<H::Body>>, Infallible> {
    let registered = &connection.registered;
    let state = &registered.state;
    state.enter(State::Busy, registered.tick());
    state.set_has_body(!request.body().is_end_stream());
    let next = Next::after(&request);
    let mut response = served
        .handler()
        .handle(request, &connection, &state.age)
        .await;
    // The connection may be notified of the shutdown a moment after the process. A connection that switches
    // protocols is ended with the messages of the new protocol.
    let is_last = state.is_finishing() || registered.connections.is_finishing();
    if is_last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    let watch = response.body().watch();
    let is_watched = watch.is_some();
    if is_watched {
        state.watch_response(watch);
    }
    Ok(response.map(|body| Sent {
        body,
        error: None,
        is_watched,
        connection,
        next,
    }))
}

/// A request has at most 100 header lines, which is hyper's own limit. Setting it with `max_headers` would
/// make hyper clear a table for each request.
fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_header_size(MAX_HEAD).max_buf_size(MAX_HEAD);
    builder.keep_alive(true).half_close(false);
    builder
}

/// How to find out whether a part of the next request has arrived with this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// This request ends in an empty line: bytes after it belong to the next one.
    AfterEmptyLine,
    /// This request has a body of a given length: it cannot be found out.
    Unknown,
}

impl Next {
    fn after(request: &Request<Incoming>) -> Self {
        match request.body().size_hint().exact() {
            // A chunked body also ends in an empty line.
            None | Some(0) => Self::AfterEmptyLine,
            Some(_) => Self::Unknown,
        }
    }
}

/// A response body whose end puts its connection back into `Waiting`.
///
/// hyper drops unwritten bytes when a body fails. So an error is reported one poll later: the bytes before
/// it, above all the head, have been written by then as far as the client accepts them.
pub(crate) struct Sent<B: http_body::Body> {
    body: B,
    error: Option<B::Error>,
    /// Whether the connection has a watch over this response.
    is_watched: bool,
    connection: Arc<Connection>,
    next: Next,
}

impl<B: http_body::Body<Error: Unpin> + Unpin> http_body::Body for Sent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        if let Some(error) = this.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match Pin::new(&mut this.body).poll_frame(task) {
            Poll::Ready(Some(Err(error))) => {
                this.error = Some(error);
                task.waker().wake_by_ref();
                Poll::Pending
            }
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.error.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

impl<B: http_body::Body> Drop for Sent<B> {
    fn drop(&mut self) {
        let registered = &self.connection.registered;
        let state = &registered.state;
        if self.is_watched {
            state.watch_response(None);
        }
        let has_begun = self.next == Next::AfterEmptyLine && !state.last_bytes.are_empty_line();
        let next = if has_begun {
            State::Head
        } else {
            State::Waiting
        };
        state.enter(next, registered.tick());
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// The first line of the answer to a request with this number of header lines.
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
