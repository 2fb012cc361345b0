//! The one place where a refusal becomes HTTP: status, code, words. The match is exhaustive and has
//! no wildcard, so a new refusal cannot be forgotten here.
//!
//! This is the table; in which form a caller reads the answer is `answer`'s business.

#![deny(clippy::wildcard_enum_match_arm)]

mod answer;
mod code;
mod grpc;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::api::ApiError;
use crate::guard::{Denial, Reason};
use crate::limits::Exceeded;
use crate::proxy::{ClientFault, UpstreamError};
use crate::server::connection::TooSlow;
use crate::server::intake::BadRequest;
use crate::service::AuthError;

pub use answer::Asked;
pub use code::Code;

/// Any refusal.
#[derive(Debug)]
pub enum Refusal {
    /// The request itself is not plain.
    Bad(BadRequest),
    /// The guard said no.
    Denied(Denial),
    /// A call of ours was refused.
    Api(ApiError),
    /// The upstream did not answer properly.
    Upstream(UpstreamError),
    /// A gateway asked about a request, which may not pass.
    Check(Box<Refusal>),
    /// The upstream cannot be reached while this process drains: both are going, and another
    /// instance will serve.
    Leaving(UpstreamError),
}

impl Refusal {
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

impl From<BadRequest> for Refusal {
    fn from(bad: BadRequest) -> Self {
        Self::Bad(bad)
    }
}

impl From<ApiError> for Refusal {
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

impl From<UpstreamError> for Refusal {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
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

/// The table.
pub fn problem(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Bad(bad) => bad_request(*bad),
        Refusal::Denied(denial) => denied(denial),
        Refusal::Api(error) => api(error),
        Refusal::Upstream(error) => upstream(error),
        Refusal::Check(refusal) => problem(refusal).for_gateway(),
        Refusal::Leaving(_) => say(
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
        BadRequest::Gateway => say(403, Code::UntrustedGateway, detail),
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
        Reason::Unavailable => no_store(),
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
        AuthError::BadName(_) => say(400, Code::InvalidField, detail).about("username"),
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
        AuthError::Store(_) => no_store(),
        AuthError::Internal(_) => say(500, Code::Internal, "something went wrong"),
    }
}

fn no_store() -> Problem {
    let detail = "the session store has no answer";
    say(503, Code::StoreUnavailable, detail).with(Extra::RetryAfter(Duration::from_secs(1)))
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
}
