//! The stable words for refusals, which clients and dashboards depend on.

macro_rules! codes {
    ($($variant:ident $text:literal),+ $(,)?) => {
        /// The stable word for a refusal.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is its own text; docs/api.md explains them")]
        pub enum Code { $($variant),+ }

        impl Code {
            /// All codes as text, by index.
            pub const ALL: &'static [&'static str] = &[$($text),+];

            /// All codes, in the same order.
            #[cfg(test)]
            pub(crate) const EACH: &'static [Self] = &[$(Self::$variant),+];

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
    UntrustedGateway "untrusted_gateway",
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
