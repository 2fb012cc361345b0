//! A refusal as bytes. Callers that speak gRPC get its status. Callers that read JSON get RFC 9457
//! `application/problem+json`; a caller that asks for HTML or plain text gets one plain sentence. None
//! learns more than the code says.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::Full;
use serde::Serialize;

use crate::proxy::grpc::is_call;
use crate::server::problem::{Extra, Problem, grpc};

/// In which form a caller reads a refusal, kept for the case that there is one.
#[derive(Debug, Default)]
pub struct Asked {
    accept: Option<HeaderValue>,
    /// Further lines of `Accept`, which are rare: an empty list allocates nothing.
    more: Vec<HeaderValue>,
    grpc: bool,
}

impl Asked {
    /// From the head of a request. A gRPC call is always a POST, and never one of our own routes: a
    /// gateway that asks there would take the 200 of a refusal in gRPC's words for leave to pass.
    pub fn of<B>(request: &Request<B>, is_ours: impl FnOnce(&str) -> bool) -> Self {
        let headers = request.headers();
        let mut lines = headers.get_all(header::ACCEPT).iter().cloned();
        Self {
            accept: lines.next(),
            more: lines.take(3).collect(),
            grpc: *request.method() == Method::POST
                && is_call(headers)
                && !is_ours(request.uri().path()),
        }
    }

    /// Whether the caller asks for text rather than JSON: a browser's navigation, a person's terminal.
    fn wants_text(&self) -> bool {
        let accepts = |kind: &str| {
            let lines = self.accept.iter().chain(&self.more);
            lines
                .filter_map(|value| value.to_str().ok())
                .any(|value| value.to_ascii_lowercase().contains(kind))
        };
        !accepts("json") && (accepts("text/html") || accepts("text/plain"))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    request_id: &'a str,
}

impl Problem {
    /// The answer, in the form the caller reads.
    pub fn respond(&self, asked: &Asked, request_id: &HeaderValue) -> Response<Full<Bytes>> {
        if asked.grpc {
            return grpc::respond(self, request_id);
        }
        let id = request_id.to_str().unwrap_or_default();
        let title = self.status.canonical_reason().unwrap_or("Error");
        let (kind, body) = if asked.wants_text() {
            let text = format!(
                "{} {title}: {}\n(request {id})\n",
                self.status.as_u16(),
                self.detail
            );
            ("text/plain; charset=utf-8", text.into_bytes())
        } else {
            let document = Document {
                r#type: "about:blank",
                title,
                status: self.status.as_u16(),
                detail: &self.detail,
                code: self.code.as_str(),
                field: self.field.as_deref(),
                request_id: id,
            };
            ("application/problem+json", lined(&document))
        };
        let mut answer = Response::new(Full::new(Bytes::from(body)));
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("x-request-id", request_id.clone());
        self.write_extra(headers);
        answer
    }

    pub(super) fn write_extra(&self, headers: &mut HeaderMap) {
        match &self.extra {
            Extra::None => {}
            Extra::Close => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Extra::Allow(methods) => put(headers, header::ALLOW, methods),
            Extra::Authenticate(challenge) => {
                headers.insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static(challenge),
                );
            }
            Extra::RetryAfter(wait) => put(headers, header::RETRY_AFTER, &up(*wait)),
            Extra::Limited(exceeded) => {
                let wait = up(exceeded.retry_after);
                put(headers, header::RETRY_AFTER, &wait);
                let limit = exceeded.quota.count.to_string();
                put(
                    headers,
                    http::HeaderName::from_static("ratelimit-limit"),
                    &limit,
                );
                put(
                    headers,
                    http::HeaderName::from_static("ratelimit-remaining"),
                    "0",
                );
                put(
                    headers,
                    http::HeaderName::from_static("ratelimit-reset"),
                    &wait,
                );
            }
        }
    }
}

/// Room for an ordinary document.
const DOCUMENT: usize = 256;

/// The document and a line end, for people at a terminal.
fn lined(document: &Document<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(DOCUMENT);
    // Writing to a vector cannot fail.
    serde_json::to_writer(&mut bytes, document).ok();
    bytes.push(b'\n');
    bytes
}

fn put(headers: &mut HeaderMap, name: http::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// Whole seconds, rounded up, at least one.
fn up(wait: Duration) -> String {
    wait.as_millis().div_ceil(1000).max(1).to_string()
}
