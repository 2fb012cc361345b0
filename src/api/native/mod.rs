//! The native dialect: the routes of `docs/api.md`, JSON in and out.
//!
//! [`ROUTES`] is the whole table; a test holds it equal to the OpenAPI document.

mod account;
mod login;
mod public;
mod session;
mod verify;
mod view;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;

use crate::api::error::ApiError;
use crate::api::settings::Delivery;
use crate::api::wire::copies::Copies;
use crate::api::wire::fields::Fields;
use crate::api::wire::{body, csrf};
use crate::api::{Answer, Api, Call};
use crate::guard::{Denial, Guard, Identity, extract};
use crate::service::AuthError;
use crate::service::activity::Note;
use crate::types::ids::SessionId;

pub(super) use verify::admitted;
pub use verify::{CheckRoute, VERIFY};

/// One route of the native dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path below the mount; `{id}` stands for one segment.
    pub path: &'static str,
    endpoint: Endpoint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Signup,
    Login,
    Refresh,
    Logout,
    LogoutAll,
    Me,
    Sessions,
    EndSession,
    RevokeAll,
    Password,
    Verify,
    Jwks,
    OpenApi,
    Health,
}

const fn route(method: &'static str, path: &'static str, endpoint: Endpoint) -> Route {
    Route {
        method,
        path,
        endpoint,
    }
}

/// Every route of the native dialect.
pub const ROUTES: &[Route] = &[
    route("POST", "/signup", Endpoint::Signup),
    route("POST", "/login", Endpoint::Login),
    route("POST", "/refresh", Endpoint::Refresh),
    route("POST", "/logout", Endpoint::Logout),
    route("POST", "/logout/session", Endpoint::Logout),
    route("POST", "/logout/all", Endpoint::LogoutAll),
    route("GET", "/me", Endpoint::Me),
    route("GET", "/sessions", Endpoint::Sessions),
    route("DELETE", "/sessions/{id}", Endpoint::EndSession),
    route("POST", "/sessions/revoke-all", Endpoint::RevokeAll),
    route("POST", "/password", Endpoint::Password),
    route("GET", VERIFY, Endpoint::Verify),
    route("GET", "/jwks.json", Endpoint::Jwks),
    route("GET", "/openapi.json", Endpoint::OpenApi),
    route("GET", "/health", Endpoint::Health),
];

/// Answers a call of a native mount.
pub(super) async fn handle<B>(
    api: &Api,
    guard: &Guard,
    call: &Call,
    request: Request<B>,
) -> Result<Answer, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
    B::Error: std::fmt::Display,
{
    let endpoint = find(request.method(), &call.path)?;
    let (parts, body) = request.into_parts();
    let asked = Asked {
        api,
        guard,
        call,
        headers: &parts.headers,
    };
    match endpoint {
        Endpoint::Signup => account::signup(&asked, body).await,
        Endpoint::Login => login::login(&asked, body).await,
        Endpoint::Refresh => login::refresh(&asked, body).await,
        Endpoint::Logout => session::logout(&asked, body).await,
        Endpoint::LogoutAll => session::logout_all(&asked, body).await,
        Endpoint::Me => account::me(&asked).await,
        Endpoint::Sessions => session::list(&asked).await,
        Endpoint::EndSession => session::end(&asked, session_id(&call.path)?).await,
        Endpoint::RevokeAll => session::revoke_all(&asked, body).await,
        Endpoint::Password => account::password(&asked, body).await,
        Endpoint::Verify => verify::verify(&asked).await,
        Endpoint::Jwks => Ok(api.jwks()),
        Endpoint::OpenApi => Ok(public::openapi()),
        Endpoint::Health => public::health(),
    }
}

/// Answers `OPTIONS`: which methods a route has. Where gateways ask, a success is leave to pass, so
/// there it is a method like any other that the route has not.
pub(super) fn options(call: &Call) -> Result<Answer, ApiError> {
    let allow = allow(pattern(&call.path).ok_or(ApiError::NotFound)?);
    if call.path == VERIFY {
        return Err(ApiError::MethodNotAllowed { allow });
    }
    let mut answer = Answer::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(value) = HeaderValue::from_str(&allow) {
        answer.headers_mut().insert(header::ALLOW, value);
    }
    Ok(answer)
}

/// One call, as the endpoints see it.
struct Asked<'a> {
    api: &'a Api,
    guard: &'a Guard,
    call: &'a Call,
    headers: &'a HeaderMap,
}

impl Asked<'_> {
    /// Who is calling; refused when nobody good is.
    async fn caller(&self) -> Result<Arc<Identity>, ApiError> {
        let now = self.api.service.now();
        let identity = self
            .guard
            .identify(self.headers, now)
            .await?
            .ok_or(ApiError::Denied(Denial::missing()))?;
        let activity = &self.call.activity;
        if identity.is_due(now, activity.every()) {
            activity.note(Note {
                session: identity.session.clone(),
                address: self.call.caller.address,
            });
        }
        Ok(identity)
    }

    /// Who is calling, for a call that changes something: what a cookie carries needs proof that
    /// our own page sent it.
    async fn writer(&self) -> Result<Arc<Identity>, ApiError> {
        let identity = self.caller().await?;
        if !self.shows_bearer() {
            csrf::check(self.call, self.headers, &self.api.settings)?;
        }
        Ok(identity)
    }

    /// Whether the token came in the header, which no browser sends by itself.
    fn shows_bearer(&self) -> bool {
        extract::shows_bearer(self.headers)
    }

    /// Refuses a call whose answer sets cookies when it is known to come from a foreign page. Whatever
    /// uses cookies asks for more ([`Asked::writer`]).
    fn may_set_cookies(&self) -> Result<(), ApiError> {
        if self.uses_cookies() {
            csrf::check_told(self.call, self.headers, &self.api.settings)?;
        }
        Ok(())
    }

    /// Whether a cookie of ours that this mount acts by is there, in whatever state.
    fn shows_cookie(&self) -> bool {
        let cookies = &self.api.settings.cookies;
        let is_sent = |name| extract::copies(self.headers, name).map_or(true, |c| !c.is_empty());
        is_sent(&cookies.access) || (self.uses_cookies() && is_sent(&cookies.refresh))
    }

    /// The copies of our cookies that the browser may hold.
    fn copies(&self) -> Copies {
        Copies::sent(self.headers, &self.api.settings.cookies, &self.call.host)
    }

    /// Whether tokens travel in cookies on this mount.
    fn uses_cookies(&self) -> bool {
        self.call.mount.delivery != Delivery::Json
    }

    /// The body as one JSON object.
    async fn object<B>(&self, body: B, presence: body::Presence) -> Result<Fields, ApiError>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        body::object(self.headers, body, self.api.settings.max_body, presence).await
    }
}

fn find(method: &Method, path: &str) -> Result<Endpoint, ApiError> {
    // HEAD is answered like GET; hyper leaves the body out.
    let asked = if *method == Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    let pattern = pattern(path).ok_or(ApiError::NotFound)?;
    let found = ROUTES
        .iter()
        .find(|route| route.method == asked && route.path == pattern);
    match found {
        Some(route) => Ok(route.endpoint),
        None => Err(ApiError::MethodNotAllowed {
            allow: allow(pattern),
        }),
    }
}

/// The pattern that a path falls under. One without `{id}` comes first: `/sessions/revoke-all` is
/// no session's path.
fn pattern(path: &str) -> Option<&'static str> {
    let fitting = || ROUTES.iter().map(|route| route.path);
    fitting()
        .find(|pattern| *pattern == path)
        .or_else(|| fitting().find(|pattern| matches(pattern, path)))
}

/// What `Allow` says about the paths of a pattern.
fn allow(pattern: &str) -> String {
    let mut methods: Vec<&str> = ROUTES
        .iter()
        .filter(|route| route.path == pattern)
        .map(|r| r.method)
        .collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    if pattern != VERIFY {
        methods.push("OPTIONS");
    }
    methods.join(", ")
}

/// Whether a path is what a route's pattern says, segment by segment.
fn matches(pattern: &str, path: &str) -> bool {
    let mut wanted = pattern.split('/');
    let mut given = path.split('/');
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some("{id}"), Some(segment)) if !segment.is_empty() => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

/// The id in `/sessions/{id}`. Something that is no id is nobody's session.
fn session_id(path: &str) -> Result<SessionId, ApiError> {
    let last = path.rsplit('/').next().unwrap_or_default();
    last.parse()
        .map_err(|_| ApiError::Auth(AuthError::SessionNotFound))
}
