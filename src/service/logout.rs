//! How does a session end on request? This one, another one of the user, the others, or all.

use crate::crypto::refresh::Presented;
use crate::model::audit::AuditAction;
use crate::model::revocation::{Revocation, RevocationEffect};
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
    /// Ends this session. Idempotent: if the session has ended already, this is not an error.
    pub async fn logout(&self, session: &SessionKey, caller: &Caller) -> Result<(), AuthError> {
        self.end(Scope::One(session.clone()), EndReason::LoggedOut, caller)
            .await?;
        Ok(())
    }

    /// Logs out by refresh token. A well-formed token whose session has ended or is unknown changes
    /// nothing. Anything else is refused.
    pub async fn logout_by_refresh(&self, token: &str, caller: &Caller) -> Result<(), AuthError> {
        if Presented::parse(token).is_err() {
            return Err(AuthError::InvalidRefreshToken);
        }
        if let Some((_, session)) = self.authentic_refresh(token).await? {
            self.logout(&session.key, caller).await?;
        }
        Ok(())
    }

    /// Ends one of the sessions of the user. The id of a session of another user is
    /// [`AuthError::SessionNotFound`], like an unknown id.
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

    /// Ends the other sessions of the user, or all of them. Returns their number.
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

    /// Records the end of sessions in the audit log and the metrics.
    pub(super) fn note_ends(
        &self,
        owner: &UserKey,
        revocations: &[Revocation],
        why: EndReason,
        by: By<'_>,
    ) {
        for revocation in revocations
            .iter()
            .filter(|r| r.effect == RevocationEffect::Ended)
        {
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

/// The origin of an end of sessions.
#[derive(Debug, Clone, Copy)]
pub(super) enum By<'a> {
    /// The client of a request.
    Caller(&'a Caller),
    /// An operator.
    Operator,
}

/// Whether "all sessions" includes the session of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncludeCurrent {
    /// It does.
    Yes,
    /// It does not.
    No,
}
