//! The one place where a refusal becomes HTTP: status, code, words. The match is exhaustive and has
//! no wildcard, so a new refusal cannot be forgotten here.
//!
//! Callers that speak gRPC get its status. Callers that read JSON get RFC 9457 `application/problem+json`; a caller that asks for HTML or
//! plain text gets one plain sentence. Neither learns more than the code says.

#![deny(clippy::wildcard_enum_match_arm)]

mod grpc;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

use crate::api::ApiError;
use crate::guard::{Denial, Reason};
use crate::limits::Exceeded;
use crate::proxy::grpc::is_call;
use crate::proxy::{ClientFault, UpstreamError};
use crate::server::connection::TooSlow;
use crate::server::intake::BadRequest;
use crate::service::AuthError;

/// Any refusal.
#[derive(Debug)]
pub enum Fault {
    /// The request itself is not plain.
    Bad(BadRequest),
    /// The guard said no.
    Denied(Denial),
    /// A call of ours was refused.
    Api(ApiError),
    /// The upstream did not answer properly.
    Upstream(UpstreamError),
    /// A gateway asked about a request, which may not pass.
    Check(Box<Fault>),
    /// The upstream cannot be reached while this process drains: both are going, and another
    /// instance will serve.
    Leaving(UpstreamError),
}

impl Fault {
    /// The same, seen while the process drains. An application may end before its sidecar does;
    /// that is no failure of either.
    #[must_use]
    pub fn while_draining(self) -> Self {
        match self {
            Self::Upstream(error @ UpstreamError::Unreachable(_)) => Self::Leaving(error),
            other @ (Self::Bad(_)
            | Self::Denied(_)
            | Self::Api(_)
            | Self::Upstream(_)
            | Self::Check(_)
            | Self::Leaving(_)) => other,
        }
    }
}

impl From<BadRequest> for Fault {
    fn from(bad: BadRequest) -> Self {
        Self::Bad(bad)
    }
}

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Denied(denial) => Self::Denied(denial),
            other @ (ApiError::NotFound
            | ApiError::MethodNotAllowed { .. }
            | ApiError::UnsupportedMediaType
            | ApiError::BodyTooLarge { .. }
            | ApiError::BodyTimeout
            | ApiError::MalformedBody(_)
            | ApiError::UnknownField(_)
            | ApiError::MissingField(_)
            | ApiError::InvalidField { .. }
            | ApiError::CrossSite
            | ApiError::Auth(_)) => Self::Api(other),
        }
    }
}

impl From<UpstreamError> for Fault {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

macro_rules! codes {
    ($($variant:ident $text:literal),+ $(,)?) => {
        /// The stable word for a refusal.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is its own text; docs/api.md explains them")]
        pub enum Code { $($variant),+ }

        impl Code {
            /// All codes as text, by index.
            pub const ALL: &'static [&'static str] = &[$($text),+];

            /// The code as text.
            pub fn as_str(self) -> &'static str {
                Self::ALL.get(self as usize).copied().unwrap_or("internal")
            }
        }
    };
}

codes! {
    BadRequest "bad_request",
    MethodNotAllowed "method_not_allowed",
    UriTooLong "uri_too_long",
    ExpectationFailed "expectation_failed",
    MissingToken "missing_token",
    InvalidToken "invalid_token",
    TokenExpired "token_expired",
    SessionEnded "session_ended",
    TokenStale "token_stale",
    TwoCredentials "two_credentials",
    MissingRole "missing_role",
    Forbidden "forbidden",
    NotFound "not_found",
    UnsupportedMediaType "unsupported_media_type",
    BodyTooLarge "body_too_large",
    RequestTimeout "request_timeout",
    MalformedBody "malformed_body",
    UnknownField "unknown_field",
    MissingField "missing_field",
    InvalidField "invalid_field",
    CrossSite "cross_site",
    InvalidCredentials "invalid_credentials",
    InvalidRefreshToken "invalid_refresh_token",
    SignupClosed "signup_closed",
    LoginTaken "login_taken",
    WeakPassword "weak_password",
    TooManySessions "too_many_sessions",
    SessionNotFound "session_not_found",
    RateLimited "rate_limited",
    Busy "busy",
    StoreUnavailable "store_unavailable",
    Internal "internal",
    UpstreamUnreachable "upstream_unreachable",
    UpstreamBadResponse "upstream_bad_response",
    UpstreamTimeout "upstream_timeout",
    UpstreamOverloaded "upstream_overloaded",
}

/// In which form a caller reads a refusal, kept for the case that there is one.
#[derive(Debug, Default)]
pub struct Asked {
    accept: Vec<HeaderValue>,
    grpc: bool,
}

impl Asked {
    /// From the head of a request. A gRPC call is always a POST, and never one of our own routes: a
    /// gateway that asks there would take the 200 of a refusal in gRPC's words for leave to pass.
    pub fn of<B>(request: &Request<B>, is_ours: impl FnOnce(&str) -> bool) -> Self {
        let headers = request.headers();
        let lines = headers.get_all(header::ACCEPT).iter();
        Self {
            accept: lines.take(4).cloned().collect(),
            grpc: *request.method() == Method::POST
                && is_call(headers)
                && !is_ours(request.uri().path()),
        }
    }
}

/// A refusal as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// The stable word.
    pub code: Code,
    /// What is wrong, for a person.
    pub detail: Cow<'static, str>,
    /// The field that is wrong, if one is.
    pub field: Option<String>,
    /// What else the answer says.
    pub extra: Extra,
}

/// What a refusal's answer says in headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    None,
    /// The framing cannot be trusted: the connection ends.
    Close,
    /// Which methods there are.
    Allow(String),
    /// How to authenticate (RFC 6750, 3).
    Authenticate(&'static str),
    /// When to try again.
    RetryAfter(Duration),
    /// When to try again, and under which quota.
    Limited(Exceeded),
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

/// The table.
pub fn problem(fault: &Fault) -> Problem {
    match fault {
        Fault::Bad(bad) => bad_request(*bad),
        Fault::Denied(denial) => denied(denial),
        Fault::Api(error) => api(error),
        Fault::Upstream(error) => upstream(error),
        Fault::Check(fault) => problem(fault).for_gateway(),
        Fault::Leaving(_) => say(
            503,
            Code::UpstreamUnreachable,
            "the application is going; another instance will answer",
        )
        .with(Extra::RetryAfter(Duration::from_secs(1))),
    }
}

fn bad_request(bad: BadRequest) -> Problem {
    let detail = bad.to_string();
    match bad {
        BadRequest::Method => {
            let allow = Extra::Allow("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS".to_owned());
            say(405, Code::MethodNotAllowed, detail).with(allow)
        }
        BadRequest::TargetTooLong => say(414, Code::UriTooLong, detail).with(Extra::Close),
        BadRequest::Expectation => say(417, Code::ExpectationFailed, detail).with(Extra::Close),
        BadRequest::Framing => say(400, Code::BadRequest, detail).with(Extra::Close),
        BadRequest::Target | BadRequest::Host | BadRequest::Path(_) | BadRequest::Original(_) => {
            say(400, Code::BadRequest, detail)
        }
    }
}

fn denied(denial: &Denial) -> Problem {
    const PLAIN: Extra = Extra::Authenticate("Bearer");
    const BAD: Extra = Extra::Authenticate("Bearer error=\"invalid_token\"");
    const SCOPE: Extra = Extra::Authenticate("Bearer error=\"insufficient_scope\"");
    match denial.reason() {
        Reason::Missing => say(401, Code::MissingToken, "an access token is needed").with(PLAIN),
        Reason::Invalid => say(401, Code::InvalidToken, "the access token is not valid").with(BAD),
        Reason::Expired => say(401, Code::TokenExpired, "the access token has expired").with(BAD),
        Reason::Ended => say(401, Code::SessionEnded, "the session is over").with(BAD),
        Reason::Stale => say(
            401,
            Code::TokenStale,
            "the account has changed: refresh the token",
        )
        .with(BAD),
        Reason::TwoCredentials => {
            let extra = Extra::Authenticate("Bearer error=\"invalid_request\"");
            say(
                400,
                Code::TwoCredentials,
                "the request carries more than one credential",
            )
            .with(extra)
        }
        Reason::MissingRole => {
            say(403, Code::MissingRole, "a role that this needs is missing").with(SCOPE)
        }
        Reason::Forbidden => say(403, Code::Forbidden, "nobody may do this"),
    }
}

fn api(error: &ApiError) -> Problem {
    let detail = error.to_string();
    match error {
        ApiError::NotFound => say(404, Code::NotFound, detail),
        ApiError::MethodNotAllowed { allow } => {
            say(405, Code::MethodNotAllowed, detail).with(Extra::Allow(allow.clone()))
        }
        ApiError::UnsupportedMediaType => say(415, Code::UnsupportedMediaType, detail),
        ApiError::BodyTooLarge { .. } => say(413, Code::BodyTooLarge, detail).with(Extra::Close),
        ApiError::BodyTimeout => say(408, Code::RequestTimeout, detail).with(Extra::Close),
        ApiError::MalformedBody(_) => say(400, Code::MalformedBody, detail),
        ApiError::UnknownField(field) => say(400, Code::UnknownField, detail).about(field),
        ApiError::MissingField(field) => say(400, Code::MissingField, detail).about(field),
        ApiError::InvalidField { field, .. } => say(400, Code::InvalidField, detail).about(field),
        ApiError::CrossSite => say(403, Code::CrossSite, detail),
        ApiError::Denied(denial) => denied(denial),
        ApiError::Auth(error) => auth(error),
    }
}

fn auth(error: &AuthError) -> Problem {
    let detail = error.to_string();
    match error {
        AuthError::InvalidCredentials => say(
            401,
            Code::InvalidCredentials,
            "the log-in name or the password is wrong",
        ),
        AuthError::InvalidRefreshToken => say(
            401,
            Code::InvalidRefreshToken,
            "the refresh token is not valid: log in again",
        ),
        AuthError::SignupClosed => say(403, Code::SignupClosed, detail),
        AuthError::LoginTaken(kind) => say(409, Code::LoginTaken, detail).about(&kind.to_string()),
        AuthError::WeakPassword(_) => say(400, Code::WeakPassword, detail),
        AuthError::TooManySessions => say(409, Code::TooManySessions, detail),
        AuthError::SessionNotFound => say(404, Code::SessionNotFound, detail),
        AuthError::AccountClosed => say(401, Code::SessionEnded, "the session is over")
            .with(Extra::Authenticate("Bearer error=\"invalid_token\"")),
        AuthError::RateLimited(exceeded) => {
            say(429, Code::RateLimited, detail).with(Extra::Limited(*exceeded))
        }
        AuthError::Busy { retry_after } => say(
            503,
            Code::Busy,
            "too many passwords are being checked: try again",
        )
        .with(Extra::RetryAfter(*retry_after)),
        AuthError::Store(_) => say(
            503,
            Code::StoreUnavailable,
            "the session store has no answer",
        )
        .with(Extra::RetryAfter(Duration::from_secs(1))),
        AuthError::Internal(_) => say(500, Code::Internal, "something went wrong"),
    }
}

fn upstream(error: &UpstreamError) -> Problem {
    match error {
        UpstreamError::Unreachable(_) => say(
            502,
            Code::UpstreamUnreachable,
            "the application cannot be reached",
        ),
        UpstreamError::BadResponse(_) => say(
            502,
            Code::UpstreamBadResponse,
            "the application's answer cannot be used",
        ),
        UpstreamError::Http2(_) => say(
            502,
            Code::UpstreamBadResponse,
            "the application broke off its answer",
        ),
        UpstreamError::Timeout => say(
            504,
            Code::UpstreamTimeout,
            "the application did not answer in time",
        ),
        UpstreamError::Overloaded { retry_after } => say(
            503,
            Code::UpstreamOverloaded,
            "too many requests are waiting for the application",
        )
        .with(Extra::RetryAfter(*retry_after)),
        UpstreamError::ClientBody(ClientFault::Unreadable(cause))
            if TooSlow::is_the_cause(&**cause) =>
        {
            say(408, Code::RequestTimeout, cause.to_string()).with(Extra::Close)
        }
        UpstreamError::ClientBody(fault) => {
            say(400, Code::BadRequest, fault.to_string()).with(Extra::Close)
        }
    }
}

fn say(status: u16, code: Code, detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        code,
        detail: detail.into(),
        field: None,
        extra: Extra::None,
    }
}

impl Problem {
    fn with(mut self, extra: Extra) -> Self {
        self.extra = extra;
        self
    }

    fn about(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// The same for a gateway that asked: of all that is wrong with a request, nginx knows only 401
    /// and 403, and takes anything else for a fault of ours. What is told about the connection or
    /// the methods of the check itself would be wrong.
    fn for_gateway(mut self) -> Self {
        if self.status.is_client_error() && self.status != StatusCode::UNAUTHORIZED {
            self.status = StatusCode::FORBIDDEN;
        }
        if matches!(self.extra, Extra::Close | Extra::Allow(_)) {
            self.extra = Extra::None;
        }
        self
    }

    /// The answer, in the form the caller reads.
    pub fn respond(&self, asked: &Asked, request_id: &HeaderValue) -> Response<Full<Bytes>> {
        if asked.grpc {
            return grpc::respond(self, request_id);
        }
        let id = request_id.to_str().unwrap_or_default();
        let title = self.status.canonical_reason().unwrap_or("Error");
        let (kind, body) = if wants_text(&asked.accept) {
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

    fn write_extra(&self, headers: &mut HeaderMap) {
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

/// Whether the caller asks for text rather than JSON: a browser's navigation, a person's terminal.
fn wants_text(asked: &[HeaderValue]) -> bool {
    let accepts = |kind: &str| {
        asked
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.to_ascii_lowercase().contains(kind))
    };
    !accepts("json") && (accepts("text/html") || accepts("text/plain"))
}
