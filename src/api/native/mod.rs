//! Which routes does the native dialect have?
//!
//! [`ROUTES`] is the whole table; a test compares it with the OpenAPI document. `docs/api.md` describes them.

mod account;
mod login;
mod public;
mod session;
mod view;

use crate::api::call::Call;
use crate::api::check::permitted;
use crate::api::dialect::{Dialect, Handler, Route};
use crate::api::error::ApiError;
use crate::api::wire::reply::Answer;

/// The native dialect: JSON in and out, refusals as in RFC 9457.
#[derive(Debug, Clone, Copy)]
pub struct Native;

impl Dialect for Native {
    fn routes(&self) -> &'static [Route] {
        ROUTES
    }

    fn check_path(&self) -> Option<&'static str> {
        Some(VERIFY)
    }
}

/// The route where gateways ask.
pub const VERIFY: &str = "/verify";

/// Every route of the native dialect.
pub const ROUTES: &[Route] = &[
    route("POST", "/signup", |call| Box::pin(account::signup(call))),
    route("POST", "/login", |call| Box::pin(login::login(call))),
    route("POST", "/refresh", |call| Box::pin(login::refresh(call))),
    route("POST", "/logout", |call| Box::pin(session::logout(call))),
    route("POST", "/logout/session", |call| {
        Box::pin(session::logout(call))
    }),
    route("POST", "/logout/all", |call| {
        Box::pin(session::logout_all(call))
    }),
    route("GET", "/me", |call| Box::pin(account::me(call))),
    route("GET", "/sessions", |call| Box::pin(session::list(call))),
    route("DELETE", "/sessions/{id}", |call| {
        Box::pin(session::end(call))
    }),
    route("POST", "/sessions/revoke-all", |call| {
        Box::pin(session::revoke_all(call))
    }),
    route("POST", "/password", |call| {
        Box::pin(account::password(call))
    }),
    route("GET", VERIFY, |call| Box::pin(verify(call))),
    route("GET", "/jwks.json", |call| {
        Box::pin(async move { Ok(call.state.jwks()) })
    }),
    route("GET", "/openapi.json", |_| {
        Box::pin(async { Ok(public::openapi()) })
    }),
    route("GET", "/health", |_| Box::pin(async { public::health() })),
];

const fn route(method: &'static str, path: &'static str, handler: Handler) -> Route {
    Route {
        method,
        path,
        handler,
    }
}

/// `GET /verify` about the request itself: 200 with the identity headers of the caller.
async fn verify(call: Call) -> Result<Answer, ApiError> {
    let identity = call.identity().await?;
    identity.assert(call.state.service.now())?;
    Ok(permitted(Some(&identity)))
}
