//! A permitted request on its way to the upstream.
//!
//! What always holds: it takes the permit by value, and a gRPC call whose answer has not begun ends
//! with its caller's session, as one does whose answer has.

use std::sync::Arc;

use http::{Method, Request, Response, Version};
use hyper::body::Incoming;

use crate::guard::{Denial, Permit};
use crate::proxy::UpstreamError;
use crate::proxy::grpc::is_call;
use crate::server::connection::Paced;
use crate::server::intake::BadRequest;
use crate::server::leash::{opener, while_session_lasts};
use crate::server::peer::Peer;
use crate::server::pipeline::{Arrival, Pipeline};
use crate::server::problem::Refusal;
use crate::server::record::{Body, Record};
use crate::service::streams::OpenStream;
use crate::telemetry::metrics::RouteClass;
use crate::types::time::Stopwatch;

impl Pipeline {
    /// Carries a permitted request to the upstream, and ties a long answer to its caller's session.
    pub(super) async fn forward(
        &self,
        permit: Permit,
        request: Request<Incoming>,
        arrival: Arrival<'_>,
        record: &mut Record,
    ) -> Result<Response<Body>, Refusal> {
        record.routed(RouteClass::Upstream);
        if request.method() == Method::CONNECT {
            return Err(BadRequest::Method.into());
        }
        if let Some(identity) = permit.shared() {
            self.note(identity, record);
        }
        let via = self.via(arrival, record);
        let watch = Stopwatch::start();
        let caller = record.caller().filter(|_| is_call(request.headers()));
        let call = caller.map(|caller| self.streams.open(opener(caller)));
        let answer = self
            .proxy
            .forward(permit, self.paced(request, arrival.peer), &via);
        let answered = match call {
            Some(mut stream) => Box::pin(until_over(&mut stream, answer)).await,
            None => match record.caller() {
                None => answer.await.map_err(Refusal::from),
                Some(caller) => {
                    while_session_lasts(answer, caller, &self.streams, arrival.progress).await
                }
            },
        };
        record.upstream_took(watch.elapsed());
        let answer = answered?;
        record.leash(&answer, &self.streams, &self.lifecycle, arrival.epoch);
        Ok(answer.map(Body::Upstream))
    }

    /// Holds the body to its pace, unless it is a gRPC stream over HTTP/2.
    fn paced(&self, request: Request<Incoming>, peer: &Arc<Peer>) -> Request<Paced<Incoming>> {
        let is_stream = request.version() == Version::HTTP_2 && is_call(request.headers());
        request.map(|body| {
            if is_stream {
                Paced::stream(body, peer, &self.proxy)
            } else {
                Paced::new(body, peer)
            }
        })
    }
}

/// Waits for the head of an answer whose stream is registered from its beginning: of a gRPC answer,
/// which may be as far away as the end of the call, or of a handshake's.
pub(super) async fn until_over<T>(
    stream: &mut OpenStream,
    answer: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, Refusal> {
    tokio::select! {
        biased;
        () = stream.over() => Err(Refusal::Denied(Denial::ended())),
        answer = answer => Ok(answer?),
    }
}
