//! How is a refresh token exchanged for a new access token and its successor?
//!
//! The MAC is checked before anything is written, so an invalid token costs one read and cannot affect a
//! session. Then the store decides in one atomic step by `rules::rotation`, and this file acts on the
//! outcome.

use crate::crypto::refresh::Presented;
use crate::model::audit::AuditAction;
use crate::model::session::{EndReason, Generation, Session, SessionKey};
use crate::model::user::UserStatus;
use crate::service::Service;
use crate::service::audit::Entry;
use crate::service::caller::Caller;
use crate::service::error::AuthError;
use crate::service::grant::Grant;
use crate::store::{
    AccountStore as _, RotatePolicy, Rotation, Route, Scope, Seen, SessionStore as _,
};
use crate::telemetry::metrics::Event;
use crate::types::secret::SecretText;

impl Service {
    /// Exchanges a refresh token. Safe to repeat: within the grace the same token returns the same
    /// successor.
    pub async fn refresh(&self, token: &str, caller: &Caller) -> Result<Grant, AuthError> {
        let Some((presented, session)) = self.authentic_refresh(token).await? else {
            self.parts.events.count(Event::RefreshRefused);
            return Err(AuthError::InvalidRefreshToken);
        };
        // Tabs that refresh at the same time present one generation, which counts once.
        self.count_refresh(session.key.id, presented.generation)?;
        let policy = self.parts.settings.rotation;
        self.rotate(session.key, presented.generation, policy, caller)
            .await
    }

    /// Chooses among several refresh cookies: the only one, or the one that verifies. If several verify for one
    /// session, the newest is used, because an older one would count as stolen. If they are for different
    /// sessions, none is used.
    pub async fn choose_refresh(
        &self,
        mut copies: Vec<SecretText>,
    ) -> Result<SecretText, AuthError> {
        if copies.len() < 2 {
            return copies.pop().ok_or(AuthError::InvalidRefreshToken);
        }
        let mut chosen: Option<(Presented, SecretText)> = None;
        for copy in copies {
            let Some((presented, _)) = self.authentic_refresh(copy.expose()).await? else {
                continue;
            };
            match &chosen {
                Some((other, _)) if other.session != presented.session => {
                    return Err(AuthError::InvalidRefreshToken);
                }
                Some((other, _)) if other.generation >= presented.generation => {}
                Some(_) | None => chosen = Some((presented, copy)),
            }
        }
        let chosen = chosen.ok_or(AuthError::InvalidRefreshToken)?;
        Ok(chosen.1)
    }

    /// Presents an authentic generation to the store and acts on the outcome.
    pub(super) async fn rotate(
        &self,
        key: SessionKey,
        presented: Generation,
        policy: RotatePolicy,
        caller: &Caller,
    ) -> Result<Grant, AuthError> {
        let seen = Seen {
            address: caller.address,
        };
        let rotation = self
            .parts
            .store
            .rotate(&key, presented, policy, seen)
            .await?;
        let (rotated, outcome, event) = match rotation {
            Rotation::Rotated(session) => (session, "rotated", Event::RefreshRotated),
            Rotation::Replayed(session) => (session, "replayed", Event::RefreshReplayed),
            Rotation::Ahead { session, lost } => {
                tracing::warn!(session = %session.key.id, lost, "the store had lost rotations");
                (session, "ahead", Event::RefreshAhead)
            }
            Rotation::Reused(_) => {
                tracing::warn!(session = %key.id, "a refresh token was used twice: its session has ended");
                self.parts.events.count(Event::RefreshReused);
                let entry = Entry::by_caller(self.now(), AuditAction::Reuse, "ended", caller);
                self.parts.audit.record(entry.of(&key).done());
                return Err(AuthError::InvalidRefreshToken);
            }
            Rotation::Expired | Rotation::Gone => return Err(AuthError::InvalidRefreshToken),
        };
        let grant = self.fresh_tokens(rotated).await?;
        self.parts.events.count(event);
        let entry = Entry::by_caller(self.now(), AuditAction::Refresh, outcome, caller);
        let record = entry.of(&grant.session.key).done();
        if event == Event::RefreshAhead {
            self.parts.audit.record(record);
        } else {
            self.parts.audit.refreshed(record);
        }
        Ok(grant)
    }

    /// The session of a refresh token, if the token is valid: parsed, found, and its MAC verified.
    /// `None` for every other token, without a reason.
    pub(super) async fn authentic_refresh(
        &self,
        token: &str,
    ) -> Result<Option<(Presented, Session)>, AuthError> {
        let Ok(presented) = Presented::parse(token) else {
            return Ok(None);
        };
        let route = Route(presented.route);
        let found = self
            .parts
            .store
            .session_by_route(route, presented.session)
            .await?;
        let keys = self.parts.keys.refresh();
        Ok(found
            .filter(|session| keys.verify(&presented, session))
            .map(|session| (presented, session)))
    }

    /// New tokens with the present claims of the account.
    pub(super) async fn fresh_tokens(&self, session: Session) -> Result<Grant, AuthError> {
        let user = self.parts.store.user(&session.key.owner).await?;
        match user {
            Some(user) if user.status == UserStatus::Enabled => self.tokens(session, user),
            // Closing an account ends its sessions in the same step, so this is only a race.
            Some(_) | None => {
                let scope = Scope::One(session.key);
                let _ended = self
                    .parts
                    .store
                    .end(&scope, EndReason::AccountClosed)
                    .await?;
                Err(AuthError::InvalidRefreshToken)
            }
        }
    }
}
