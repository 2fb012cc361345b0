//! `POST /logout…`, `GET /sessions`, `DELETE /sessions/{id}`, `POST /sessions/revoke-all`.

use bytes::Bytes;
use http::StatusCode;
use http_body::Body;
use serde::Serialize;

use crate::api::Answer;
use crate::api::error::ApiError;
use crate::api::native::Asked;
use crate::api::native::login::shown_refresh;
use crate::api::native::view::SessionView;
use crate::api::wire::body::Presence;
use crate::api::wire::{csrf, reply};
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

/// Ends the session of whatever is shown: a refresh token in the body, the access token, or a cookie, each
/// copy of it. Idempotent: a session that is over already is no mistake, and neither is a refresh token
/// that speaks of none. An access token that ends nothing for another reason is refused, because
/// 204 would say that its session is over.
///
/// A call that a cookie of ours comes with has to be shown to come from a page of ours, also when its
/// body names another session: the cookie's session would end and the cookies would be removed.
pub(super) async fn logout<B>(asked: &Asked<'_>, body: B) -> Result<Answer, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    if !asked.shows_bearer() {
        if asked.shows_cookie() {
            csrf::check(asked.call, asked.headers, &asked.api.settings)?;
        } else {
            asked.may_set_cookies()?;
        }
    }
    let service = &asked.api.service;
    let caller = &asked.call.caller;
    if let Some(token) = shown_refresh(asked, body).await? {
        service.logout_by_refresh(token.expose(), caller).await?;
    } else {
        log_out_callers(asked).await?;
    }
    if asked.uses_cookies() {
        for token in asked.api.refresh_cookies(asked.headers) {
            match service.logout_by_refresh(token.expose(), caller).await {
                // A damaged cookie names no session, and the browser forgets it below.
                Ok(()) | Err(AuthError::InvalidRefreshToken) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(forget_cookies(asked, reply::empty(StatusCode::NO_CONTENT)))
}

/// Ends the session of each access token that is shown.
async fn log_out_callers(asked: &Asked<'_>) -> Result<(), ApiError> {
    let service = &asked.api.service;
    let now = service.now();
    let callers = asked.guard.everybody(asked.headers, now).await?;
    for identity in &callers {
        let caller = &asked.call.caller;
        service.logout(&identity.session, caller).await?;
    }
    if !callers.is_empty() {
        return Ok(());
    }
    match asked.guard.identify(asked.headers, now).await {
        // The browser forgets the cookies: that is what it asked for.
        _ if asked.uses_cookies() && !asked.shows_bearer() => Ok(()),
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(ApiError::Denied(Denial::missing())),
        Err(denial) if denial.reason() == Reason::Ended => Ok(()),
        Err(denial) => Err(denial.into()),
    }
}

/// Ends all sessions of the caller, this one too.
pub(super) async fn logout_all<B>(asked: &Asked<'_>, body: B) -> Result<Answer, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let identity = asked.writer().await?;
    asked.object(body, Presence::Optional).await?.finish()?;
    let caller = &asked.call.caller;
    let service = &asked.api.service;
    let revoked = service
        .end_sessions(&identity.session, IncludeCurrent::Yes, caller)
        .await?;
    Ok(forget_cookies(
        asked,
        reply::json(StatusCode::OK, &RevokedReply { revoked })?,
    ))
}

pub(super) async fn list(asked: &Asked<'_>) -> Result<Answer, ApiError> {
    let identity = asked.caller().await?;
    let sessions = asked.api.service.sessions(&identity.session).await?;
    let view = |session| SessionView::of(session, identity.session.id, asked.api);
    let sessions = sessions.iter().map(view).collect();
    reply::json(StatusCode::OK, &SessionsReply { sessions })
}

pub(super) async fn end(asked: &Asked<'_>, id: SessionId) -> Result<Answer, ApiError> {
    let identity = asked.writer().await?;
    let owner = &identity.session.owner;
    asked
        .api
        .service
        .end_session(owner, id, &asked.call.caller)
        .await?;
    let answer = reply::empty(StatusCode::NO_CONTENT);
    Ok(if id == identity.session.id {
        forget_cookies(asked, answer)
    } else {
        answer
    })
}

pub(super) async fn revoke_all<B>(asked: &Asked<'_>, body: B) -> Result<Answer, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let identity = asked.writer().await?;
    let mut fields = asked.object(body, Presence::Optional).await?;
    let include = if fields.flag("includeCurrent")? {
        IncludeCurrent::Yes
    } else {
        IncludeCurrent::No
    };
    fields.finish()?;
    let service = &asked.api.service;
    let revoked = service
        .end_sessions(&identity.session, include, &asked.call.caller)
        .await?;
    let answer = reply::json(StatusCode::OK, &RevokedReply { revoked })?;
    Ok(if include == IncludeCurrent::Yes {
        forget_cookies(asked, answer)
    } else {
        answer
    })
}

/// Tells the browser to drop our tokens. The device keeps its id: it is the same device.
fn forget_cookies(asked: &Asked<'_>, mut answer: Answer) -> Answer {
    if asked.uses_cookies() {
        let cookies = &asked.api.settings.cookies;
        asked.copies().remove_tokens(answer.headers_mut(), cookies);
    }
    answer
}
