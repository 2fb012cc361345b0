//! What can a user see? The account and the list of sessions.

use crate::model::session::{Session, SessionKey};
use crate::model::user::{User, UserStatus};
use crate::service::Service;
use crate::service::error::AuthError;
use crate::store::{AccountStore as _, SessionStore as _};

impl Service {
    /// The live sessions of the user: the session of the request first, then newest first.
    pub async fn sessions(&self, current: &SessionKey) -> Result<Vec<Session>, AuthError> {
        let _counts = self.parts.limits.lists(current.owner.user)?;
        let mut sessions = self.parts.store.sessions(&current.owner).await?;
        sessions.sort_by_key(|session| {
            (
                session.key.id != current.id,
                std::cmp::Reverse(session.created_at),
            )
        });
        Ok(sessions)
    }

    /// The account and the session of a verified token.
    pub async fn me(&self, current: &SessionKey) -> Result<(User, Session), AuthError> {
        let user = self.parts.store.user(&current.owner).await?;
        let session = self.parts.store.session(current).await?;
        match (user, session) {
            (Some(user), Some(session)) if user.status == UserStatus::Enabled => {
                Ok((user, session))
            }
            _ => Err(AuthError::AccountClosed),
        }
    }
}
