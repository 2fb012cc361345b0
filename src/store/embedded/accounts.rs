//! How does an embedded store create, find, change and delete accounts?

use std::sync::Arc;

use crate::model::revocation::{Revocation, RevocationEffect};
use crate::model::session::{EndReason, Session, SessionKey};
use crate::model::user::{HashCosts, PasswordHash, User, UserKey};
use crate::store::embedded::Embedded;
use crate::store::embedded::keys::{self, META_COSTS, META_DECOY};
use crate::store::embedded::ledger::{Entry, Order};
use crate::store::embedded::transaction::Transaction;
use crate::store::{
    AccountStore, Effect, LoginKey, Route, StoreError, UserCreated, UserUpdated, codec,
};
use crate::types::ids::{TenantId, UserId};
use crate::types::login::LoginKind;

impl AccountStore for Embedded {
    async fn create_user(&self, user: User) -> Result<UserCreated, StoreError> {
        self.run(move |view| view.create_user(&user)).await
    }

    async fn user_by_login(&self, login: &LoginKey) -> Result<Option<User>, StoreError> {
        let entry = keys::login(login);
        let tenant = login.tenant.clone();
        self.run(move |view| match view.get(&entry)? {
            Some(user) => view.account(&keys::account_at(&tenant, user)),
            None => Ok(None),
        })
        .await
    }

    async fn user(&self, key: &UserKey) -> Result<Option<User>, StoreError> {
        let record = keys::account(key);
        self.run(move |view| view.account(&record)).await
    }

    fn hash_costs(&self) -> Arc<HashCosts> {
        self.numbers.hash_costs()
    }

    async fn decoy_key(&self, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.run(move |view| match view.get(META_DECOY)? {
            Some(key) => Ok(key),
            None => view.put(META_DECOY.to_vec(), &fresh).map(|()| fresh),
        })
        .await
    }

    async fn session_with_user(
        &self,
        key: &SessionKey,
    ) -> Result<Option<(Session, User)>, StoreError> {
        let key = key.clone();
        self.run(move |view| {
            let found = view.live_session(&keys::session_of(&key))?;
            let Some(session) = found.map(|s| s.session).filter(|s| s.key == key) else {
                return Ok(None);
            };
            let user = view.account(&keys::account(&key.owner))?;
            Ok(user.map(|user| (session, user)))
        })
        .await
    }

    async fn update_user(&self, user: User, effect: Effect) -> Result<UserUpdated, StoreError> {
        self.run(move |view| view.update_user(user, effect)).await
    }

    async fn delete_user(&self, key: &UserKey) -> Result<Option<Vec<Revocation>>, StoreError> {
        let key = key.clone();
        self.run(move |view| view.delete_user(&key)).await
    }

    async fn users(
        &self,
        tenant: &TenantId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<User>, StoreError> {
        let mut range = keys::accounts_of(tenant);
        if let Some(after) = after {
            range = range.after(&keys::account_at(tenant, after));
        }
        self.run(move |view| {
            let page = view.scan(&range, Order::Ascending, limit)?;
            let account = |entry: &Entry| codec::decode_versioned(&entry.key, &entry.value);
            let accounts = page
                .iter()
                .map(|entry| account(entry).map(|(user, _)| user));
            accounts.collect()
        })
        .await
    }
}

impl Transaction<'_> {
    /// The account with this key.
    pub(crate) fn account(&mut self, key: &[u8]) -> Result<Option<User>, StoreError> {
        let bytes = self.bytes(key)?;
        let decoded = bytes.map(|bytes| codec::decode_versioned(key, &bytes));
        Ok(decoded.transpose()?.map(|(user, _)| user))
    }

    fn put_account(&mut self, key: Vec<u8>, user: &User) -> Result<(), StoreError> {
        let bytes = codec::encode_versioned(&key, user)?;
        self.put_raw(key, bytes);
        Ok(())
    }

    /// Updates the numbers of accounts by parameter set.
    fn count_costs(
        &mut self,
        before: Option<&PasswordHash>,
        after: Option<&PasswordHash>,
    ) -> Result<(), StoreError> {
        let (before, after) = (
            before.map(PasswordHash::cost),
            after.map(PasswordHash::cost),
        );
        if before == after {
            return Ok(());
        }
        let mut costs: HashCosts = self.get(META_COSTS)?.unwrap_or_default();
        if let Some(before) = before {
            costs.remove(&before);
        }
        if let Some(after) = after {
            costs.add(after);
        }
        self.put(META_COSTS.to_vec(), &costs)
    }

    fn create_user(&mut self, user: &User) -> Result<UserCreated, StoreError> {
        let record = keys::account(&user.key);
        let before = self.account(&record)?;
        if before.as_ref() == Some(user) {
            // A repeated call, after its answer was lost.
            return Ok(UserCreated::Stored);
        }
        if let Some(taken) = self.taken_login(user)? {
            return Ok(UserCreated::LoginTaken(taken));
        }
        if before.is_some() {
            return Err(StoreError::Unavailable(
                "an account with this id exists already; nothing was written".to_owned(),
            ));
        }
        self.put_logins(user)?;
        self.put_account(record, user)?;
        self.count_costs(None, Some(&user.password))?;
        self.count(|totals| totals.users = totals.users.saturating_add(1))?;
        // Guesses at a name that no account had must not lock out its new owner.
        self.forget_failures(user)?;
        Ok(UserCreated::Stored)
    }

    /// Replaces an account, if its version is that of `user`.
    pub(crate) fn update_user(
        &mut self,
        mut user: User,
        effect: Effect,
    ) -> Result<UserUpdated, StoreError> {
        let record = keys::account(&user.key);
        let Some(before) = self.account(&record)? else {
            return Ok(UserUpdated::Gone);
        };
        if before.version != user.version {
            return Ok(UserUpdated::Stale);
        }
        if let Some(taken) = self.taken_login(&user)? {
            return Ok(UserUpdated::LoginTaken(taken));
        }
        self.delete_logins(&before);
        self.put_logins(&user)?;
        let held_before = login_keys(&before);
        for login in login_keys(&user) {
            if !held_before.contains(&login) {
                self.forget_counter(&keys::lockout(&login))?;
            }
        }
        user.version = user.version.saturating_add(1);
        self.put_account(record, &user)?;
        self.count_costs(Some(&before.password), Some(&user.password))?;
        let revocations = match effect {
            Effect::None => Vec::new(),
            Effect::StaleClaims => self.make_stale(&user)?,
            Effect::EndAll(why) => self.end_user(&user.key, None, why)?,
            Effect::EndOthers(kept, why) => self.end_user(&user.key, Some(kept), why)?,
        };
        Ok(UserUpdated::Stored(revocations))
    }

    fn delete_user(&mut self, key: &UserKey) -> Result<Option<Vec<Revocation>>, StoreError> {
        let record = keys::account(key);
        let Some(user) = self.account(&record)? else {
            return Ok(None);
        };
        self.delete_logins(&user);
        self.delete(record);
        self.count_costs(Some(&user.password), None)?;
        self.forget_account_failures(key)?;
        self.forget_devices(key)?;
        self.forget_mails(key)?;
        self.count(|totals| totals.users = totals.users.saturating_sub(1))?;
        let revocations = self.end_user(key, None, EndReason::AccountClosed)?;
        Ok(Some(revocations))
    }

    /// The login of the account that another account already has.
    fn taken_login(&mut self, user: &User) -> Result<Option<LoginKind>, StoreError> {
        for login in login_keys(user) {
            let holder: Option<UserId> = self.get(&keys::login(&login))?;
            if holder.is_some_and(|holder| holder != user.key.user) {
                return Ok(Some(login.login.kind()));
            }
        }
        Ok(None)
    }

    fn put_logins(&mut self, user: &User) -> Result<(), StoreError> {
        for login in login_keys(user) {
            self.put(keys::login(&login), &user.key.user)?;
        }
        Ok(())
    }

    fn delete_logins(&mut self, user: &User) {
        for login in login_keys(user) {
            self.delete(keys::login(&login));
        }
    }

    /// Makes the access tokens of a user stale that were made from an earlier version of the account, in
    /// all live sessions.
    fn make_stale(&mut self, user: &User) -> Result<Vec<Revocation>, StoreError> {
        let over = self.over()?;
        let mut revocations = Vec::new();
        for stored in self.sessions_of(Route::of(&user.key))? {
            let session = stored.session;
            if !over.includes(&session) {
                let effect = RevocationEffect::Stale(user.account_version());
                revocations.push(self.revoke(&session.key, effect, None, None)?);
            }
        }
        Ok(revocations)
    }
}

/// The login names of an account.
pub(crate) fn login_keys(user: &User) -> Vec<LoginKey> {
    let tenant = &user.key.tenant;
    user.logins()
        .map(|login| LoginKey {
            tenant: tenant.clone(),
            login: login.clone(),
        })
        .collect()
}
