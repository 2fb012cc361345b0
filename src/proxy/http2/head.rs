//! The two heads of an exchange over HTTP/2: the request's, made in the same order as over HTTP/1.1,
//! and what of the answer's may reach the client.

use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};

use crate::guard::Identity;
use crate::proxy::Core;
use crate::proxy::error::Fault;
use crate::proxy::hop;
use crate::proxy::http2::links::Links;
use crate::proxy::lines::Fields;
use crate::proxy::reply::{MAX_HEADERS, is_hop_by_hop};
use crate::proxy::sender::Framing;
use crate::proxy::via::Via;

/// The head of a request as the upstream reads it.
pub(super) fn request(
    core: &Core,
    links: &Links,
    parts: &Parts,
    framing: Framing,
    identity: Option<&Identity>,
    via: &Via,
) -> Request<()> {
    let ours = identity.map_or(0, |identity| identity.headers.len());
    let mut fields = Fields::with_capacity(parts.headers.len() + ours + ROOM);
    (core.outbound).write_lines(&mut fields, &parts.headers, identity, via);
    let mut headers = fields.map;
    if let Framing::Length(length) = framing {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    if wants_trailers(&parts.headers) {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let mut request = Request::new(());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = target(core, links, parts, via);
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    request
}

/// `:scheme` is what the upstream's connection is, `:authority` what `Host` would say; a host that
/// HTTP/2 has no room for gives way to the upstream's own.
fn target(core: &Core, links: &Links, parts: &Parts, via: &Via) -> Uri {
    let authority = Authority::try_from(core.outbound.host(via));
    let authority = authority.or_else(|_| Authority::try_from(core.outbound.authority()));
    let path = parts.uri.path_and_query().cloned();
    let mut target = http::uri::Parts::default();
    target.scheme = Some(links.scheme().clone());
    target.authority = authority.ok();
    target.path_and_query = path.or_else(|| Some(PathAndQuery::from_static("/")));
    Uri::from_parts(target).unwrap_or_default()
}

/// `te: trailers` is the one thing that HTTP/2 lets `TE` say (RFC 9113, 8.2.2), and gRPC servers
/// demand it.
fn wants_trailers(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(TE).into_iter();
    lines
        .flat_map(|line| hop::tokens(line.as_bytes()))
        .any(|token| token.eq_ignore_ascii_case(b"trailers"))
}

/// What an answer's head says about its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Announced {
    /// There is none.
    Nothing,
    /// So many bytes. The library holds the upstream to that.
    Length(u64),
    /// Nobody knows.
    Stream,
}

/// Cleans the head of an answer.
pub(super) fn clean(
    method: &Method,
    status: StatusCode,
    headers: &mut HeaderMap,
) -> Result<Announced, Fault> {
    if headers.len() > MAX_HEADERS {
        return Err(Fault::TooManyHeaders);
    }
    let length = length(headers)?;
    let odd: Vec<_> = (headers.keys())
        .filter(|name| is_hop_by_hop(name) || matches!(**name, CONNECTION | TRANSFER_ENCODING))
        .cloned()
        .collect();
    for name in odd {
        headers.remove(name);
    }
    if status == StatusCode::NO_CONTENT {
        // 204 says nothing of its length (RFC 9110, 8.6).
        headers.remove(CONTENT_LENGTH);
    }
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok(match length {
        _ if bodiless || *method == Method::HEAD => Announced::Nothing,
        Some(length) => Announced::Length(length),
        None => Announced::Stream,
    })
}

/// The one `Content-Length`.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => {
            let number = line.to_str().ok().filter(|text| !text.starts_with('+'));
            let number = number.and_then(|text| text.parse().ok());
            number.map(Some).ok_or(Fault::ContentLength)
        }
        (Some(_), Some(_)) => Err(Fault::ContentLength),
    }
}

/// Forwarding headers, the length and `TE`.
const ROOM: usize = 8;
