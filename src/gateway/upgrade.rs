//! How does a request switch protocols (RFC 9110, 7.8), or open a WebSocket over HTTP/2 (RFC 8441)?
//!
//! It is authorized like any other request, with the method GET. When a cookie authorizes it, it must come from
//! an allowed origin: browsers send cookies with the handshakes of every page, and no preflight precedes them.
//! Its stream is registered before the upstream receives anything.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;

use crate::api::ApiError;
use crate::api::settings::Settings;
use crate::api::wire::csrf;
use crate::gateway::answer::Refusal;
use crate::gateway::body::Body;
use crate::gateway::forward::{Arrival, Forwarder};
use crate::gateway::host::Host;
use crate::gateway::reply::Reply;
use crate::gateway::request_body::RequestBody;
use crate::gateway::session_watch::{opener, while_stream_lasts};
use crate::gateway::tunnel::Tunnel;
use crate::guard::{Permit, extract};
use crate::net::body::Incoming;
use crate::net::connection::active::ActiveGuard;
use crate::net::upgrade::{self, OnUpgrade};
use crate::proxy::{self, Handshake, Protocol, Proxy, UpstreamError, Via, tokens};
use crate::service::activity::Activity;
use crate::types::header::exactly_once;
use crate::types::net::Scheme;
use crate::types::origin::Origin;
use crate::types::random::Random;
use crate::types::time::Clock;

/// The protocol that a request wants to switch to, if that is permitted.
pub(crate) fn requested<B>(request: &Request<B>, proxy: &Proxy) -> Option<Protocol> {
    let headers = request.headers();
    match request.version() {
        Version::HTTP_11 => {
            let upgrade = exactly_once(headers, UPGRADE)?;
            if !has_upgrade_token(headers) || has_body(headers) {
                return None;
            }
            let protocol = proxy.protocol(tokens(upgrade.as_bytes()))?;
            // A WebSocket begins with a GET (RFC 6455, 4.1), and the rule for GET applies.
            (!protocol.is_websocket() || request.method() == Method::GET).then_some(protocol)
        }
        Version::HTTP_2 => {
            let protocol = request.extensions().get::<upgrade::Protocol>()?;
            let protocol = proxy.protocol([protocol.as_ref()])?;
            protocol.is_websocket().then_some(protocol)
        }
        _ => None,
    }
}

/// The method that rules are matched on: a handshake over HTTP/2 is a CONNECT in place of a GET.
pub(crate) fn rule_method<B>(request: &Request<B>) -> &Method {
    match *request.method() {
        Method::CONNECT => &Method::GET,
        _ => request.method(),
    }
}

/// Whether `Connection` holds the token `upgrade`, in any case and among other tokens.
fn has_upgrade_token(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(CONNECTION).iter();
    lines.any(|line| tokens(line.as_bytes()).any(|token| token.eq_ignore_ascii_case(b"upgrade")))
}

/// A request with a body cannot switch: nothing may be sent before the 101.
fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != b"0")
}

/// Whether a gateway's question is about a WebSocket. Gateways remove `Upgrade`, but browsers send these
/// headers with every handshake, over HTTP/2 as well, and no page can remove them.
pub(crate) fn is_websocket_question(headers: &HeaderMap) -> bool {
    headers.contains_key(KEY) || headers.contains_key(VERSION)
}

/// Carries upgrades to the upstream.
#[derive(Debug)]
pub struct Upgrader {
    /// Reports that a tunnel is in use.
    pub activity: Activity,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For the keys of WebSockets over HTTP/2.
    pub random: Arc<dyn Random>,
}

impl Upgrader {
    /// Carries a handshake. When the upstream switches, the tunnel has to be started once the response is
    /// complete.
    ///
    /// # Errors
    ///
    /// When the upstream fails, or the caller's session ends meanwhile.
    pub(crate) async fn switch(
        &self,
        forwarder: &Forwarder,
        permit: Permit,
        protocol: Protocol,
        mut request: Request<Incoming>,
        via: &Via,
        arrival: Arrival<'_>,
    ) -> Result<Reply, Refusal> {
        let caller = permit.shared().map(Arc::clone);
        let mut stream = caller
            .as_ref()
            .map(|caller| forwarder.streams.open(opener(caller)));
        let client = OnUpgrade::of(&mut request);
        let reconnects = request.method() == Method::GET;
        let handshake = ClientHandshake::of(&request, &protocol);
        if handshake.is_http2 {
            as_http1(&mut request, &*self.random);
        }
        let request = request.map(RequestBody::unlimited);
        let is_websocket = protocol.is_websocket();
        let response = forwarder.proxy.upgrade(permit, request, via, protocol);
        let outcome = match &mut stream {
            None => response.await.map_err(Refusal::from),
            Some(stream) => while_stream_lasts(stream, response).await,
        };
        let (response, upstream) = match outcome? {
            Handshake::Switched(response, upstream) => (response, upstream),
            // Over HTTP/2 a success would open a stream without an upstream (RFC 8441, 5).
            Handshake::Declined(response)
                if handshake.is_http2 && response.status().is_success() =>
            {
                return Err(UpstreamError::from(proxy::Fault::NotSwitched).into());
            }
            Handshake::Declined(response) => {
                let caller = caller.as_ref();
                let response = forwarder.bind(*response, caller, arrival.epoch, reconnects);
                return Ok(Reply::plain(response));
            }
        };
        let tunnel = Tunnel {
            client,
            upstream,
            is_websocket,
            idle: forwarder.proxy.stream_idle(),
            caller: caller.zip(stream),
            activity: self.activity.clone(),
            clock: Arc::clone(&self.clock),
            lifecycle: forwarder.lifecycle.clone(),
            active: ActiveGuard::of(arrival.connection),
        };
        let response = handshake.accept(response);
        Ok(Reply::with_tunnel(response, Box::new(tunnel)))
    }
}

/// The values from the client's handshake that its response depends on.
struct ClientHandshake {
    is_http2: bool,
    has_key: bool,
    protocol: Option<HeaderValue>,
}

impl ClientHandshake {
    fn of<B>(request: &Request<B>, protocol: &Protocol) -> Self {
        Self {
            is_http2: request.version() == Version::HTTP_2,
            has_key: request.headers().contains_key(KEY),
            protocol: HeaderValue::from_str(protocol.as_str()).ok(),
        }
    }

    /// The response for a client whose upstream has switched.
    fn accept(self, response: Response<()>) -> Response<Body> {
        let mut response = response.map(|()| Body::Whole(Full::<Bytes>::default()));
        let headers = response.headers_mut();
        if self.is_http2 {
            if !self.has_key {
                headers.remove(ACCEPTED);
            }
            *response.status_mut() = StatusCode::OK;
        } else {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            if let Some(protocol) = self.protocol {
                headers.insert(UPGRADE, protocol);
            }
        }
        response
    }
}

/// Refuses a handshake that a page of another origin may have begun with the user's cookie.
///
/// # Errors
///
/// [`ApiError::CrossSite`], unless the origin is allowed or the request carries a bearer token.
pub(crate) fn require_own_origin(
    headers: &HeaderMap,
    scheme: Scheme,
    host: &Host,
    settings: &Settings,
) -> Result<(), ApiError> {
    if extract::shows_bearer(headers) {
        return Ok(());
    }
    let origin = exactly_once(headers, ORIGIN).and_then(|origin| origin.to_str().ok());
    let origin: Option<Origin> = origin.and_then(|origin| Origin::sent(origin).ok());
    let called = host.value.to_str().ok();
    let called = called.and_then(|host| Origin::new(scheme, host).ok());
    let is_allowed = origin.zip(called).is_some_and(|(origin, called)| {
        csrf::is_own(&origin, &called, settings) || csrf::is_allowed(&origin, settings)
    });
    is_allowed.then_some(()).ok_or(ApiError::CrossSite)
}

/// Turns a WebSocket handshake over HTTP/2 into that of HTTP/1.1 (RFC 8441, 5), which has a key: it only
/// proves that the upstream understood. Some clients send a key over HTTP/2 as well (undici,
/// urllib3.future) and expect the proof.
fn as_http1<B>(request: &mut Request<B>, random: &dyn Random) {
    *request.method_mut() = Method::GET;
    let key = data_encoding::BASE64.encode(&random.bytes::<16>());
    let headers = request.headers_mut();
    if let Ok(key) = HeaderValue::from_str(&key) {
        headers.entry(KEY).or_insert(key);
    }
    headers
        .entry(VERSION)
        .or_insert(HeaderValue::from_static("13"));
}

const ACCEPTED: HeaderName = HeaderName::from_static("sec-websocket-accept");
const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn upgrade_is_found_in_any_connection_line() {
        for lines in [
            &[("connection", "Upgrade")][..],
            &[("connection", "keep-alive, Upgrade")][..],
            &[("connection", "keep-alive"), ("connection", "UPGRADE ,x")][..],
        ] {
            assert!(has_upgrade_token(&headers(lines)), "{lines:?}");
        }
        assert!(!has_upgrade_token(&headers(&[("connection", "upgraded")])));
        assert!(!has_upgrade_token(&headers(&[("upgrade", "websocket")])));
    }

    #[test]
    fn a_request_with_a_body_switches_nothing() {
        assert!(has_body(&headers(&[("content-length", "5")])));
        assert!(has_body(&headers(&[("transfer-encoding", "chunked")])));
        assert!(!has_body(&headers(&[("content-length", "0")])));
        assert!(!has_body(&headers(&[])));
    }
}
