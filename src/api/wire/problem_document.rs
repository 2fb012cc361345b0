//! Which form does a refusal have by default?
//!
//! A client that accepts JSON receives `application/problem+json` (RFC 9457). A client that prefers HTML or text
//! receives one plain sentence. Neither contains more than the code states.

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::Full;
use serde::Serialize;

use crate::api::dialect::Refused;
use crate::api::wire::reply::Answer;

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

/// The response, without the headers that every refusal has.
pub fn respond(refused: &Refused<'_>) -> Answer {
    let problem = refused.problem;
    let id = refused.request_id.to_str().unwrap_or_default();
    let title = problem.status.canonical_reason().unwrap_or("Error");
    let status = problem.status.as_u16();
    let (kind, body) = if refused.wants_text {
        let text = format!("{status} {title}: {}\n(request {id})\n", problem.detail);
        ("text/plain; charset=utf-8", text.into_bytes())
    } else {
        let document = Document {
            r#type: "about:blank",
            title,
            status,
            detail: &problem.detail,
            code: problem.code.as_str(),
            field: problem.field.as_deref(),
            request_id: id,
        };
        ("application/problem+json", line(&document))
    };
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = problem.status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// The capacity for an ordinary document.
const DOCUMENT: usize = 256;

/// The document and a line end, for a terminal.
fn line(document: &Document<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(DOCUMENT);
    // Writing to a vector cannot fail.
    serde_json::to_writer(&mut bytes, document).ok();
    bytes.push(b'\n');
    bytes
}
