//! How does a user log in with a password?
//!
//! The caller gets tokens or one refusal. An unknown account, a wrong password, a locked and a disabled
//! account have the same answer and take the same work (one hash, one update of a counter). Only the
//! audit log distinguishes them.

use crate::crypto::digest;
use crate::crypto::password::Verified;
use crate::limits::{Attempt, Name};
use crate::model::audit::AuditAction;
use crate::model::session::Proof;
use crate::model::user::{User, UserStatus};
use crate::service::Service;
use crate::service::audit::Entry;
use crate::service::caller::Caller;
use crate::service::error::AuthError;
use crate::service::grant::{Grant, Opening, device_name};
use crate::service::password::{Class, PasswordError, Share};
use crate::store::{AccountStore as _, Effect, LockoutStore as _, LoginKey, Target, UserUpdated};
use crate::telemetry::metrics::Event;
use crate::types::ids::TenantId;
use crate::types::login::LoginName;
use crate::types::secret::Password;

/// A request to log in.
#[derive(Debug)]
pub struct LoginRequest {
    /// Username, e-mail address or mobile number.
    pub identifier: String,
    /// The password.
    pub password: Password,
    /// The name of the device, at most 128 characters.
    pub device_name: Option<String>,
    /// Whether the session is kept longer, without an idle limit.
    pub remember: bool,
}

/// Settles the limit after an attempt at a password. The attempt counts when the password was refused. A
/// success does not count, or users behind one address could lock each other out; nor does an attempt
/// without a result. A right password for a locked or disabled account counts like a wrong one, or the
/// limit would reveal the difference.
pub(super) fn settle<T>(attempt: Attempt, outcome: &Result<T, AuthError>) {
    if !matches!(outcome, Err(AuthError::InvalidCredentials)) {
        attempt.give_back();
    }
}

/// How often a log-in is repeated when the account is changed during it.
const TRIES: usize = 3;

impl Service {
    /// Logs in: one new session, with a new id. Among several devices of the caller, the one that the
    /// account knows is left in `caller`.
    pub async fn login(
        &self,
        request: LoginRequest,
        caller: &mut Caller,
    ) -> Result<Grant, AuthError> {
        let outcome = match self.parts.limits.attempt_from(caller.address).await {
            Ok(mut attempt) => {
                let outcome = self.login_from(&mut attempt, &request, caller).await;
                settle(attempt, &outcome);
                outcome
            }
            Err(refused) => Err(refused.into()),
        };
        if matches!(outcome, Err(AuthError::RateLimited(_))) {
            self.parts.events.count(Event::LoginLimited);
        }
        outcome
    }

    /// After the limit, because each device is looked up in the store.
    async fn login_from(
        &self,
        attempt: &mut Attempt,
        request: &LoginRequest,
        caller: &mut Caller,
    ) -> Result<Grant, AuthError> {
        caller.device = self.choose_device(&request.identifier, caller).await?;
        self.attempt_login(attempt, request, caller).await
    }

    async fn attempt_login(
        &self,
        attempt: &mut Attempt,
        request: &LoginRequest,
        caller: &Caller,
    ) -> Result<Grant, AuthError> {
        let limits = &self.parts.limits;
        let login = LoginName::guess(&request.identifier)
            .ok()
            .filter(|login| self.parts.settings.identifiers.contains(&login.kind()));
        let Some(login) = login else {
            // No account can have this name. The work is done all the same.
            let name = request.identifier.trim();
            let of_nobody = Name::OfNoAccount(name);
            limits
                .attempt_at(attempt, caller.address, of_nobody)
                .await?;
            let share = Share::new(caller.address, Class::Unproven);
            self.compare_without_account(name, request.password.clone(), share)
                .await?;
            return Err(self.refuse_login("no_such_name", None, caller));
        };
        let key = LoginKey {
            tenant: TenantId::default(),
            login,
        };
        let mut user = self.parts.store.user_by_login(&key).await?;
        let name = match &user {
            Some(user) => Name::OfAccount(user.key.user, key.login.as_str()),
            None => Name::OfNoAccount(key.login.as_str()),
        };
        limits.attempt_at(attempt, caller.address, name).await?;
        for _ in 0..TRIES {
            if let Some(grant) = self.try_login(&key, user, request, caller).await? {
                return Ok(grant);
            }
            user = self.parts.store.user_by_login(&key).await?;
        }
        Err(self.refuse_login("account_changed", None, caller))
    }

    /// One attempt. `None` when the account was changed while its password was compared.
    async fn try_login(
        &self,
        key: &LoginKey,
        user: Option<User>,
        request: &LoginRequest,
        caller: &Caller,
    ) -> Result<Option<Grant>, AuthError> {
        let target = Target::Login(key.clone());
        let share = self.share(&target, caller).await?;
        let password = request.password.clone();
        let verified = self
            .compare(key.login.as_str(), user.as_ref(), password, share)
            .await?;
        // Read after the hash, so that parallel guesses are decided by the failures of the first of
        // them.
        let device = caller.device.map(device_name);
        let standing = self.parts.store.standing(&target, device).await?;
        let refusal = match (&user, verified) {
            (None, _) => Some("unknown_account"),
            (Some(_), None) => Some("unusable_hash"),
            (Some(_), Some(Verified::Mismatch)) => Some("wrong_password"),
            (Some(user), _) if user.status == UserStatus::Disabled => Some("disabled"),
            (Some(_), _) => standing.refuses(self.now()).then_some("locked"),
        };
        let (Some(user), None) = (user.clone(), refusal) else {
            let reason = refusal.unwrap_or("unknown_account");
            self.count_failure(&target, user.as_ref(), caller).await?;
            return Err(self.refuse_login(reason, user.as_ref(), caller));
        };
        let user = if verified == Some(Verified::MatchButOutdated) {
            self.rehash(user, request.password.clone(), caller).await?
        } else {
            user
        };
        let opening = Opening {
            proof: Proof::password(self.now()),
            remember: request.remember,
            device_label: request.device_name.clone(),
            caller,
        };
        let grant = self.open_session(user, opening).await?;
        if let Some(grant) = &grant {
            self.record_login(grant, caller);
        }
        Ok(grant)
    }

    /// Records a log-in in the metrics and the audit log.
    fn record_login(&self, grant: &Grant, caller: &Caller) {
        self.parts.events.count(Event::LoginGranted);
        if let Some(state) = self.parts.clock.reminder() {
            let (wall, time) = (self.parts.clock.wall(), self.now());
            tracing::warn!(
                %wall, %time,
                by = state.difference / 1000,
                "a log-in while the wall clock differs from time by so many seconds: it is checked, and \
                 its tokens are dated, by time"
            );
        }
        let entry = Entry::by_caller(self.now(), AuditAction::Login, "granted", caller);
        self.parts.audit.record(entry.of(&grant.session.key).done());
    }

    /// Compares a password with that of the account, or does the same work. `None` when the stored hash
    /// cannot be used, which must not reveal that the account exists.
    async fn compare(
        &self,
        name: &str,
        user: Option<&User>,
        password: Password,
        share: Share,
    ) -> Result<Option<Verified>, AuthError> {
        let Some(user) = user else {
            self.compare_without_account(name, password, share).await?;
            return Ok(Some(Verified::Mismatch));
        };
        let stored = user.password.clone();
        let passwords = &self.parts.passwords;
        match passwords.verify(password.clone(), stored, share).await {
            Ok(verified) => Ok(Some(verified)),
            Err(PasswordError::Busy(busy)) => Err(busy.into()),
            Err(PasswordError::Stored(error)) => {
                tracing::error!(user = %user.key.user, %error, "no log-in to this account is possible");
                self.compare_without_account(name, password, share).await?;
                Ok(None)
            }
        }
    }

    /// Does the work of a comparison at a cost that accounts have: the same each time for one name, and
    /// over all names each cost as often as accounts have it. Otherwise, after a change of the
    /// configured cost, the time would reveal which names belong to accounts.
    async fn compare_without_account(
        &self,
        name: &str,
        password: Password,
        share: Share,
    ) -> Result<(), AuthError> {
        let key = self.decoy_key().await?;
        let hash = digest::sha256(&[b"sg-decoy", &key, name.as_bytes()]);
        let number = hash.first_chunk().copied().map_or(0, u64::from_be_bytes);
        let cost = self.parts.store.hash_costs().pick(number).cloned();
        Ok(self
            .parts
            .passwords
            .verify_without_account(password, cost, share)
            .await?)
    }

    /// The secret under which names are assigned their cost. Read at start and then kept.
    pub(super) async fn decoy_key(&self) -> Result<[u8; 32], AuthError> {
        if let Some(key) = self.parts.decoy_key.get() {
            return Ok(*key);
        }
        let fresh = self.parts.random.bytes();
        let key = self.parts.store.decoy_key(fresh).await?;
        Ok(*self.parts.decoy_key.get_or_init(|| key))
    }

    /// The share of the hashing queue: users of a known device do not wait behind unknown clients.
    async fn share(&self, target: &Target, caller: &Caller) -> Result<Share, AuthError> {
        let class = match caller.device.map(device_name) {
            None => Class::Unproven,
            device @ Some(_) => {
                let standing = self.parts.store.standing(target, device).await?;
                match standing.device {
                    Some(device) if !device.is_locked(self.now()) => Class::Proven,
                    _ => Class::Unproven,
                }
            }
        };
        Ok(Share::new(caller.address, class))
    }

    /// Counts a failed attempt at a password, with or without an account.
    pub(super) async fn count_failure(
        &self,
        target: &Target,
        user: Option<&User>,
        caller: &Caller,
    ) -> Result<(), AuthError> {
        let device = caller.device.map(device_name);
        let policy = self.parts.settings.lock;
        let failed = self
            .parts
            .store
            .count_failure(target, device, policy)
            .await?;
        let now = self.now();
        if failed.after.is_locked(now) && !failed.before.is_locked(now) {
            let mut entry = Entry::by_caller(now, AuditAction::Lock, "too_many_failures", caller);
            if let Some(user) = user {
                entry = entry.about(&user.key);
            }
            self.parts.audit.record(entry.done());
        }
        Ok(())
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

    /// Stores the password under the present parameters. If another change is first, the next log-in
    /// repeats this.
    async fn rehash(
        &self,
        mut user: User,
        password: Password,
        caller: &Caller,
    ) -> Result<User, AuthError> {
        let share = Share::new(caller.address, Class::Proven);
        user.password = self.parts.passwords.hash(password, share).await?;
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
