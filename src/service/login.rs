//! Log-in with a password.
//!
//! The caller learns one of two things: here are your tokens, or no. Unknown account, wrong
//! password, locked and disabled read alike, take the same work (one hash, one counter write) and
//! are told apart in the audit log only.

use crate::crypto::password::Verified;
use crate::model::audit::AuditAction;
use crate::model::session::Proof;
use crate::model::user::{User, UserStatus};
use crate::service::Service;
use crate::service::audit::Entry;
use crate::service::caller::Caller;
use crate::service::error::AuthError;
use crate::service::grant::{Grant, Opening, device_name};
use crate::store::{
    AccountStore as _, Effect, LockoutStore as _, LoginKey, SessionStore as _, UserUpdated,
};
use crate::telemetry::metrics::Event;
use crate::types::ids::TenantId;
use crate::types::login::LoginName;
use crate::types::secret::Password;

/// What somebody typed to log in.
#[derive(Debug)]
pub struct LoginRequest {
    /// Username, e-mail address or mobile number.
    pub identifier: String,
    /// The password.
    pub password: Password,
    /// What to call the device, at most 128 characters.
    pub device_name: Option<String>,
    /// Whether to keep the session longer, without an idle limit.
    pub remember: bool,
}

/// How often a log-in is tried when the account changes under it.
const TRIES: usize = 3;

impl Service {
    /// Logs in: one new session, with a fresh id.
    pub async fn login(&self, request: LoginRequest, caller: &Caller) -> Result<Grant, AuthError> {
        let tenant = TenantId::default();
        let login = LoginName::guess(&request.identifier)
            .ok()
            .filter(|login| self.parts.settings.identifiers.contains(&login.kind()));
        let account = login
            .as_ref()
            .map_or(request.identifier.trim(), LoginName::as_str);
        if let Err(exceeded) = self.parts.limits.login(caller.address, account) {
            self.parts.events.count(Event::LoginLimited);
            return Err(exceeded.into());
        }
        let Some(login) = login else {
            // Nobody can be called this; the work is done all the same.
            let _mismatch = self.parts.passwords.verify(request.password, None).await?;
            return Err(self.refuse_login("no_such_name", None, caller));
        };
        let key = LoginKey { tenant, login };
        for _ in 0..TRIES {
            if let Some(grant) = self.try_login(&key, &request, caller).await? {
                return Ok(grant);
            }
        }
        Err(self.refuse_login("account_changed", None, caller))
    }

    /// One try; `None` when the account changed while its password was being checked.
    async fn try_login(
        &self,
        key: &LoginKey,
        request: &LoginRequest,
        caller: &Caller,
    ) -> Result<Option<Grant>, AuthError> {
        let user = self.parts.store.user_by_login(key).await?;
        let hash = user.as_ref().map(|user| user.password.clone());
        let verified = self
            .parts
            .passwords
            .verify(request.password.clone(), hash)
            .await?;
        // Read after the hash, so that guesses that waited together are judged by what came of
        // the first of them.
        let lockout = self.parts.store.lockout(key).await?;
        let refusal = match (&user, verified) {
            (None, _) => Some("unknown_account"),
            (Some(_), Verified::Mismatch) => Some("wrong_password"),
            (Some(user), _) if user.status == UserStatus::Disabled => Some("disabled"),
            (Some(user), _) if lockout.is_locked(self.now()) => {
                (!self.knows_device(user, caller).await?).then_some("locked")
            }
            (Some(_), _) => None,
        };
        let (Some(user), None) = (user.clone(), refusal) else {
            let reason = refusal.unwrap_or("unknown_account");
            return Err(self
                .count_failure(key, user.as_ref(), reason, caller)
                .await?);
        };
        let user = if verified == Verified::MatchButOutdated {
            self.rehash(user, request.password.clone()).await?
        } else {
            user
        };
        let opening = Opening {
            proof: Proof::password(self.now()),
            remember: request.remember,
            device_label: request.device_name.clone(),
            caller,
            login: key.clone(),
        };
        let Some(grant) = self.open_session(user, opening).await? else {
            return Ok(None);
        };
        self.parts.events.count(Event::LoginGranted);
        if let Some(state) = self.parts.clock.reminder() {
            let (wall, time) = (self.parts.clock.wall(), self.now());
            tracing::warn!(
                %wall, %time,
                by = state.difference / 1000,
                "a log-in while the wall clock differs from time by so many seconds: it is judged, and \
                 its tokens are dated, by time"
            );
        }
        let entry = Entry::by_caller(self.now(), AuditAction::Login, "granted", caller);
        self.parts.audit.record(entry.of(&grant.session.key).done());
        Ok(Some(grant))
    }

    /// Counts a failed log-in, whether or not the account exists.
    async fn count_failure(
        &self,
        key: &LoginKey,
        user: Option<&User>,
        reason: &str,
        caller: &Caller,
    ) -> Result<AuthError, AuthError> {
        let before = self.parts.store.lockout(key).await?;
        let after = self
            .parts
            .store
            .fail_login(key, self.parts.settings.lock)
            .await?;
        let now = self.now();
        if after.is_locked(now) && !before.is_locked(now) {
            let mut entry = Entry::by_caller(now, AuditAction::Lock, "too_many_failures", caller);
            if let Some(user) = user {
                entry = entry.about(&user.key);
            }
            self.parts.audit.record(entry.done());
        }
        Ok(self.refuse_login(reason, user, caller))
    }

    fn refuse_login(&self, reason: &str, user: Option<&User>, caller: &Caller) -> AuthError {
        let mut entry = Entry::by_caller(self.now(), AuditAction::Login, reason, caller);
        if let Some(user) = user {
            entry = entry.about(&user.key);
        }
        self.parts.audit.record(entry.done());
        self.parts.events.count(Event::LoginRefused);
        AuthError::InvalidCredentials
    }

    /// Whether the caller shows the device cookie of one of the user's live sessions. A lock keeps
    /// strangers out; it must not be a weapon against the owner.
    async fn knows_device(&self, user: &User, caller: &Caller) -> Result<bool, AuthError> {
        let Some(device) = caller.device else {
            return Ok(false);
        };
        let sessions = self.parts.store.sessions(&user.key).await?;
        Ok(sessions
            .iter()
            .any(|session| session.device_id == Some(device_name(device))))
    }

    /// Stores the password under today's parameters. Losing a race is fine: the next log-in tries
    /// again.
    async fn rehash(&self, mut user: User, password: Password) -> Result<User, AuthError> {
        user.password = self.parts.passwords.hash(password).await?;
        user.updated_at = self.now();
        match self
            .parts
            .store
            .update_user(user.clone(), Effect::None)
            .await?
        {
            UserUpdated::Stored(_) => user.version = user.version.saturating_add(1),
            UserUpdated::Stale | UserUpdated::LoginTaken(_) | UserUpdated::Gone => {}
        }
        Ok(user)
    }
}
