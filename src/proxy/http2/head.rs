//! The two heads of an exchange over HTTP/2: that of the request, with the headers of `request_head`, and
//! the part of the answer's head that may reach the client.

use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};

use crate::guard::Identity;
use crate::proxy::connection_names;
use crate::proxy::error::Fault;
use crate::proxy::header_sink::MapSink;
use crate::proxy::request_head::HeadWriter;
use crate::proxy::response_head::{MAX_HEADERS, is_hop_by_hop};
use crate::proxy::sender::Framing;
use crate::proxy::via::Via;
use crate::types::header::at_most_once;

/// The head of a request for the upstream.
pub(super) fn request(
    writer: &HeadWriter,
    scheme: &Scheme,
    parts: &Parts,
    framing: Framing,
    identity: Option<&Identity>,
    via: &Via,
) -> Request<()> {
    let ours = identity.map_or(0, |identity| identity.headers.len());
    let mut sink = MapSink::with_capacity(parts.headers.len() + ours + ROOM);
    writer.write_headers(&mut sink, &parts.headers, identity, via);
    let mut headers = sink.map;
    if let Framing::Length(length) = framing {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    if wants_trailers(&parts.headers) {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let mut request = Request::new(());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = target(writer, scheme, parts, via);
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    request
}

/// `:authority` has the value that `Host` has over HTTP/1.1. A host that is not a valid authority is replaced
/// by the upstream's own.
fn target(writer: &HeadWriter, scheme: &Scheme, parts: &Parts, via: &Via) -> Uri {
    let authority = Authority::try_from(writer.host(via));
    let authority = authority.or_else(|_| Authority::try_from(writer.authority()));
    let path = parts.uri.path_and_query().cloned();
    let mut target = http::uri::Parts::default();
    target.scheme = Some(scheme.clone());
    target.authority = authority.ok();
    target.path_and_query = path.or_else(|| Some(PathAndQuery::from_static("/")));
    Uri::from_parts(target).unwrap_or_default()
}

/// `trailers` is the only value of `TE` that HTTP/2 permits (RFC 9113, 8.2.2), and gRPC servers require it.
fn wants_trailers(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(TE).into_iter();
    lines
        .flat_map(|line| connection_names::tokens(line.as_bytes()))
        .any(|token| token.eq_ignore_ascii_case(b"trailers"))
}

/// The length of an answer's body, according to its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyLength {
    /// There is no body.
    Empty,
    /// This many bytes. The library checks it.
    Known(u64),
    /// It ends with the stream.
    Unknown,
}

/// Removes headers that the client must not see. Returns the length of the body.
pub(super) fn clean(
    method: &Method,
    status: StatusCode,
    headers: &mut HeaderMap,
) -> Result<BodyLength, Fault> {
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
        // 204 has no length (RFC 9110, 8.6).
        headers.remove(CONTENT_LENGTH);
    }
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok(match length {
        _ if bodiless || *method == Method::HEAD => BodyLength::Empty,
        Some(length) => BodyLength::Known(length),
        None => BodyLength::Unknown,
    })
}

/// The value of `Content-Length`.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let line = at_most_once(headers, CONTENT_LENGTH).map_err(|_| Fault::ContentLength)?;
    let number = |line: &HeaderValue| {
        let text = line.to_str().ok().filter(|text| !text.starts_with('+'))?;
        text.parse().ok()
    };
    line.map(|line| number(line).ok_or(Fault::ContentLength))
        .transpose()
}

/// Forwarding headers, the length and `TE`.
const ROOM: usize = 8;
