//! How are an operator's commands about sessions executed?

use crate::control::reply::Reply;
use crate::control::request::SessionsToEnd;
use crate::model::session::SessionKey;
use crate::process::control::outcome::{page, text};
use crate::process::control::users::find;
use crate::process::control::view;
use crate::service::Service;
use crate::types::named::Named;

pub(crate) async fn list(
    service: &Service,
    user: Option<Named>,
    after: Option<SessionKey>,
    limit: u32,
) -> Result<Reply, String> {
    let owner = match &user {
        Some(user) => Some(find(service, user).await?.key),
        None => None,
    };
    let limit = page(limit);
    let asked = service
        .operator_sessions(owner.as_ref(), after.clone(), limit + 1)
        .await;
    let mut sessions = asked.map_err(text)?;
    if let (Some(_), Some(after)) = (&owner, after) {
        // The sessions of one user are read as a whole; the page begins after the last one of the previous
        // page.
        let last = sessions.iter().position(|session| session.key == after);
        sessions.drain(..last.map_or(0, |last| last + 1));
    }
    let more = sessions.len() > limit;
    sessions.truncate(limit);
    let last = sessions.last().map(|session| session.key.clone());
    let mut views = Vec::with_capacity(sessions.len());
    for session in &sessions {
        let owner = Named::Id(session.key.owner.user);
        let user = service.operator_find(&owner).await.map_err(text)?;
        views.push(view::session(session, user.as_ref()));
    }
    Ok(Reply::Sessions {
        sessions: views,
        next: last.filter(|_| more),
    })
}

pub(crate) async fn end(service: &Service, which: SessionsToEnd) -> Result<Reply, String> {
    let ended = match which {
        SessionsToEnd::Id(id) => service.operator_end_session(id).await,
        SessionsToEnd::User(user) => {
            let user = find(service, &user).await?;
            service.operator_end_user(&user.key).await
        }
        SessionsToEnd::All => {
            let all = service.operator_end_all().await.map_err(text)?;
            return Ok(Reply::Ending(view::ending(all)));
        }
    };
    ended.map(|count| Reply::Ended(count as u64)).map_err(text)
}

pub(crate) async fn clear(service: &Service) -> Result<Reply, String> {
    let all = service.operator_clear_ended().await.map_err(text)?;
    let none = || "the sessions were never ended all at once".to_owned();
    Ok(Reply::Ending(view::ending(all.ok_or_else(none)?)))
}
