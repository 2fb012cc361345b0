//! Phase 7: which status, code and text does a refusal have?
//!
//! This is the only place where a refusal becomes HTTP. The match is exhaustive and has no wildcard, so a
//! new refusal cannot be forgotten. `respond` chooses the form of the response.

#![deny(clippy::wildcard_enum_match_arm)]

mod grpc;
mod respond;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::StatusCode;

use crate::api::ApiError;
use crate::api::problem::{Code, Extra, Problem};
use crate::gateway::bad_request::BadRequest;
use crate::guard::{Denial, Reason};
use crate::net::connection::body_rate::TooSlow;
use crate::proxy::{ClientFault, UpstreamError};
use crate::service::AuthError;

pub use respond::ReplyFormat;
pub(crate) use respond::respond;

/// Any refusal.
#[derive(Debug)]
pub enum Refusal {
    /// The request is malformed or ambiguous.
    Bad(BadRequest),
    /// The guard denied it.
    Denied(Denial),
    /// A call of the API was refused.
    Api(ApiError),
    /// The upstream failed.
    Upstream(UpstreamError),
    /// A gateway asked about a request that may not pass.
    Check(Box<Refusal>),
    /// The upstream cannot be reached while this process drains: both are ending, and another instance
    /// serves.
    Leaving(UpstreamError),
}

impl Refusal {
    /// The same while the process drains. The application may end before its sidecar, which is not a failure of
    /// either.
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

/// The problem of a refusal.
pub fn problem(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Bad(bad) => bad_request(*bad),
        Refusal::Denied(denial) => denied(denial),
        Refusal::Api(error) => api(error),
        Refusal::Upstream(error) => upstream(error),
        Refusal::Check(refusal) => for_gateway(problem(refusal)),
        Refusal::Leaving(_) => Problem::new(
            503,
            Code::UpstreamUnreachable,
            "the application is shutting down; another instance will answer",
        )
        .with(Extra::RetryAfter(Duration::from_secs(1))),
    }
}

fn bad_request(bad: BadRequest) -> Problem {
    let detail = bad.to_string();
    match bad {
        BadRequest::Method => {
            let allow = Extra::Allow("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS".to_owned());
            Problem::new(405, Code::MethodNotAllowed, detail).with(allow)
        }
        BadRequest::TargetTooLong => Problem::new(414, Code::UriTooLong, detail).with(Extra::Close),
        BadRequest::Expectation => {
            Problem::new(417, Code::ExpectationFailed, detail).with(Extra::Close)
        }
        BadRequest::Gateway => Problem::new(403, Code::UntrustedGateway, detail),
        BadRequest::Framing => Problem::new(400, Code::BadRequest, detail).with(Extra::Close),
        BadRequest::Target | BadRequest::Host | BadRequest::Path(_) | BadRequest::Original(_) => {
            Problem::new(400, Code::BadRequest, detail)
        }
    }
}

fn denied(denial: &Denial) -> Problem {
    const PLAIN: Extra = Extra::Authenticate("Bearer");
    const BAD: Extra = Extra::Authenticate("Bearer error=\"invalid_token\"");
    const SCOPE: Extra = Extra::Authenticate("Bearer error=\"insufficient_scope\"");
    match denial.reason() {
        Reason::Missing => {
            Problem::new(401, Code::MissingToken, "an access token is needed").with(PLAIN)
        }
        Reason::Invalid => {
            Problem::new(401, Code::InvalidToken, "the access token is not valid").with(BAD)
        }
        Reason::Expired => {
            Problem::new(401, Code::TokenExpired, "the access token has expired").with(BAD)
        }
        Reason::Ended => Problem::new(401, Code::SessionEnded, "the session is over").with(BAD),
        Reason::Stale => Problem::new(
            401,
            Code::TokenStale,
            "the account has changed: refresh the token",
        )
        .with(BAD),
        Reason::Unavailable => no_store(),
        Reason::TwoCredentials => {
            let extra = Extra::Authenticate("Bearer error=\"invalid_request\"");
            Problem::new(
                400,
                Code::TwoCredentials,
                "the request carries more than one credential",
            )
            .with(extra)
        }
        Reason::MissingRole => {
            Problem::new(403, Code::MissingRole, "a role that this needs is missing").with(SCOPE)
        }
        Reason::Forbidden => Problem::new(403, Code::Forbidden, "nobody may do this"),
        Reason::Unsigned => internal(),
    }
}

fn api(error: &ApiError) -> Problem {
    let detail = error.to_string();
    match error {
        ApiError::NotFound => Problem::new(404, Code::NotFound, detail),
        ApiError::MethodNotAllowed { allow } => {
            Problem::new(405, Code::MethodNotAllowed, detail).with(Extra::Allow(allow.clone()))
        }
        ApiError::UnsupportedMediaType => Problem::new(415, Code::UnsupportedMediaType, detail),
        ApiError::BodyTooLarge { .. } => {
            Problem::new(413, Code::BodyTooLarge, detail).with(Extra::Close)
        }
        ApiError::BodyTimeout => Problem::new(408, Code::RequestTimeout, detail).with(Extra::Close),
        ApiError::MalformedBody(_) => Problem::new(400, Code::MalformedBody, detail),
        ApiError::UnknownField(field) => Problem::new(400, Code::UnknownField, detail).about(field),
        ApiError::MissingField(field) => Problem::new(400, Code::MissingField, detail).about(field),
        ApiError::InvalidField { field, .. } => {
            Problem::new(400, Code::InvalidField, detail).about(field)
        }
        ApiError::CrossSite => Problem::new(403, Code::CrossSite, detail),
        ApiError::Denied(denial) => denied(denial),
        ApiError::Auth(error) => auth(error),
    }
}

fn auth(error: &AuthError) -> Problem {
    let detail = error.to_string();
    match error {
        AuthError::InvalidCredentials => Problem::new(
            401,
            Code::InvalidCredentials,
            "the log-in name or the password is wrong",
        ),
        AuthError::InvalidRefreshToken => Problem::new(
            401,
            Code::InvalidRefreshToken,
            "the refresh token is not valid: log in again",
        ),
        AuthError::SignupClosed => Problem::new(403, Code::SignupClosed, detail),
        AuthError::LoginTaken(kind) => {
            Problem::new(409, Code::LoginTaken, detail).about(&kind.to_string())
        }
        AuthError::BadName(_) => Problem::new(400, Code::InvalidField, detail).about("username"),
        AuthError::WeakPassword(_) => Problem::new(400, Code::WeakPassword, detail),
        AuthError::TooManySessions => Problem::new(409, Code::TooManySessions, detail),
        AuthError::SessionNotFound => Problem::new(404, Code::SessionNotFound, detail),
        AuthError::AccountClosed => Problem::new(401, Code::SessionEnded, "the session is over")
            .with(Extra::Authenticate("Bearer error=\"invalid_token\"")),
        AuthError::RateLimited(exceeded) => {
            Problem::new(429, Code::RateLimited, detail).with(Extra::Limited(*exceeded))
        }
        AuthError::Busy { retry_after } => Problem::new(
            503,
            Code::Busy,
            "too many passwords are being checked: try again",
        )
        .with(Extra::RetryAfter(*retry_after)),
        AuthError::Store(_) => no_store(),
        AuthError::Internal(_) => internal(),
    }
}

fn internal() -> Problem {
    Problem::new(500, Code::Internal, "something went wrong")
}

fn no_store() -> Problem {
    let detail = "the session store has no answer";
    Problem::new(503, Code::StoreUnavailable, detail)
        .with(Extra::RetryAfter(Duration::from_secs(1)))
}

fn upstream(error: &UpstreamError) -> Problem {
    match error {
        UpstreamError::Unreachable(_) => Problem::new(
            502,
            Code::UpstreamUnreachable,
            "the application cannot be reached",
        ),
        UpstreamError::BadResponse(_) => Problem::new(
            502,
            Code::UpstreamBadResponse,
            "the application's answer cannot be used",
        ),
        UpstreamError::Http2(_) => Problem::new(
            502,
            Code::UpstreamBadResponse,
            "the application broke off its answer",
        ),
        UpstreamError::Timeout => Problem::new(
            504,
            Code::UpstreamTimeout,
            "the application did not answer in time",
        ),
        UpstreamError::Overloaded { retry_after } => Problem::new(
            503,
            Code::UpstreamOverloaded,
            "too many requests are waiting for the application",
        )
        .with(Extra::RetryAfter(*retry_after)),
        UpstreamError::ClientBody(ClientFault::Unreadable(cause))
            if TooSlow::is_the_cause(&**cause) =>
        {
            Problem::new(408, Code::RequestTimeout, cause.to_string()).with(Extra::Close)
        }
        UpstreamError::ClientBody(fault) => {
            Problem::new(400, Code::BadRequest, fault.to_string()).with(Extra::Close)
        }
    }
}

/// The problem for a gateway that asked. nginx accepts 401 and 403 only and treats any other status as an error of
/// ours. The connection and the methods of the question itself are not concerned.
fn for_gateway(mut problem: Problem) -> Problem {
    if problem.status.is_client_error() && problem.status != StatusCode::UNAUTHORIZED {
        problem.status = StatusCode::FORBIDDEN;
    }
    if matches!(problem.extra, Extra::Close | Extra::Allow(_)) {
        problem.extra = Extra::None;
    }
    problem
}
