//! How is the outcome of a command expressed for an operator?

use crate::control::reply::Reply;
use crate::service::AuthError;
use crate::types::named::Named;

/// The most entries of one listing.
const MAX_PAGE: usize = 1_000;

/// The full text of an error: an operator may see every reason.
pub(crate) fn text(error: AuthError) -> String {
    match error {
        AuthError::Busy { .. } => "the server is busy hashing passwords; try again".to_owned(),
        other => other.to_string(),
    }
}

pub(crate) fn no_user(user: &Named) -> String {
    format!("there is no user {user}; `sidegate users list` shows all")
}

pub(crate) fn no_server() -> Reply {
    Reply::Failed("no server is running".to_owned())
}

/// The number of entries of a page.
pub(crate) fn page(limit: u32) -> usize {
    usize::try_from(limit)
        .unwrap_or(MAX_PAGE)
        .clamp(1, MAX_PAGE)
}
