//! How does a client list and end sessions?
//!
//! `POST /logout…`, `GET /sessions`, `DELETE /sessions/{id}`, `POST /sessions/revoke-all`.

use http::StatusCode;
use serde::Serialize;

use crate::api::call::Call;
use crate::api::error::ApiError;
use crate::api::native::login::refresh_in_body;
use crate::api::native::view::SessionView;
use crate::api::wire::body::Presence;
use crate::api::wire::reply::{self, Answer};
use crate::guard::{Denial, Reason};
use crate::service::{AuthError, IncludeCurrent};
use crate::types::ids::SessionId;

#[derive(Serialize)]
struct SessionsReply {
    sessions: Vec<SessionView>,
}

#[derive(Serialize)]
struct RevokedReply {
    revoked: usize,
}

/// Ends the session of each credential in the request: a refresh token in the body, the access token, and every
/// copy of a cookie. It is idempotent: a session that has ended is not an error, nor is a refresh token without a
/// session. An access token that ends nothing for another reason is refused, because 204 means that its session
/// has ended.
///
/// A call with a cookie must come from a page of ours, even when its body names another session: it ends the
/// session of the cookie and removes the cookies.
pub(super) async fn logout(call: Call) -> Result<Answer, ApiError> {
    if !call.has_bearer() {
        if call.has_cookie() {
            call.require_own_origin()?;
        } else {
            call.refuse_foreign_origin()?;
        }
    }
    let service = &call.state.service;
    let caller = &call.caller;
    if let Some(token) = refresh_in_body(&call)? {
        service.logout_by_refresh(token.expose(), caller).await?;
    } else {
        log_out_callers(&call).await?;
    }
    if call.uses_cookies() {
        for token in call.state.refresh_cookies(&call.headers) {
            match service.logout_by_refresh(token.expose(), caller).await {
                // A damaged cookie has no session. It is removed below.
                Ok(()) | Err(AuthError::InvalidRefreshToken) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(clear_cookies(&call, reply::empty(StatusCode::NO_CONTENT)))
}

/// Ends the session of each access token in the request.
async fn log_out_callers(call: &Call) -> Result<(), ApiError> {
    let service = &call.state.service;
    let now = service.now();
    let callers = call.guard.everybody(&call.headers, now).await?;
    for identity in &callers {
        let caller = &call.caller;
        service.logout(&identity.session, caller).await?;
    }
    if !callers.is_empty() {
        return Ok(());
    }
    match call.guard.identify(&call.headers, now).await {
        // The cookies are removed, as requested.
        _ if call.uses_cookies() && !call.has_bearer() => Ok(()),
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(ApiError::Denied(Denial::missing())),
        Err(denial) if denial.reason() == Reason::Ended => Ok(()),
        Err(denial) => Err(denial.into()),
    }
}

/// Ends all sessions of the caller, including the current one.
pub(super) async fn logout_all(call: Call) -> Result<Answer, ApiError> {
    let identity = call.identity_for_write().await?;
    call.json(Presence::Optional)?.finish()?;
    let caller = &call.caller;
    let service = &call.state.service;
    let revoked = service
        .end_sessions(&identity.session, IncludeCurrent::Yes, caller)
        .await?;
    Ok(clear_cookies(
        &call,
        reply::json(StatusCode::OK, &RevokedReply { revoked })?,
    ))
}

pub(super) async fn list(call: Call) -> Result<Answer, ApiError> {
    let identity = call.identity().await?;
    let sessions = call.state.service.sessions(&identity.session).await?;
    let view = |session| SessionView::of(session, identity.session.id, &call.state);
    let sessions = sessions.iter().map(view).collect();
    reply::json(StatusCode::OK, &SessionsReply { sessions })
}

pub(super) async fn end(call: Call) -> Result<Answer, ApiError> {
    let id = session_id(&call.path)?;
    let identity = call.identity_for_write().await?;
    let owner = &identity.session.owner;
    call.state
        .service
        .end_session(owner, id, &call.caller)
        .await?;
    let answer = reply::empty(StatusCode::NO_CONTENT);
    Ok(if id == identity.session.id {
        clear_cookies(&call, answer)
    } else {
        answer
    })
}

pub(super) async fn revoke_all(call: Call) -> Result<Answer, ApiError> {
    let identity = call.identity_for_write().await?;
    let mut fields = call.json(Presence::Optional)?;
    let include = if fields.flag("includeCurrent")? {
        IncludeCurrent::Yes
    } else {
        IncludeCurrent::No
    };
    fields.finish()?;
    let service = &call.state.service;
    let revoked = service
        .end_sessions(&identity.session, include, &call.caller)
        .await?;
    let answer = reply::json(StatusCode::OK, &RevokedReply { revoked })?;
    Ok(if include == IncludeCurrent::Yes {
        clear_cookies(&call, answer)
    } else {
        answer
    })
}

/// Removes the tokens from the browser. It keeps its device id, because it is the same device.
fn clear_cookies(call: &Call, mut answer: Answer) -> Answer {
    if call.uses_cookies() {
        let cookies = &call.state.settings.cookies;
        call.copies().remove_tokens(answer.headers_mut(), cookies);
    }
    answer
}

/// The id in `/sessions/{id}`. A segment that is not an id belongs to no session.
fn session_id(path: &str) -> Result<SessionId, ApiError> {
    let last = path.rsplit('/').next().unwrap_or_default();
    last.parse()
        .map_err(|_| ApiError::Auth(AuthError::SessionNotFound))
}
