//! A gateway asks about a request that it holds: `/verify` below a mount, from a trusted peer.
//!
//! What always holds: the original request is judged by the same guard, rules and path reading as if
//! it had come here, a WebSocket's handshake that a cookie carries comes from a page of ours, and
//! nothing but a permit is answered with 200. A peer that is not trusted and says anything about another
//! request is refused; one that says nothing asks about its own request, an ordinary call of ours.

use http::{HeaderMap, Request, Response, Uri};
use hyper::body::Incoming;

use crate::api::{Api, CheckRoute};
use crate::server::handshake;
use crate::server::intake::{BadRequest, Host};
use crate::server::original::{Check, gateways};
use crate::server::pipeline::{Besides, Pipeline};
use crate::server::problem::Refusal;
use crate::server::record::{Body, Record};
use crate::server::renewal::Head;
use crate::telemetry::metrics::RouteClass;
use crate::types::path::CleanPath;

impl Pipeline {
    /// Answers a check: 200 with the caller's identity headers, or why the original request may not
    /// pass. The body of the check, if any, is not looked at.
    pub(super) async fn check(
        &self,
        route: CheckRoute<'_>,
        request: &Request<Incoming>,
        host: &Host,
        record: &mut Record,
        besides: &mut Besides,
    ) -> Result<Response<Body>, Refusal> {
        record.routed(RouteClass::Api);
        let asked = Check {
            method: request.method(),
            host,
            below: below(request.uri(), route.below),
            headers: request.headers(),
        };
        self.judge_original(route, asked, record, besides)
            .await
            .map_err(|refusal| Refusal::Check(Box::new(refusal)))
    }

    /// Refuses a question about another request from a peer that is not trusted. What it says is not
    /// read, so an answer would be about the wrong request: the gateway would take it for leave to pass.
    pub(super) fn refuse_gateway(
        &self,
        route: CheckRoute<'_>,
        headers: &HeaderMap,
        record: &mut Record,
    ) -> Result<(), Refusal> {
        let Some(told_by) = gateways::told_by(headers, route.below) else {
            return Ok(());
        };
        record.routed(RouteClass::Api);
        let context = record.context();
        self.untrusted_gateways
            .refused(context.peer, told_by, context.at);
        Err(Refusal::Check(Box::new(BadRequest::Gateway.into())))
    }

    async fn judge_original(
        &self,
        route: CheckRoute<'_>,
        asked: Check<'_>,
        record: &mut Record,
        besides: &mut Besides,
    ) -> Result<Response<Body>, Refusal> {
        let original = asked.original(&self.intake)?;
        record.about(&original.method, &original.target);
        let (path, _) = CleanPath::parse_target(original.target.as_str(), &self.paths)
            .map_err(BadRequest::Path)?;
        let head = Head {
            method: &original.method,
            headers: asked.headers,
            host: &original.host,
            path: &path,
        };
        let permit = self.judge(head, route.renews, record, besides).await?;
        if let Some(identity) = permit.shared() {
            if handshake::is_told_of(asked.headers) {
                self.is_from_a_page_of_ours(asked.headers, &original.host, record)?;
            }
            self.note(identity, record);
        }
        Ok(Api::admitted(permit.identity()).map(Body::Whole))
    }
}

/// What follows the route in the target, with its query: nothing when the path ends there.
fn below<'a>(uri: &'a Uri, path: &str) -> &'a str {
    if path.is_empty() {
        return "";
    }
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let route = uri.path().len().saturating_sub(path.len());
    target.get(route..).unwrap_or_default()
}
