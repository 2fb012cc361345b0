//! Which form does the response of a refusal have?
//!
//! A gRPC client receives a gRPC status. For other clients the dialect of the path decides.

use http::{HeaderValue, Method, Request, header};

use crate::api::Answer;
use crate::api::dialect::{Dialect, Refused, Scope};
use crate::api::problem::Problem;
use crate::gateway::answer::grpc;
use crate::proxy::grpc::is_call;

/// The form that a client prefers, in case the request is refused.
#[derive(Debug, Default)]
pub struct ReplyFormat {
    accept: Option<HeaderValue>,
    /// Further lines of `Accept`, which are rare. An empty list does not allocate.
    more: Vec<HeaderValue>,
    grpc: bool,
}

impl ReplyFormat {
    /// From the head of a request. A gRPC call is a POST, and never to a route of ours: a gateway that asks there
    /// would take the 200 of a gRPC refusal for a permission.
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

    /// Whether the client prefers text to JSON: the navigation of a browser, a terminal.
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

/// The response of a refusal. The dialect gives it status and body; the headers that every refusal has are set here.
pub(crate) fn respond(
    problem: &Problem,
    format: &ReplyFormat,
    dialect: &dyn Dialect,
    scope: Scope,
    request_id: &HeaderValue,
) -> Answer {
    if format.grpc {
        return grpc::respond(problem, request_id);
    }
    let mut answer = dialect.refuse(&Refused {
        problem,
        request_id,
        scope,
        wants_text: format.wants_text(),
    });
    if scope == Scope::Check {
        *answer.status_mut() = problem.status;
    }
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-request-id", request_id.clone());
    problem.write_headers(headers);
    answer
}
