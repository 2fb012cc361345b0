//! HTTP/2 to the upstream: many requests at once on few connections.
//!
//! ```text
//! forward ─→ links (a place on a connection with room, or a fresh connection)
//!         ├→ head (the same decisions as HTTP/1.1, as a header map)
//!         └→ exchange ── sender: the body, as far as the upstream's window goes
//!               └─→ Body: goes on sending, hands the answer's frames on
//! connection: the one task of a connection, which moves its bytes and asks a silent peer for a sign
//! ```
//!
//! The frames are those of `h2`, the library inside hyper. hyper's own client is not between: it
//! would poll each request's body in a task of its own, hide why a stream ended, and ping watchers
//! often enough for gRPC servers to hang up. An exchange is polled inside the request's own future,
//! as over HTTP/1.1; dropping it resets its stream and nothing else.

mod connection;
mod exchange;
mod head;
mod links;
mod sender;
mod ticket;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};

use crate::guard::Permit;
use crate::proxy::Core;
use crate::proxy::body::Body;
use crate::proxy::claimant;
use crate::proxy::error::UpstreamError;
use crate::proxy::places::Place;
use crate::proxy::via::Via;

use self::exchange::MAX_MOVES;
use self::links::Way;
use self::sender::Sender;
use self::ticket::Ticket;

pub(super) use self::exchange::Exchange;
pub(super) use self::links::Links;

/// An answer, or why there is none.
type Outcome<B> = Result<Response<Body<B>>, UpstreamError>;

/// What is sent, and the right to a stream for it.
#[derive(Debug)]
pub(super) struct Sending<B> {
    sender: Sender<B>,
    place: Place,
}

/// What became of a request.
pub(super) enum Carried<B> {
    /// It was answered, or could not be.
    Answered(Outcome<B>),
    /// The upstream chose HTTP/1.1: the request as it was.
    Http1(Box<Request<B>>),
}

/// Sends the request over HTTP/2, unless the upstream is known to speak HTTP/1.1.
///
/// A request that the upstream did not look at is sent again, as long as what was taken of its body
/// is at hand: once if the stream was refused, and up to eight times if connections went away before
/// they saw to it. One whose connection was made before and died is sent once more if it is
/// idempotent and nothing of its body was taken.
pub(super) async fn forward<B>(
    core: &Arc<Core>,
    links: &Links,
    permit: &Permit,
    request: Request<B>,
    via: &Via,
) -> Carried<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if links.chose_http1() {
        return Carried::Http1(Box::new(request));
    }
    let place = match links.place(claimant(permit, via)).await {
        Ok(place) => place,
        Err(error) => return Carried::Answered(Err(error)),
    };
    let first = match links.take(core).await {
        Ok(Way::Http1) => return Carried::Http1(Box::new(request)),
        Ok(Way::Link(ticket)) => ticket,
        Err(error) => return Carried::Answered(Err(error)),
    };
    let (parts, body) = request.into_parts();
    let sender = Sender::new(body, &parts);
    let sending = Sending { sender, place };
    Carried::Answered(exchange(core, links, first, permit, &parts, sending, via).await)
}

async fn exchange<B>(
    core: &Arc<Core>,
    links: &Links,
    mut ticket: Ticket,
    permit: &Permit,
    parts: &Parts,
    mut sending: Sending<B>,
    via: &Via,
) -> Outcome<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut tries = 0;
    loop {
        let head = head::request(
            core,
            links,
            parts,
            sending.sender.framing(),
            permit.identity(),
            via,
        );
        let failure = match ticket.open(head, sending.sender.is_empty()).await {
            Ok(stream) => {
                let mut exchange = Exchange::new(ticket, stream, sending, parts);
                match poll_fn(|cx| exchange.poll_head(cx)).await {
                    Ok((status, headers)) => {
                        exchange.settle(&headers).await?;
                        let mut response = Response::new(Body::multiplexed(exchange));
                        *response.status_mut() = status;
                        *response.headers_mut() = headers;
                        return Ok(response);
                    }
                    Err(error) if tries < exchange.retries(&error) => {
                        match exchange.into_sending() {
                            Some(again) => sending = again,
                            // The answer was over, and nothing is sent again after that.
                            None => return Err(error),
                        }
                        error
                    }
                    Err(error) => return Err(error),
                }
            }
            // Nothing was sent: the connection had ended when it was chosen.
            Err(error) if tries < MAX_MOVES => error,
            Err(error) => return Err(error),
        };
        tries += 1;
        core.pool.counters.retried.fetch_add(1, Ordering::Relaxed);
        ticket = match links.take(core).await? {
            Way::Link(ticket) => ticket,
            // The upstream came back with another version; the next request goes that way.
            Way::Http1 => return Err(failure),
        };
    }
}
