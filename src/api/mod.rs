//! What Sidegate answers itself: the mounts and their dialects.
//!
//! A mount is a path prefix (by default `/auth`) spoken in one dialect. A dialect is a folder that
//! only translates between HTTP and the service; every refusal leaves as an [`ApiError`] and
//! becomes a response in `server::problem`.

pub mod error;
pub mod native;
pub mod settings;
pub mod wire;

use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;

use crate::api::settings::Delivery;
use crate::api::wire::cors::Cors;
use crate::guard::{Guard, Identity, Notice, extract};
use crate::service::activity::Activity;
use crate::service::{Caller, Grant, Service};
use crate::tokens::jwks::jwks;
use crate::tokens::keys::Keys;
use crate::types::net::Scheme;
use crate::types::secret::SecretText;

pub use error::ApiError;
pub use native::CheckRoute;
pub use settings::{Mount, Settings};

/// An answer of ours: always whole, never streamed.
pub type Answer = Response<Full<Bytes>>;

/// One call of a mount, beside its body. It owns what it needs, because it is finished also when its
/// caller hangs up.
#[derive(Debug)]
pub struct Call {
    /// The mount that was called.
    pub mount: Mount,
    /// The path below the mount's prefix, e.g. `/sessions`.
    pub path: String,
    /// The client.
    pub caller: Caller,
    /// The scheme the client used.
    pub scheme: Scheme,
    /// The `Host` the client sent.
    pub host: String,
    /// Where the caller's activity is noted.
    pub activity: Activity,
}

/// Everything the mounts answer from; shared by all workers.
#[derive(Debug)]
pub struct Api {
    service: Arc<Service>,
    keys: Arc<Keys>,
    settings: Settings,
    notice: Arc<Notice>,
}

impl Api {
    /// The API of these parts.
    pub fn new(service: Arc<Service>, keys: Arc<Keys>, settings: Settings) -> Self {
        Self {
            service,
            keys,
            settings,
            notice: Arc::default(),
        }
    }

    /// The warnings that are logged once; the guards share them.
    pub fn notice(&self) -> &Arc<Notice> {
        &self.notice
    }

    /// The mount a path belongs to, and the rest of the path. A prefix ends at a segment border.
    pub fn mount<'p>(&self, path: &'p str) -> Option<(&Mount, &'p str)> {
        self.settings.mounts.iter().find_map(|mount| {
            let rest = path.strip_prefix(mount.prefix.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then_some((mount, rest))
        })
    }

    /// The route of checks, if a path below a mount is on it: what follows it may be the path that is asked
    /// about, and is not clean.
    pub fn check<'a>(mount: &Mount, path: &'a str) -> Option<CheckRoute<'a>> {
        CheckRoute::of(mount, path)
    }

    /// The answer to a check of a request that may pass: who is calling, if anybody is.
    pub fn admitted(identity: Option<&Identity>) -> Answer {
        native::admitted(identity)
    }

    /// The names of our cookies and what they look like.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Answers a call.
    pub async fn handle<B>(
        &self,
        guard: &Guard,
        call: Call,
        request: Request<B>,
    ) -> Result<Answer, ApiError>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: std::fmt::Display,
    {
        if request.method() == Method::OPTIONS {
            let cors = Cors::of(&call, request.headers());
            return native::options(&call).map(|answer| cors.preflight(answer));
        }
        native::handle(self, guard, &call, request).await
    }

    /// The use cases.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// The refresh tokens of a browser that can be refreshed on the way through, one for each copy of
    /// the cookie: it travels in a cookie, and so does the access token, which no program's
    /// `Authorization` stands in for.
    pub fn renewable(&self, headers: &HeaderMap) -> Vec<SecretText> {
        let in_cookies = |mount: &Mount| mount.delivery == Delivery::Cookies;
        if headers.contains_key(AUTHORIZATION) || !self.settings.mounts.iter().any(in_cookies) {
            return Vec::new();
        }
        self.refresh_cookies(headers)
    }

    /// The copies of the refresh cookie.
    fn refresh_cookies(&self, headers: &HeaderMap) -> Vec<SecretText> {
        let name = &self.settings.cookies.refresh;
        let Ok(copies) = extract::copies(headers, name) else {
            self.notice.several_copies(name);
            return Vec::new();
        };
        if copies.are_several() {
            self.notice.several_copies(name);
        }
        copies.texts()
    }

    /// Puts fresh tokens into the cookies of an answer.
    pub fn hand_over(&self, grant: &Grant, headers: &mut HeaderMap) {
        let now = self.service.now();
        wire::cookie::hand_over(
            headers,
            &self.settings.cookies,
            Delivery::Cookies,
            grant,
            now,
        );
    }

    /// The public keys, at `/.well-known/jwks.json`.
    pub fn well_known_jwks(&self, method: &Method) -> Result<Answer, ApiError> {
        match *method {
            Method::GET | Method::HEAD => Ok(self.jwks()),
            _ => Err(ApiError::MethodNotAllowed {
                allow: "GET, HEAD".to_owned(),
            }),
        }
    }

    fn jwks(&self) -> Answer {
        let document = jwks(&self.keys.ring(), self.service.now());
        wire::reply::json_bytes(Bytes::from(document))
    }
}
