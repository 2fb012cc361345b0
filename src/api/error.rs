//! Why is a call of the API refused? `gateway::answer` turns each reason into a response.

use crate::guard::Denial;
use crate::service::AuthError;

/// A refused call.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No such route under the mount.
    #[error("no such route")]
    NotFound,
    /// The route exists, the method does not.
    #[error("method not allowed")]
    MethodNotAllowed {
        /// The methods that exist, as `Allow` lists them.
        allow: String,
    },
    /// The body is not `application/json`.
    #[error("the body must be application/json")]
    UnsupportedMediaType,
    /// The body is larger than a call needs.
    #[error("the body is over {limit} bytes")]
    BodyTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// The body cannot be read as one JSON object.
    #[error("malformed body: {0}")]
    MalformedBody(String),
    /// A field that this call does not have.
    #[error("unknown field {0}")]
    UnknownField(String),
    /// A field this call needs.
    #[error("missing field {0}")]
    MissingField(&'static str),
    /// A field with an invalid value.
    #[error("field {field}: {detail}")]
    InvalidField {
        /// The field.
        field: &'static str,
        /// The condition that the value must meet.
        detail: String,
    },
    /// A call that uses or sets cookies, from a page that may not do this, or from an unknown one.
    #[error("a cookie alone does not authorise a write from another site")]
    CrossSite,
    /// The call needs a caller, and the request has no valid access token.
    #[error("not authenticated")]
    Denied(Denial),
    /// The service refused.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

impl From<Denial> for ApiError {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}
