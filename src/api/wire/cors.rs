//! Which pages of other origins may read responses (Fetch standard, "CORS protocol")?
//!
//! Those of the origins that the mount allows. For all others no header is written, and the browser refuses.

use http::{HeaderMap, HeaderValue, header};

use crate::api::settings::Mount;
use crate::api::wire::reply::Answer;
use crate::types::header::exactly_once;
use crate::types::origin::Origin;

/// The response headers that a page of another origin may read.
const EXPOSED: &str = "retry-after, ratelimit-limit, ratelimit-remaining, ratelimit-reset, \
                       www-authenticate, x-request-id";

/// The permissions of the origin of one call.
#[derive(Debug)]
pub struct Cors {
    origin: Option<HeaderValue>,
    varies: bool,
}

impl Cors {
    /// From the `Origin` of a request.
    pub fn of(mount: &Mount, headers: &HeaderMap) -> Self {
        let is_allowed = |value: &&HeaderValue| {
            let origin = value.to_str().ok().map(Origin::sent);
            matches!(origin, Some(Ok(origin)) if mount.allowed_origins.contains(&origin))
        };
        Self {
            origin: exactly_once(headers, header::ORIGIN)
                .filter(is_allowed)
                .cloned(),
            varies: !mount.allowed_origins.is_empty(),
        }
    }

    /// Completes the response to a preflight: an allowed origin may use the methods in `Allow` and send
    /// `request_headers`.
    pub fn preflight(&self, mut answer: Answer, request_headers: &'static str) -> Answer {
        if self.origin.is_some() {
            let methods = answer.headers().get(header::ALLOW).cloned();
            let headers = answer.headers_mut();
            if let Some(methods) = methods {
                headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
            }
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static(request_headers),
            );
            headers.insert(
                header::ACCESS_CONTROL_MAX_AGE,
                HeaderValue::from_static("600"),
            );
        }
        answer
    }

    /// Writes the headers that permit the origin to read the response.
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
