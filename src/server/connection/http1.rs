//! HTTP/1.1 (and 1.0): one request after the other.

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::server::connection::rest::rest;
use crate::server::connection::transport::Transport;
use crate::server::connection::vigil::{Order, State};
use crate::server::connection::watched::Watched;
use crate::server::peer::Peer;

/// The most bytes of a request head.
const MAX_HEAD: usize = 64 * 1024;

/// Serves a connection until it ends, or until it becomes something else.
pub(super) async fn serve(mut transport: Transport, peer: Arc<Peer>) {
    let mut again = Bytes::new();
    loop {
        // Boxed, and freed at the end of this statement, so that a resting connection does not hold the room
        // for it.
        let rested = Box::pin(converse(transport, again, Arc::clone(&peer))).await;
        let Some(parts) = rested else { return };
        (transport, again) = parts;
        if !rest(&mut transport, &peer).await {
            return;
        }
    }
}

/// Answers requests until the connection ends (`None`), or until nothing has happened for a while: then
/// the transport is returned, with what was read from it and not used.
async fn converse(
    transport: Transport,
    again: Bytes,
    peer: Arc<Peer>,
) -> Option<(Transport, Bytes)> {
    let io = TokioIo::new(Watched::http1(transport, again, Arc::clone(&peer)));
    let answering = {
        let peer = Arc::clone(&peer);
        service_fn(move |request: Request<Incoming>| {
            let peer = Arc::clone(&peer);
            async move {
                let (worker, vigil) = (&peer.open.worker, &peer.open.vigil);
                vigil.enter(State::Busy, worker.tick());
                vigil.note_body(!request.body().is_end_stream());
                let next = Next::after(&request);
                let mut answer = worker
                    .pipeline()
                    .handle(request, &peer, &vigil.progress)
                    .await;
                // The connection may hear of the end a moment after the process. One that switches
                // protocols is told in the words of its own.
                let is_last = vigil.is_finishing() || worker.is_finishing();
                if is_last && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                    let close = HeaderValue::from_static("close");
                    answer.headers_mut().insert(CONNECTION, close);
                }
                let tie = answer.body().tie();
                let is_tied = tie.is_some();
                if is_tied {
                    vigil.tie(tie);
                }
                let sent = |body| Sent {
                    body,
                    fault: None,
                    is_tied,
                    peer,
                    next,
                };
                Ok::<_, Infallible>(answer.map(sent))
            }
        })
    };
    let vigil = &peer.open.vigil;
    let mut connection = builder().serve_connection(io, answering).with_upgrades();
    let mut is_leaving = false;
    let is_over = poll_fn(|task| {
        // While a head is on its way hyper would drop it.
        if !is_leaving && vigil.is_told(Order::Leave) && vigil.is_between_heads() {
            is_leaving = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        match Pin::new(&mut connection).poll(task) {
            Poll::Ready(Ok(())) => Poll::Ready(true),
            Poll::Ready(Err(error)) => {
                if error.is_parse() {
                    let status = if error.is_parse_too_large() { 431 } else { 400 };
                    peer.open.worker.pipeline().unreadable(&peer, status);
                }
                tracing::debug!(peer = %peer.address, %error, "a client connection ended early");
                Poll::Ready(true)
            }
            // All that could be read and written has been: see `Vigil::may_rest`.
            Poll::Pending if vigil.may_rest() && !is_leaving => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if is_over {
        return None;
    }
    let parts = connection.into_parts()?;
    Some((parts.io.into_inner().into_transport(), parts.read_buf))
}

/// A request has at most 100 header lines, which is hyper's own limit. Saying so with `max_headers`
/// would make hyper clear a table for each request that it otherwise leaves as it is.
fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_header_size(MAX_HEAD).max_buf_size(MAX_HEAD);
    builder.keep_alive(true).half_close(false);
    builder
}

/// How the connection's watch knows that a part of the next request has come with this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// This one ends in an empty line: whatever has come behind it is the next one's.
    BehindAnEmptyLine,
    /// This one ends somewhere: nothing can be said.
    Unknown,
}

impl Next {
    fn after(request: &Request<Incoming>) -> Self {
        match request.body().size_hint().exact() {
            // In chunks, the last of which ends in an empty line too.
            None | Some(0) => Self::BehindAnEmptyLine,
            Some(_) => Self::Unknown,
        }
    }
}

/// A body whose end puts its connection back to waiting.
///
/// hyper drops what it has not written when a body fails. So a fault is reported one poll later: what came
/// before it, the head above all, has been written by then as far as the client takes it.
struct Sent<B: http_body::Body> {
    body: B,
    fault: Option<B::Error>,
    /// Whether the connection's watch looks after its session.
    is_tied: bool,
    peer: Arc<Peer>,
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
        if let Some(fault) = this.fault.take() {
            return Poll::Ready(Some(Err(fault)));
        }
        match Pin::new(&mut this.body).poll_frame(task) {
            Poll::Ready(Some(Err(fault))) => {
                this.fault = Some(fault);
                task.waker().wake_by_ref();
                Poll::Pending
            }
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.fault.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

impl<B: http_body::Body> Drop for Sent<B> {
    fn drop(&mut self) {
        let open = &self.peer.open;
        if self.is_tied {
            open.vigil.tie(None);
        }
        let has_begun = self.next == Next::BehindAnEmptyLine && !open.vigil.ends_in_empty_line();
        let state = if has_begun {
            State::Head
        } else {
            State::Waiting
        };
        open.vigil.enter(state, open.worker.tick());
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
