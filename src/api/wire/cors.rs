//! Cross-origin reads for the origins a mount allows (Fetch standard, "CORS protocol"). Every other
//! origin gets no header and its browser refuses.

use http::{HeaderMap, HeaderValue, header};

use crate::api::{Answer, Call};

/// What a front end of another origin needs to act on a refusal.
const EXPOSED: &str = "retry-after, ratelimit-limit, ratelimit-remaining, ratelimit-reset, \
                       www-authenticate, x-request-id";

/// What one call's origin may do.
#[derive(Debug)]
pub struct Cors {
    origin: Option<HeaderValue>,
    varies: bool,
}

impl Cors {
    /// Looks at the call's `Origin`.
    pub fn of(call: &Call, headers: &HeaderMap) -> Self {
        let allowed = &call.mount.allowed_origins;
        let origin = headers
            .get(header::ORIGIN)
            .filter(|value| {
                value
                    .to_str()
                    .is_ok_and(|text| allowed.iter().any(|a| a == text))
            })
            .cloned();
        Self {
            origin,
            varies: !allowed.is_empty(),
        }
    }

    /// Answers a preflight: an allowed origin may send our methods, JSON and a token.
    pub fn preflight(&self, mut answer: Answer) -> Answer {
        if self.origin.is_some() {
            let methods = answer.headers().get(header::ALLOW).cloned();
            let headers = answer.headers_mut();
            if let Some(methods) = methods {
                headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
            }
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static("authorization, content-type, x-device-token"),
            );
            headers.insert(
                header::ACCESS_CONTROL_MAX_AGE,
                HeaderValue::from_static("600"),
            );
        }
        answer
    }

    /// Writes the headers that let the origin read.
    pub fn write(&self, headers: &mut HeaderMap) {
        if self.varies {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        if let Some(origin) = &self.origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
            headers.insert(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(EXPOSED),
            );
        }
    }
}
