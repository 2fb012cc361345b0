//! Changes of an account: the user's own password, and everything an operator does. Each change
//! and what it does to the account's sessions are one atomic step.

use std::time::Duration;

use crate::audit::Query;
use crate::crypto::password::Verified;
use crate::limits::{Attempt, Name};
use crate::model::audit::{AuditAction, AuditRecord};
use crate::model::session::{EndReason, Session, SessionKey};
use crate::model::user::{User, UserKey, UserStatus, VerifiedAddresses};
use crate::service::Service;
use crate::service::audit::Entry;
use crate::service::caller::Caller;
use crate::service::error::AuthError;
use crate::service::grant::device_name;
use crate::service::login::settle;
use crate::service::logout::By;
use crate::service::password::{Class, Share};
use crate::service::signup::SignupRequest;
use crate::store::{
    AccountStore as _, BulkStore as _, Effect, EndAll, LockoutStore as _, LoginKey, Scope,
    SessionStore as _, Target, UserUpdated,
};
use crate::telemetry::metrics::Event;
use crate::types::ids::{SessionId, TenantId, UserId};
use crate::types::role::Roles;
use crate::types::secret::Password;
use crate::types::time::{Stopwatch, Timestamp};

pub use crate::types::named::Named;

/// How often a change is tried again when somebody else changed the account in between.
const RETRIES: usize = 5;

/// How many records one step of a bulk operation removes, so that others wait no longer than that.
const BULK_STEP: usize = 1_000;

/// How long a bulk operation works before it reports. It decides about reports only: each step is
/// durable by itself.
const BULK_SPAN: Duration = Duration::from_secs(1);

impl Service {
    /// Changes the user's own password, who shows the current one. The user's other sessions end;
    /// the asking one goes on.
    pub async fn change_password(
        &self,
        session: &SessionKey,
        current: Password,
        new: Password,
        caller: &Caller,
    ) -> Result<(), AuthError> {
        let limits = &self.parts.limits;
        let mut attempt = limits.attempt_from(caller.address).await?;
        let outcome = self
            .attempt_change(&mut attempt, session, (current, new), caller)
            .await;
        settle(attempt, &outcome);
        outcome
    }

    async fn attempt_change(
        &self,
        attempt: &mut Attempt,
        session: &SessionKey,
        (current, new): (Password, Password),
        caller: &Caller,
    ) -> Result<(), AuthError> {
        let limits = &self.parts.limits;
        let name = Name::OfAccount(session.owner.user, "");
        limits.attempt_at(attempt, caller.address, name).await?;
        let (user, _) = self.me(session).await?;
        self.judge_new_password(&new, user.logins())?;
        let share = Share::new(caller.address, Class::Proven);
        let stored = user.password.clone();
        let verified = self.parts.passwords.verify(current, stored, share).await?;
        // A way to guess like any other: the failures count for the account, and a lock refuses here,
        // too. The session itself goes on.
        let target = Target::Account(user.key.clone());
        let device = caller.device.map(device_name);
        let standing = self.parts.store.standing(&target, device).await?;
        let refusal = match verified {
            Verified::Mismatch => Some("wrong_password"),
            Verified::Match | Verified::MatchButOutdated => {
                standing.refuses(self.now()).then_some("locked")
            }
        };
        if let Some(reason) = refusal {
            self.count_failure(&target, Some(&user), caller).await?;
            let entry = Entry::by_caller(self.now(), AuditAction::PasswordChange, reason, caller);
            self.parts.audit.record(entry.of(session).done());
            return Err(AuthError::InvalidCredentials);
        }
        let hash = self.parts.passwords.hash(new, share).await?;
        let effect = Effect::EndOthers(session.id, EndReason::PasswordChanged);
        // The version that was verified is the one replaced: a change in between is not overwritten.
        let changed = User {
            password: hash,
            updated_at: self.now(),
            ..user
        };
        match self.parts.store.update_user(changed, effect).await? {
            UserUpdated::Stored(ended) => {
                let (owner, why) = (&session.owner, EndReason::PasswordChanged);
                self.note_ends(owner, &ended, why, By::Caller(caller));
            }
            UserUpdated::Stale | UserUpdated::Gone => return Err(AuthError::InvalidCredentials),
            UserUpdated::LoginTaken(kind) => return Err(AuthError::LoginTaken(kind)),
        }
        if let Err(error) = self.parts.store.unlock(&target).await {
            tracing::warn!(%error, "failures before a password change are still counted");
        }
        self.parts.events.count(Event::PasswordChanged);
        let entry = Entry::by_caller(self.now(), AuditAction::PasswordChange, "changed", caller);
        self.parts.audit.record(entry.of(session).done());
        Ok(())
    }

    /// Adds an account; for the operator, whatever the sign-up mode.
    pub async fn operator_add(
        &self,
        request: SignupRequest,
        roles: Roles,
    ) -> Result<User, AuthError> {
        let (verified, share) = (VerifiedAddresses::ALL, Share::OPERATOR);
        let user = self.add_user(request, roles, verified, share).await?;
        self.note(AuditAction::SignUp, "created", &user.key);
        Ok(user)
    }

    /// Finds an account.
    pub async fn operator_find(&self, named: &Named) -> Result<Option<User>, AuthError> {
        let tenant = TenantId::default();
        Ok(match named {
            Named::Id(user) => {
                self.parts
                    .store
                    .user(&UserKey {
                        tenant,
                        user: *user,
                    })
                    .await?
            }
            Named::Login(login) => {
                let key = LoginKey {
                    tenant,
                    login: login.clone(),
                };
                self.parts.store.user_by_login(&key).await?
            }
        })
    }

    /// Up to `limit` accounts after `after`.
    pub async fn operator_users(
        &self,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<User>, AuthError> {
        Ok(self
            .parts
            .store
            .users(&TenantId::default(), after, limit)
            .await?)
    }

    /// Sets a password; all sessions of the account end. `None` when there is no such account.
    pub async fn operator_set_password(
        &self,
        named: &Named,
        password: Password,
    ) -> Result<Option<User>, AuthError> {
        let Some(user) = self.operator_find(named).await? else {
            return Ok(None);
        };
        self.judge_new_password(&password, user.logins())?;
        let hash = self.parts.passwords.hash(password, Share::OPERATOR).await?;
        let effect = Effect::EndAll(EndReason::PasswordChanged);
        let change = |user: User| User {
            password: hash.clone(),
            ..user
        };
        self.change(named, change, effect, AuditAction::PasswordChange, "set")
            .await
    }

    /// Sets the roles; access tokens with the old ones must be refreshed before they pass again.
    pub async fn operator_set_roles(
        &self,
        named: &Named,
        roles: Roles,
    ) -> Result<Option<User>, AuthError> {
        let outcome = roles.joined();
        let change = |user: User| User {
            roles: roles.clone(),
            ..user
        };
        self.change(
            named,
            change,
            Effect::StaleClaims,
            AuditAction::RolesChange,
            &outcome,
        )
        .await
    }

    /// Enables an account.
    pub async fn operator_enable(&self, named: &Named) -> Result<Option<User>, AuthError> {
        let change = |user: User| User {
            status: UserStatus::Enabled,
            ..user
        };
        self.change(
            named,
            change,
            Effect::None,
            AuditAction::AccountEnable,
            "enabled",
        )
        .await
    }

    /// Disables an account; its sessions end.
    pub async fn operator_disable(&self, named: &Named) -> Result<Option<User>, AuthError> {
        let change = |user: User| User {
            status: UserStatus::Disabled,
            ..user
        };
        let effect = Effect::EndAll(EndReason::AccountClosed);
        self.change(
            named,
            change,
            effect,
            AuditAction::AccountDisable,
            "disabled",
        )
        .await
    }

    /// Opens a locked account. `None` when there is no such account; else whether any failure was
    /// forgotten.
    pub async fn operator_unlock(&self, named: &Named) -> Result<Option<bool>, AuthError> {
        let Some(user) = self.operator_find(named).await? else {
            return Ok(None);
        };
        let target = Target::Account(user.key.clone());
        let any = self.parts.store.unlock(&target).await?;
        self.note(AuditAction::Unlock, "unlocked", &user.key);
        Ok(Some(any))
    }

    /// Until when the account is locked, if it is.
    pub async fn operator_locked_until(&self, user: &User) -> Result<Option<Timestamp>, AuthError> {
        let target = Target::Account(user.key.clone());
        let standing = self.parts.store.standing(&target, None).await?;
        let lockout = standing.account;
        Ok(lockout
            .is_locked(self.now())
            .then_some(lockout.locked_until))
    }

    /// Marks the addresses of an account as verified: the operator knows that they belong to the
    /// person. The next access tokens carry the e-mail address.
    pub async fn operator_verify(&self, named: &Named) -> Result<Option<User>, AuthError> {
        let change = |user: User| User {
            verified: VerifiedAddresses::ALL,
            ..user
        };
        let (effect, action) = (Effect::StaleClaims, AuditAction::AddressesVerify);
        self.change(named, change, effect, action, "verified").await
    }

    /// Makes a new signing key, which signs at once; the old one verifies until its last token has
    /// expired.
    pub fn operator_rotate_keys(&self) -> Result<(), AuthError> {
        let rotated = self
            .parts
            .keys
            .rotate(self.now(), Duration::ZERO, &*self.parts.random);
        let id = rotated.map_err(|error| AuthError::Internal(error.to_string()))?;
        let entry = Entry::by_operator(self.now(), AuditAction::KeyRotate, &id);
        self.parts.audit.record(entry.done());
        Ok(())
    }

    /// Deletes an account and its sessions. `false` when there was none.
    pub async fn operator_delete(&self, named: &Named) -> Result<bool, AuthError> {
        let Some(user) = self.operator_find(named).await? else {
            return Ok(false);
        };
        let Some(ended) = self.parts.store.delete_user(&user.key).await? else {
            return Ok(false);
        };
        self.note_ends(&user.key, &ended, EndReason::AccountClosed, By::Operator);
        self.note(AuditAction::AccountDelete, "deleted", &user.key);
        Ok(true)
    }

    /// Live sessions of one user, or up to `limit` of everybody after `after`.
    pub async fn operator_sessions(
        &self,
        user: Option<&UserKey>,
        after: Option<SessionKey>,
        limit: usize,
    ) -> Result<Vec<Session>, AuthError> {
        Ok(match user {
            Some(user) => self.parts.store.sessions(user).await?,
            None => self.parts.store.all_sessions(after, limit).await?,
        })
    }

    /// Ends one session by id. Returns how many ended: none or one.
    pub async fn operator_end_session(&self, id: SessionId) -> Result<usize, AuthError> {
        match self.parts.store.find_session(id).await? {
            Some(key) => self.operator_end(Scope::One(key)).await,
            None => Ok(0),
        }
    }

    /// Ends all sessions of one user.
    pub async fn operator_end_user(&self, user: &UserKey) -> Result<usize, AuthError> {
        self.operator_end(Scope::AllOf(user.clone())).await
    }

    /// Ends every session there is, in one step. Their records are removed by
    /// [`Self::operator_clear_ended`], and by upkeep when nobody asks for it.
    pub async fn operator_end_all(&self) -> Result<EndAll, AuthError> {
        let all = self.parts.store.end_all(EndReason::Operator).await?;
        let outcome = format!("all ({})", all.found);
        let entry = Entry::by_operator(self.now(), AuditAction::SessionEnd, &outcome);
        self.parts.audit.record(entry.done());
        Ok(all)
    }

    /// Removes records of sessions that ended with all others, for about `BULK_SPAN`, and says
    /// how far that has come. `None` when all sessions were never ended.
    pub async fn operator_clear_ended(&self) -> Result<Option<EndAll>, AuthError> {
        let watch = Stopwatch::start();
        while let Some(all) = self.parts.store.clear_ended(BULK_STEP).await? {
            self.parts.events.add(Event::SessionEnded, all.added);
            if all.is_complete || watch.elapsed() >= BULK_SPAN {
                return Ok(Some(all));
            }
        }
        Ok(None)
    }

    /// The newest audit records.
    pub async fn operator_audit(
        &self,
        user: Option<&UserKey>,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, AuthError> {
        let query = Query {
            user: user.cloned(),
            limit,
            ..Query::default()
        };
        Ok(self.operator_audit_find(query).await?.records)
    }

    async fn operator_end(&self, scope: Scope) -> Result<usize, AuthError> {
        let ended = self.parts.store.end(&scope, EndReason::Operator).await?;
        self.note_ends(scope.owner(), &ended, EndReason::Operator, By::Operator);
        Ok(ended.len())
    }

    /// Reads, changes and replaces an account, again if somebody else was faster.
    async fn change(
        &self,
        named: &Named,
        change: impl Fn(User) -> User,
        effect: Effect,
        action: AuditAction,
        outcome: &str,
    ) -> Result<Option<User>, AuthError> {
        for _ in 0..RETRIES {
            let Some(user) = self.operator_find(named).await? else {
                return Ok(None);
            };
            let changed = User {
                updated_at: self.now(),
                ..change(user)
            };
            match self
                .parts
                .store
                .update_user(changed.clone(), effect)
                .await?
            {
                UserUpdated::Stored(revocations) => {
                    if let Effect::EndAll(why) = effect {
                        self.note_ends(&changed.key, &revocations, why, By::Operator);
                    }
                    self.note(action, outcome, &changed.key);
                    return Ok(Some(changed));
                }
                UserUpdated::Stale => {}
                UserUpdated::LoginTaken(kind) => return Err(AuthError::LoginTaken(kind)),
                UserUpdated::Gone => return Ok(None),
            }
        }
        Err(AuthError::Internal(
            "the account kept changing; try again".to_owned(),
        ))
    }

    fn note(&self, action: AuditAction, outcome: &str, user: &UserKey) {
        let entry = Entry::by_operator(self.now(), action, outcome);
        self.parts.audit.record(entry.about(user).done());
    }
}
