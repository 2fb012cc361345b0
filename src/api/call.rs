//! What does a handler receive?
//!
//! A [`Call`] owns everything: a call that changes something is completed even if its client disconnects.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::api::error::ApiError;
use crate::api::settings::{Delivery, Mount};
use crate::api::state::State;
use crate::api::wire::body::{self, Presence};
use crate::api::wire::copies::Copies;
use crate::api::wire::csrf;
use crate::api::wire::fields::Fields;
use crate::guard::{Denial, Guard, Identity, extract};
use crate::service::Caller;
use crate::service::activity::{Activity, Note};
use crate::types::origin::Origin;

/// One request of a mount's client.
pub struct Call {
    /// The shared state.
    pub state: Arc<State>,
    /// The guard of the worker.
    pub guard: Arc<Guard>,
    /// The mount.
    pub mount: Arc<Mount>,
    /// The method.
    pub method: Method,
    /// The path below the mount's prefix, such as `/sessions`.
    pub path: String,
    /// The query, without `?`.
    pub query: Option<String>,
    /// The header lines.
    pub headers: HeaderMap,
    /// The body, at most `limits.body` bytes. Empty for methods without one.
    pub body: Bytes,
    /// The client.
    pub caller: Caller,
    /// The origin that the client called.
    pub origin: Origin,
    /// Where the activity of the session is recorded.
    pub activity: Activity,
}

/// Without the body, the headers and the query, which may hold passwords and tokens.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Call {
    /// The identity of the caller.
    ///
    /// # Errors
    ///
    /// [`ApiError::Denied`] without a valid access token.
    pub async fn identity(&self) -> Result<Arc<Identity>, ApiError> {
        let now = self.state.service.now();
        let identity = self
            .guard
            .identify(&self.headers, now)
            .await?
            .ok_or(ApiError::Denied(Denial::missing()))?;
        if identity.is_due(now, self.activity.every()) {
            self.activity.note(Note {
                session: identity.session.clone(),
                address: self.caller.address,
            });
        }
        Ok(identity)
    }

    /// The identity of the caller, for a call that changes something. When a cookie authenticates the call, it
    /// must come from a page of ours.
    ///
    /// # Errors
    ///
    /// As [`Call::identity`], and [`ApiError::CrossSite`].
    pub async fn identity_for_write(&self) -> Result<Arc<Identity>, ApiError> {
        let identity = self.identity().await?;
        if !self.has_bearer() {
            self.require_own_origin()?;
        }
        Ok(identity)
    }

    /// Whether the token is in `Authorization`, which no browser sends by itself.
    pub fn has_bearer(&self) -> bool {
        extract::shows_bearer(&self.headers)
    }

    /// Refuses a call that is not known to come from a page of ours.
    ///
    /// # Errors
    ///
    /// [`ApiError::CrossSite`].
    pub fn require_own_origin(&self) -> Result<(), ApiError> {
        match self.source() {
            csrf::Source::Own => Ok(()),
            csrf::Source::Foreign | csrf::Source::Unknown => Err(ApiError::CrossSite),
        }
    }

    /// Refuses a call whose response sets cookies, if it is known to come from a foreign page. A client that
    /// does not name its page is not a browser. A call that uses cookies needs more:
    /// [`Call::require_own_origin`].
    ///
    /// # Errors
    ///
    /// [`ApiError::CrossSite`].
    pub fn refuse_foreign_origin(&self) -> Result<(), ApiError> {
        match self.source() {
            csrf::Source::Foreign if self.uses_cookies() => Err(ApiError::CrossSite),
            csrf::Source::Own | csrf::Source::Foreign | csrf::Source::Unknown => Ok(()),
        }
    }

    fn source(&self) -> csrf::Source {
        csrf::source(
            &self.headers,
            &self.origin,
            &self.mount,
            &self.state.settings,
        )
    }

    /// Whether the request has a cookie that this mount acts on, valid or not.
    pub fn has_cookie(&self) -> bool {
        let cookies = &self.state.settings.cookies;
        let is_sent = |name| extract::copies(&self.headers, name).map_or(true, |c| !c.is_empty());
        is_sent(&cookies.access) || (self.uses_cookies() && is_sent(&cookies.refresh))
    }

    /// The copies of our cookies that the browser may hold.
    pub fn copies(&self) -> Copies {
        let cookies = &self.state.settings.cookies;
        Copies::sent(&self.headers, cookies, self.origin.host())
    }

    /// Whether the mount delivers tokens in cookies.
    pub fn uses_cookies(&self) -> bool {
        self.mount.delivery != Delivery::Json
    }

    /// The body as one JSON object.
    ///
    /// # Errors
    ///
    /// When it is not one, or when the content type is not JSON.
    pub fn json(&self, presence: Presence) -> Result<Fields, ApiError> {
        body::object(&self.headers, &self.body, presence)
    }
}
