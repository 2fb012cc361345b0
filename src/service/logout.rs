//! Ending sessions: this one, another one, the others, all.

use crate::crypto::refresh::Presented;
use crate::model::audit::AuditAction;
use crate::model::revocation::{Revocation, Verdict};
use crate::model::session::{EndReason, SessionKey};
use crate::model::user::UserKey;
use crate::service::Service;
use crate::service::audit::Entry;
use crate::service::caller::Caller;
use crate::service::error::AuthError;
use crate::store::{Scope, SessionStore as _};
use crate::telemetry::metrics::Event;
use crate::types::ids::SessionId;

impl Service {
    /// Logs this session out. Idempotent: a session that is over already is no mistake.
    pub async fn logout(&self, session: &SessionKey, caller: &Caller) -> Result<(), AuthError> {
        self.end(Scope::One(session.clone()), EndReason::LoggedOut, caller)
            .await?;
        Ok(())
    }

    /// Logs out by refresh token. One that could be ours, but whose session is over or unknown,
    /// changes nothing; what cannot be a refresh token is refused.
    pub async fn logout_by_refresh(&self, token: &str, caller: &Caller) -> Result<(), AuthError> {
        if Presented::parse(token).is_err() {
            return Err(AuthError::InvalidRefreshToken);
        }
        if let Some((_, session)) = self.authentic_refresh(token).await? {
            self.logout(&session.key, caller).await?;
        }
        Ok(())
    }

    /// Ends one of the user's own sessions. Another user's and an unknown id are the same
    /// [`AuthError::SessionNotFound`].
    pub async fn end_session(
        &self,
        user: &UserKey,
        id: SessionId,
        caller: &Caller,
    ) -> Result<(), AuthError> {
        let _counts = self.parts.limits.lists(user.user)?;
        let key = SessionKey {
            owner: user.clone(),
            id,
        };
        if self.parts.store.session(&key).await?.is_none() {
            return Err(AuthError::SessionNotFound);
        }
        self.end(Scope::One(key), EndReason::Revoked, caller)
            .await?;
        Ok(())
    }

    /// Ends the user's other sessions, or all of them. Returns how many.
    pub async fn end_sessions(
        &self,
        current: &SessionKey,
        include_current: IncludeCurrent,
        caller: &Caller,
    ) -> Result<usize, AuthError> {
        let _counts = self.parts.limits.lists(current.owner.user)?;
        let scope = match include_current {
            IncludeCurrent::Yes => Scope::AllOf(current.owner.clone()),
            IncludeCurrent::No => Scope::AllExcept(current.owner.clone(), current.id),
        };
        self.end(scope, EndReason::Revoked, caller).await
    }

    async fn end(&self, scope: Scope, why: EndReason, caller: &Caller) -> Result<usize, AuthError> {
        let ended = self.parts.store.end(&scope, why).await?;
        self.note_ends(scope.owner(), &ended, why, By::Caller(caller));
        Ok(ended.len())
    }

    /// Tells the audit log and the numbers about sessions that ended.
    pub(super) fn note_ends(
        &self,
        owner: &UserKey,
        revocations: &[Revocation],
        why: EndReason,
        by: By<'_>,
    ) {
        for revocation in revocations.iter().filter(|r| r.verdict == Verdict::Ended) {
            let key = SessionKey {
                owner: owner.clone(),
                id: revocation.session,
            };
            let (now, action) = (self.now(), AuditAction::SessionEnd);
            let entry = match by {
                By::Caller(caller) => Entry::by_caller(now, action, why.as_str(), caller),
                By::Operator => Entry::by_operator(now, action, why.as_str()),
            };
            self.parts.audit.record(entry.of(&key).done());
            self.parts.events.count(Event::SessionEnded);
        }
    }
}

/// Who ended sessions.
#[derive(Debug, Clone, Copy)]
pub(super) enum By<'a> {
    /// The person at the other end of a request.
    Caller(&'a Caller),
    /// An operator.
    Operator,
}

/// Whether "all sessions" means the asking one too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncludeCurrent {
    /// All of them.
    Yes,
    /// All but the one that asks.
    No,
}
