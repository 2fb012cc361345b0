//! What does Sidegate answer itself?
//!
//! A mount is a path prefix, by default `/auth`, with a [`Dialect`]: the routes below the prefix, the shapes of
//! their responses, and the shapes of refusals. A handler translates between HTTP and the service. Every refusal
//! is an [`ApiError`]; `gateway::answer` turns it into a [`Problem`](problem::Problem), and the dialect gives it
//! its shape.

pub mod call;
pub mod check;
pub mod dialect;
pub mod dialects;
pub mod dispatch;
pub mod error;
pub mod native;
pub mod problem;
pub mod settings;
pub mod state;
#[cfg(test)]
mod tests;
pub mod wire;

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};

use crate::api::dialect::{Dialect, Scope};
use crate::api::settings::{Delivery, DialectName, Mount, Settings};
use crate::api::state::State;
use crate::guard::Notice;
use crate::service::{Grant, Service};
use crate::tokens::keys::Keys;
use crate::types::secret::SecretText;

pub use call::Call;
pub use check::CheckRoute;
pub use error::ApiError;
pub use wire::reply::Answer;

/// The mounts and the state that their handlers share. All workers use one.
#[derive(Debug)]
pub struct Api {
    state: Arc<State>,
    mounts: Vec<Mounted>,
    /// Gives refusals on application paths their shape.
    application: &'static dyn Dialect,
}

/// A mount and its dialect.
#[derive(Debug, Clone)]
pub struct Mounted {
    /// The configuration of the mount.
    pub mount: Arc<Mount>,
    /// Its dialect.
    pub dialect: &'static dyn Dialect,
}

impl Api {
    /// The API of a configuration. `dialect` finds the dialect of a name, usually [`dialects::of`].
    pub fn new(
        service: Arc<Service>,
        keys: Arc<Keys>,
        settings: Settings,
        dialect: impl Fn(DialectName) -> &'static dyn Dialect,
    ) -> Self {
        let mounts: Vec<Mounted> = settings
            .mounts
            .iter()
            .map(|mount| Mounted {
                dialect: dialect(mount.dialect),
                mount: Arc::new(mount.clone()),
            })
            .collect();
        Self {
            application: application_dialect(&mounts, dialect(DialectName::Sidegate)),
            mounts,
            state: Arc::new(State {
                service,
                keys,
                settings,
                notice: Arc::default(),
            }),
        }
    }

    /// The state that calls share.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// The warnings that are logged once. The guards share them.
    pub fn notice(&self) -> &Arc<Notice> {
        &self.state.notice
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.state.settings
    }

    /// The use cases.
    pub fn service(&self) -> &Arc<Service> {
        &self.state.service
    }

    /// The mount of a path, and the path below it. A prefix ends at the end of a segment.
    pub fn mount<'p>(&self, path: &'p str) -> Option<(&Mounted, &'p str)> {
        self.mounts.iter().find_map(|mounted| {
            let rest = path.strip_prefix(mounted.mount.prefix.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then_some((mounted, rest))
        })
    }

    /// The dialect that gives a refusal on this path its shape.
    pub fn dialect_of(&self, path: &str) -> (&'static dyn Dialect, Scope) {
        match self.mount(path) {
            Some((mounted, below)) if CheckRoute::of(mounted, below).is_some() => {
                (mounted.dialect, Scope::Check)
            }
            Some((mounted, _)) => (mounted.dialect, Scope::Mount),
            None => (self.application, Scope::Application),
        }
    }

    /// The refresh tokens of a browser whose request can renew its access token, one for each copy of the cookie.
    /// Empty where no mount delivers tokens in cookies, and for a request with `Authorization`, which a program
    /// has sent.
    pub fn renewable(&self, headers: &HeaderMap) -> Vec<SecretText> {
        let in_cookies = |mounted: &Mounted| mounted.mount.delivery == Delivery::Cookies;
        if headers.contains_key(AUTHORIZATION) || !self.mounts.iter().any(in_cookies) {
            return Vec::new();
        }
        self.state.refresh_cookies(headers)
    }

    /// Sets the cookies of new tokens in a response.
    pub fn set_tokens(&self, grant: &Grant, headers: &mut HeaderMap) {
        let now = self.state.service.now();
        let cookies = &self.state.settings.cookies;
        wire::cookie::set_tokens(headers, cookies, Delivery::Cookies, grant, now);
    }

    /// The public keys, at `/.well-known/jwks.json`.
    ///
    /// # Errors
    ///
    /// [`ApiError::MethodNotAllowed`] when the method is not GET or HEAD.
    pub fn well_known_jwks(&self, method: &Method) -> Result<Answer, ApiError> {
        match *method {
            Method::GET | Method::HEAD => Ok(self.state.jwks()),
            _ => Err(ApiError::MethodNotAllowed {
                allow: "GET, HEAD".to_owned(),
            }),
        }
    }
}

/// The dialect of application paths: that of the mounts when they have only one, otherwise the native one.
fn application_dialect(mounts: &[Mounted], native: &'static dyn Dialect) -> &'static dyn Dialect {
    let mut names = mounts.iter().map(|mounted| mounted.mount.dialect);
    let first = names.next();
    let is_only = names.all(|name| Some(name) == first);
    match mounts.first() {
        Some(mounted) if is_only => mounted.dialect,
        _ => native,
    }
}
