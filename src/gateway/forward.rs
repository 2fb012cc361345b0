//! Phase 6: how is a permitted request carried to the upstream?
//!
//! The permit is needed by value: a request without one cannot be forwarded.

use std::sync::Arc;

use http::{Method, Request, Response, Version};

use crate::gateway::answer::Refusal;
use crate::gateway::body::Body;
use crate::gateway::reply::Reply;
use crate::gateway::request_body::RequestBody;
use crate::gateway::session_bound::{AuthorizedCaller, Binding, SessionBoundBody};
use crate::gateway::session_watch::{opener, while_session_lasts, while_stream_lasts};
use crate::guard::{Identity, Permit};
use crate::net::body::Incoming;
use crate::net::connection::handle::Connection;
use crate::net::connection::request_age::RequestAge;
use crate::net::lifecycle::Lifecycle;
use crate::proxy::grpc::is_call;
use crate::proxy::{self, Proxy, Via};
use crate::service::streams::StreamRegistry;

/// Carries requests to the upstream, and binds long responses to the session of their caller.
#[derive(Debug)]
pub struct Forwarder {
    /// The connections to the upstream.
    pub proxy: Arc<Proxy>,
    /// The open streams of this worker.
    pub streams: Arc<StreamRegistry>,
    /// The phase of the process.
    pub lifecycle: Lifecycle,
    /// Bytes a second that a request's body must reach; zero = any rate.
    pub body_rate: u64,
}

/// How a request arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) connection: &'a Arc<Connection>,
    /// How long the request has been in progress.
    pub(crate) age: &'a RequestAge,
    /// The epoch of the revocations, read before the request was authorized. If a session ends later, the epoch
    /// changes and the response checks its session again.
    pub(crate) epoch: u64,
}

impl Forwarder {
    /// Carries a permitted request to the upstream.
    ///
    /// # Errors
    ///
    /// When the upstream fails, or the caller's session ends meanwhile.
    pub(crate) async fn forward(
        &self,
        permit: Permit,
        request: Request<Incoming>,
        via: &Via,
        arrival: Arrival<'_>,
    ) -> Result<Reply, Refusal> {
        let caller = permit.shared().map(Arc::clone);
        let reconnects = request.method() == Method::GET;
        let is_http2 = request.version() == Version::HTTP_2;
        let is_call = (caller.is_some() || is_http2) && is_call(request.headers());
        let is_stream = is_http2 && is_call;
        let request = self.with_rate(request, is_stream, arrival.connection);
        let response = self.proxy.forward(permit, request, via);
        let response = match &caller {
            None => response.await.map_err(Refusal::from),
            Some(caller) if is_call => {
                let mut stream = self.streams.open(opener(caller));
                Box::pin(while_stream_lasts(&mut stream, response)).await
            }
            Some(caller) => while_session_lasts(response, caller, &self.streams, arrival.age).await,
        };
        let caller = caller.as_ref();
        let response = self.bind(response?, caller, arrival.epoch, reconnects);
        Ok(Reply::plain(response))
    }

    /// Binds a response to its caller's session.
    pub(crate) fn bind(
        &self,
        response: Response<proxy::Body<RequestBody<Incoming>>>,
        caller: Option<&Arc<Identity>>,
        epoch: u64,
        reconnects: bool,
    ) -> Response<Body> {
        let caller = caller.map(|identity| AuthorizedCaller { identity, epoch });
        let streams = &self.streams;
        let binding = Binding::of(&response, streams, caller, reconnects, &self.lifecycle);
        response.map(|body| Body::Upstream(SessionBoundBody::new(body, binding)))
    }

    /// Requires the configured rate of the body, unless it is a gRPC stream over HTTP/2.
    fn with_rate(
        &self,
        request: Request<Incoming>,
        is_stream: bool,
        connection: &Arc<Connection>,
    ) -> Request<RequestBody<Incoming>> {
        request.map(|body| {
            if is_stream {
                RequestBody::stream(body, connection, self.body_rate, &self.proxy)
            } else {
                RequestBody::new(body, connection, self.body_rate)
            }
        })
    }
}
