//! How is a gateway's question about another request answered (`/verify` below a mount)?
//!
//! The original request is authorized by the same guard, rules and path reading as if it had arrived here;
//! the handshake of a WebSocket that a cookie authorizes must come from an allowed origin; only a permit is
//! answered with 200. A peer that is not trusted and names another request is refused; one that names none
//! asks about its own request, which is an ordinary API call.

use http::{HeaderMap, Request, Response, Uri};

use crate::api::{CheckRoute, check};
use crate::gateway::admit::Admission;
use crate::gateway::answer::Refusal;
use crate::gateway::bad_request::BadRequest;
use crate::gateway::body::Body;
use crate::gateway::context::Context;
use crate::gateway::host::Host;
use crate::gateway::original::gateways::{self, UntrustedGateways};
use crate::gateway::original::{Check, Original};
use crate::guard::Permit;
use crate::net::body::Incoming;

/// The request that a trusted gateway asks about.
///
/// # Errors
///
/// When its headers name no request, or name it in more than one way.
pub(crate) fn original(
    admission: &Admission,
    route: CheckRoute<'_>,
    request: &Request<Incoming>,
    host: &Host,
) -> Result<Original, BadRequest> {
    let check = Check {
        method: request.method(),
        host,
        below: below(request.uri(), route.below),
        headers: request.headers(),
    };
    check.original(admission)
}

/// Refuses a question about another request from a peer that is not trusted. Its headers are not read, so
/// an answer would be about the wrong request, and the gateway would take it for a permission.
///
/// # Errors
///
/// [`BadRequest::Gateway`] when the request names another one.
pub(crate) fn refuse_untrusted(
    gateways: &UntrustedGateways,
    route: CheckRoute<'_>,
    headers: &HeaderMap,
    context: &Context,
) -> Result<(), Refusal> {
    let Some(header) = gateways::names_another_request(headers, route.below) else {
        return Ok(());
    };
    gateways.refused(context.peer, header, context.at);
    Err(for_gateway(BadRequest::Gateway.into()))
}

/// The answer for a request that may pass: 200 with the identity headers of its caller.
pub(crate) fn permitted(permit: &Permit) -> Response<Body> {
    check::permitted(permit.identity()).map(Body::Whole)
}

/// The refusal in the form that gateways can use.
pub(crate) fn for_gateway(refusal: Refusal) -> Refusal {
    Refusal::Check(Box::new(refusal))
}

/// The part of the target after the route, with its query; empty when the path ends with the route.
fn below<'a>(uri: &'a Uri, path: &str) -> &'a str {
    if path.is_empty() {
        return "";
    }
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let route = uri.path().len().saturating_sub(path.len());
    target.get(route..).unwrap_or_default()
}
