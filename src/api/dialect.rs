//! What does a dialect consist of?
//!
//! To add one:
//!
//! 1. Write a folder beside [`native`](crate::api::native) with a type that implements [`Dialect`].
//! 2. List it in [`dialects`](crate::api::dialects).
//! 3. Give it a word and its deliveries in [`DialectName`](crate::api::settings::DialectName).
//! 4. Let a mount choose it: in `config/keys/mount.rs`, move its word from `later` to `DIALECT_WORDS`.
//!
//! A request that is forwarded does not call a dialect.

use std::fmt;
use std::pin::Pin;

use http::HeaderValue;

use crate::api::call::Call;
use crate::api::error::ApiError;
use crate::api::problem::Problem;
use crate::api::wire::problem_document;
use crate::api::wire::reply::Answer;

/// The routes of a mount and the shapes of its responses.
pub trait Dialect: fmt::Debug + Send + Sync {
    /// All routes. `HEAD` and `OPTIONS` are answered for each of them.
    fn routes(&self) -> &'static [Route];

    /// The route where gateways ask whether a request may pass. `OPTIONS` is refused there, since a gateway takes
    /// a success for a permission.
    fn check_path(&self) -> Option<&'static str> {
        None
    }

    /// The response for a refusal: status, content type and body. The caller adds the headers of the problem, the
    /// request id and `Cache-Control`. The default is RFC 9457, or text for a client that prefers it.
    fn refuse(&self, refused: &Refused<'_>) -> Answer {
        problem_document::respond(refused)
    }

    /// The request headers that pages of allowed origins may send.
    fn request_headers(&self) -> &'static str {
        "authorization, content-type, x-device-token"
    }
}

/// One route of a dialect.
#[derive(Clone, Copy)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path below the mount. `{id}` stands for one segment.
    pub path: &'static str,
    /// Answers the calls.
    pub handler: Handler,
}

/// Answers a call.
pub type Handler = fn(Call) -> Handling;

/// The result of a handler, once it is complete.
pub type Handling = Pin<Box<dyn Future<Output = Result<Answer, ApiError>> + Send>>;

impl Route {
    /// Whether the body of a call is read before the handler is called.
    pub fn has_body(&self) -> bool {
        matches!(self.method, "POST" | "PUT" | "PATCH")
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// A refused request, for the dialect to give the response its shape.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    /// Status, code, detail, field and headers.
    pub problem: &'a Problem,
    /// The id of the request.
    pub request_id: &'a HeaderValue,
    /// The kind of request.
    pub scope: Scope,
    /// Whether the client prefers text to JSON: the navigation of a browser, a terminal.
    pub wants_text: bool,
}

/// The kind of request that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A call of the mount.
    Mount,
    /// A request to the application.
    Application,
    /// A request from any peer to the route where gateways ask, or the request that a gateway asks about. The
    /// status of the problem is kept whatever the dialect returns: a success would be a permission.
    Check,
}
