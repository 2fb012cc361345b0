//! What does a refusal state, before a dialect gives it a shape?

mod code;

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::limits::Exceeded;

pub use code::Code;

/// A refusal as the client learns it. `gateway::answer` makes it; a dialect gives it a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// The stable code.
    pub code: Code,
    /// The explanation, for a person.
    pub detail: Cow<'static, str>,
    /// The invalid field, if there is one.
    pub field: Option<String>,
    /// The headers of the response.
    pub extra: Extra,
}

/// The headers that belong to a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extra {
    /// None.
    None,
    /// The framing cannot be trusted: the connection is closed.
    Close,
    /// The methods that exist.
    Allow(String),
    /// How to authenticate (RFC 6750, 3).
    Authenticate(&'static str),
    /// The delay before the next attempt.
    RetryAfter(Duration),
    /// The same, and the quota that was exceeded.
    Limited(Exceeded),
}

impl Problem {
    /// A problem without field and headers.
    pub fn new(status: u16, code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            detail: detail.into(),
            field: None,
            extra: Extra::None,
        }
    }

    /// Sets the headers.
    #[must_use]
    pub fn with(mut self, extra: Extra) -> Self {
        self.extra = extra;
        self
    }

    /// Sets the invalid field.
    #[must_use]
    pub fn about(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// Writes the headers that belong to the refusal.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
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
            Extra::RetryAfter(wait) => put(headers, header::RETRY_AFTER, &seconds(*wait)),
            Extra::Limited(exceeded) => {
                let wait = seconds(exceeded.retry_after);
                let limit = exceeded.quota.count.to_string();
                put(headers, header::RETRY_AFTER, &wait);
                put(headers, LIMIT, &limit);
                put(headers, REMAINING, "0");
                put(headers, RESET, &wait);
            }
        }
    }
}

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

fn put(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// Whole seconds, rounded up, at least one.
fn seconds(wait: Duration) -> String {
    wait.as_millis().div_ceil(1000).max(1).to_string()
}
