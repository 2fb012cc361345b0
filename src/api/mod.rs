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
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;

use crate::guard::Guard;
use crate::service::{Caller, Service};
use crate::tokens::jwks::jwks;
use crate::tokens::keys::Keys;
use crate::types::net::Scheme;

pub use error::ApiError;
pub use settings::{Mount, Settings};

/// An answer of ours: always whole, never streamed.
pub type Answer = Response<Full<Bytes>>;

/// One call of a mount, beside its body.
#[derive(Debug)]
pub struct Call<'a> {
    /// The mount that was called.
    pub mount: &'a Mount,
    /// The path below the mount's prefix, e.g. `/sessions`.
    pub path: &'a str,
    /// The client.
    pub caller: Caller,
    /// The scheme the client used.
    pub scheme: Scheme,
    /// The `Host` the client sent.
    pub host: &'a str,
}

/// Everything the mounts answer from; shared by all workers.
#[derive(Debug)]
pub struct Api {
    service: Arc<Service>,
    keys: Arc<Keys>,
    settings: Settings,
}

impl Api {
    /// The API of these parts.
    pub fn new(service: Arc<Service>, keys: Arc<Keys>, settings: Settings) -> Self {
        Self {
            service,
            keys,
            settings,
        }
    }

    /// The mount a path belongs to, and the rest of the path. A prefix ends at a segment border.
    pub fn mount<'p>(&self, path: &'p str) -> Option<(&Mount, &'p str)> {
        self.settings.mounts.iter().find_map(|mount| {
            let rest = path.strip_prefix(mount.prefix.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then_some((mount, rest))
        })
    }

    /// The names of our cookies and what they look like.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Answers a call.
    pub async fn handle<B>(
        &self,
        guard: &Guard,
        call: Call<'_>,
        request: Request<B>,
    ) -> Result<Answer, ApiError>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: std::fmt::Display,
    {
        let cors = wire::cors::Cors::of(&call, request.headers());
        if request.method() == Method::OPTIONS {
            return native::options(&call).map(|answer| cors.preflight(answer));
        }
        match native::handle(self, guard, &call, request).await {
            Ok(answer) => Ok(cors.apply(answer)),
            Err(error) => Err(error),
        }
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

    /// Headers that let an allowed origin read an error answer too.
    pub fn cors_headers(&self, call: &Call<'_>, headers: &HeaderMap, answer: &mut HeaderMap) {
        wire::cors::Cors::of(call, headers).write(answer);
    }
}
