//! A request that asks to switch protocols (RFC 9110, 7.8), or a WebSocket over HTTP/2 (RFC 8441).
//!
//! It is judged like any other request, as the GET that it is. One that is let through by a cookie
//! must come from a page of ours: browsers send cookies with the handshakes of every page, and no
//! preflight asks before. Its stream is in the books before the upstream hears of it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::api::ApiError;
use crate::api::wire::csrf;
use crate::guard::{Identity, Permit, extract};
use crate::proxy::{self, Handshake, Protocol, UpstreamError, tokens};
use crate::server::connection::{Occupied, Paced};
use crate::server::forward::until_over;
use crate::server::intake::Host;
use crate::server::leash::opener;
use crate::server::pipeline::{Arrival, Pipeline};
use crate::server::problem::Refusal;
use crate::server::record::{Body, Record};
use crate::server::tunnel::Tunnel;
use crate::service::streams::OpenStream;
use crate::telemetry::metrics::RouteClass;
use crate::types::random::Random;
use crate::types::time::Stopwatch;

/// The protocol a request asks for, if it is one that may be switched to.
pub(super) fn asked<B>(request: &Request<B>, pipeline: &Pipeline) -> Option<Protocol> {
    let headers = request.headers();
    match request.version() {
        Version::HTTP_11 => {
            let upgrade = headers.get(UPGRADE)?;
            if headers.get_all(UPGRADE).iter().count() != 1
                || !says_upgrade(headers)
                || has_body(headers)
            {
                return None;
            }
            let protocol = pipeline.proxy.protocol(tokens(upgrade.as_bytes()))?;
            // A WebSocket begins with a GET (RFC 6455, 4.1), and the rule for GET is the one to pass.
            (!protocol.is_websocket() || request.method() == Method::GET).then_some(protocol)
        }
        Version::HTTP_2 => {
            let protocol = request.extensions().get::<hyper::ext::Protocol>()?;
            let protocol = pipeline.proxy.protocol([protocol.as_ref()])?;
            protocol.is_websocket().then_some(protocol)
        }
        _ => None,
    }
}

/// The method that rules see: a handshake over HTTP/2 is a CONNECT and means a GET.
pub(super) fn judged_method<B>(request: &Request<B>) -> &Method {
    match *request.method() {
        Method::CONNECT => &Method::GET,
        _ => request.method(),
    }
}

/// The rest of `Upgrade` and `Connection` belongs to others, in any case and order.
fn says_upgrade(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(CONNECTION).iter();
    lines.any(|line| tokens(line.as_bytes()).any(|token| token.eq_ignore_ascii_case(b"upgrade")))
}

/// A request with a body is answered as it is: nothing may be sent before the 101.
fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != b"0")
}

/// Whether a gateway's question is about a WebSocket. It keeps `Upgrade` to itself, but browsers send
/// these with every handshake, over HTTP/2 as well, and no page can take them away.
pub(super) fn is_told_of(headers: &HeaderMap) -> bool {
    headers.contains_key(KEY) || headers.contains_key(VERSION)
}

impl Pipeline {
    /// Carries a handshake. When the upstream switches, the tunnel is to be begun once the answer is
    /// complete.
    pub(super) async fn switch(
        &self,
        permit: Permit,
        protocol: Protocol,
        mut request: Request<Incoming>,
        arrival: Arrival<'_>,
        record: &mut Record,
    ) -> Result<(Response<Body>, Option<Box<Tunnel>>), Refusal> {
        record.routed(RouteClass::Upstream);
        let caller = permit.shared().map(Arc::clone);
        if caller.is_some() {
            self.is_from_a_page_of_ours(request.headers(), arrival.host, record)?;
        }
        let mut stream = caller.as_ref().map(|caller| self.known(caller, record));
        let over_http2 = request.version() == Version::HTTP_2;
        let client = hyper::upgrade::on(&mut request);
        let has_key = request.headers().contains_key(KEY);
        if over_http2 {
            as_http1(&mut request, &*self.random);
        }
        let via = self.via(arrival, record);
        let is_websocket = protocol.is_websocket();
        let shown = HeaderValue::from_str(protocol.as_str());
        let watch = Stopwatch::start();
        let answer = self
            .proxy
            .upgrade(permit, request.map(Paced::free), &via, protocol);
        let handshake = match &mut stream {
            None => answer.await.map_err(Refusal::from),
            Some(stream) => until_over(stream, answer).await,
        };
        record.upstream_took(watch.elapsed());
        let (answer, upstream) = match handshake? {
            Handshake::Switched(answer, upstream) => (answer, upstream),
            // Over HTTP/2 a success would open a stream to nobody (RFC 8441, 5).
            Handshake::Declined(answer) if over_http2 && answer.status().is_success() => {
                return Err(UpstreamError::from(proxy::Fault::NotSwitched).into());
            }
            Handshake::Declined(answer) => {
                record.leash(&answer, &self.streams, &self.lifecycle, arrival.epoch);
                return Ok(((*answer).map(Body::Upstream), None));
            }
        };
        let mut answer = answer.map(|()| Body::Whole(Full::<Bytes>::default()));
        let headers = answer.headers_mut();
        if over_http2 {
            if !has_key {
                headers.remove(ACCEPTED);
            }
            *answer.status_mut() = StatusCode::OK;
        } else {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            if let Ok(shown) = shown {
                headers.insert(UPGRADE, shown);
            }
        }
        let tunnel = Tunnel {
            client,
            upstream,
            is_websocket,
            idle: self.proxy.stream_idle(),
            caller: caller.zip(stream),
            activity: self.activity.clone(),
            clock: Arc::clone(&self.clock),
            lifecycle: self.lifecycle.clone(),
            occupied: Occupied::of(arrival.peer),
        };
        Ok((answer, Some(Box::new(tunnel))))
    }

    /// Refuses a handshake that a page of somebody else may have begun with our cookie.
    pub(super) fn is_from_a_page_of_ours(
        &self,
        headers: &HeaderMap,
        host: &Host,
        record: &Record,
    ) -> Result<(), ApiError> {
        if extract::shows_bearer(headers) {
            return Ok(());
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = match (origins.next(), origins.next()) {
            (Some(origin), None) => origin.to_str().ok(),
            _ => None,
        };
        let scheme = self.scheme(record.context());
        let host = host.value.to_str().unwrap_or_default();
        let settings = self.api.settings();
        let is_ours = origin.is_some_and(|origin| {
            csrf::is_own(origin, scheme, host, settings) || csrf::is_allowed(origin, settings)
        });
        is_ours.then_some(()).ok_or(ApiError::CrossSite)
    }

    /// Notes who is calling, and puts the stream into the books.
    pub(super) fn known(&self, caller: &Arc<Identity>, record: &mut Record) -> OpenStream {
        self.note(caller, record);
        self.streams.open(opener(caller))
    }
}

/// Turns a WebSocket's handshake over HTTP/2 into the one that HTTP/1.1 knows (RFC 8441, 5): there it
/// has a key, which only proves that the upstream understood. A client that sends one all the same
/// (undici, urllib3.future) waits for the proof.
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
            assert!(says_upgrade(&headers(lines)), "{lines:?}");
        }
        assert!(!says_upgrade(&headers(&[("connection", "upgraded")])));
        assert!(!says_upgrade(&headers(&[("upgrade", "websocket")])));
    }

    #[test]
    fn a_request_with_a_body_switches_nothing() {
        assert!(has_body(&headers(&[("content-length", "5")])));
        assert!(has_body(&headers(&[("transfer-encoding", "chunked")])));
        assert!(!has_body(&headers(&[("content-length", "0")])));
        assert!(!has_body(&headers(&[])));
    }
}
