//! Why can a request be refused before it is authorized?

use crate::types::path::BadPath;

/// The longest request target, in bytes.
pub const MAX_TARGET: usize = 8 * 1024;

/// Why a request is refused before it is authorized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// CONNECT, TRACE, or a method that is not in the list.
    #[error("this method is not served")]
    Method,
    /// Not origin form, and not absolute form for this host.
    #[error("the request target must be a path on this host")]
    Target,
    /// A target over [`MAX_TARGET`].
    #[error("the request target is too long")]
    TargetTooLong,
    /// Missing, repeated, malformed, or not one of the configured hosts.
    #[error("one valid Host header is needed")]
    Host,
    /// A transfer coding other than `chunked`, or one in HTTP/1.0.
    #[error("the request's framing is ambiguous")]
    Framing,
    /// An `Expect` other than `100-continue`.
    #[error("only 100-continue can be expected")]
    Expectation,
    /// The path can be read in more than one way, or in none.
    #[error(transparent)]
    Path(BadPath),
    /// A gateway that is not trusted asks about another request.
    #[error("only a trusted proxy may ask about another request")]
    Gateway,
    /// The headers about the original request contradict each other, or are incomplete.
    #[error(transparent)]
    Original(Unclear),
}

/// Why the original request of a gateway's question is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// No header names it.
    #[error(
        "a question from a trusted proxy must state the method, host and target of the original request"
    )]
    Missing,
    /// A method without a target, a target without a method, or no host.
    #[error(
        "the description of the original request is incomplete: method, host and target belong together"
    )]
    Incomplete,
    /// One of the headers is repeated.
    #[error("a header about the original request occurs twice")]
    Twice,
    /// Two headers contradict each other.
    #[error("the headers about the original request contradict each other")]
    Disagree,
    /// A header is malformed.
    #[error("a header about the original request is malformed")]
    Malformed,
}

impl From<Unclear> for BadRequest {
    fn from(unclear: Unclear) -> Self {
        Self::Original(unclear)
    }
}
