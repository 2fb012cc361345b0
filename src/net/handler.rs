//! What does a connection need from the code that answers its requests?
//!
//! This trait is the boundary between bytes and requests. Connections are generic over it, so that no
//! dynamic call is made per request.

use std::error::Error;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};

use crate::net::body::Incoming;
use crate::net::connection::deadlines::Deadlines;
use crate::net::connection::handle::Connection;
use crate::net::connection::request_age::RequestAge;
use crate::net::connection::response_watch::ResponseWatch;
use crate::net::peer::Peer;

/// Answers the requests of a worker's connections.
///
/// A worker can exchange its handler while it runs; each request is answered to its end by the handler
/// that was current when it began.
pub trait Handler: Debug + Send + Sync + Sized + 'static {
    /// The body of its responses.
    type Body: ResponseBody;

    /// Answers one request. A refusal is a response, so this never fails. `age` is how long the request has
    /// been in progress.
    fn handle(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
        age: &RequestAge,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Records a request head that could not be parsed, which hyper has answered with `status`.
    fn unreadable(&self, peer: &Peer, status: u16);

    /// The deadlines of connections.
    fn deadlines(&self) -> Deadlines;

    /// Whether this address is a trusted proxy, which forwards for many clients.
    fn trusts(&self, address: IpAddr) -> bool;

    /// The time for the `Date` of a response that has none.
    fn date(&self) -> HeaderValue;

    /// Periodic work, called with every tick of the worker.
    fn tick(&self);

    /// Called once, when the worker has served its last connection.
    fn finish(&self);
}

/// The body of a response.
pub trait ResponseBody:
    http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>> + Unpin + Send>
    + Send
    + Unpin
    + 'static
{
    /// The watch that can end this body, if there is one. The connection checks it while its client accepts no
    /// bytes, because the body is not polled then.
    fn watch(&self) -> Option<Arc<dyn ResponseWatch>>;
}
