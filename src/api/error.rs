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
        /// The methods that do, as `Allow` lists them.
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
    /// A field this call does not know.
    #[error("unknown field {0}")]
    UnknownField(String),
    /// A field this call needs.
    #[error("missing field {0}")]
    MissingField(&'static str),
    /// A field that does not hold what it must.
    #[error("field {field}: {detail}")]
    InvalidField {
        /// The field.
        field: &'static str,
        /// What it must hold.
        detail: String,
    },
    /// A write carried by a cookie, without proof that our own page sent it.
    #[error("a cookie alone does not authorise a write from another site")]
    CrossSite,
    /// The call needs a caller and there is none, or not a good one.
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
