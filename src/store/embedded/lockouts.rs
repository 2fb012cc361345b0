//! Failure counters on the ledger.

use crate::model::lockout::Lockout;
use crate::rules::lockout::after_failure;
use crate::store::embedded::Embedded;
use crate::store::embedded::keys;
use crate::store::embedded::records::StoredLockout;
use crate::store::embedded::transaction::Transaction;
use crate::store::{LockPolicy, LockoutStore, LoginKey, StoreError};

impl LockoutStore for Embedded {
    async fn lockout(&self, login: &LoginKey) -> Result<Lockout, StoreError> {
        let record = keys::lockout(login);
        self.run(move |view| {
            let found: Option<StoredLockout> = view.get(&record)?;
            Ok(found.map(|stored| stored.lockout).unwrap_or_default())
        })
        .await
    }

    async fn fail_login(
        &self,
        login: &LoginKey,
        policy: LockPolicy,
    ) -> Result<Lockout, StoreError> {
        let login = login.clone();
        self.run(move |view| view.count_failure(&login, policy))
            .await
    }

    async fn unlock(&self, login: &LoginKey) -> Result<bool, StoreError> {
        let login = login.clone();
        self.run(move |view| view.forget_failures(&login)).await
    }
}

impl Transaction<'_> {
    fn count_failure(
        &mut self,
        login: &LoginKey,
        policy: LockPolicy,
    ) -> Result<Lockout, StoreError> {
        let record = keys::lockout(login);
        let found: Option<StoredLockout> = self.get(&record)?;
        let before = found.map(|stored| stored.lockout).unwrap_or_default();
        let now = self.now;
        let lockout = after_failure(before, policy.max_failures, policy.lock_for, now);
        let forget_at = lockout
            .last_failure
            .plus(policy.lock_for)
            .max(lockout.locked_until);
        // The expiry entry stays where the first failure put it; the sweep moves it on.
        let check_at = if let Some(stored) = found {
            stored.check_at
        } else {
            self.expire_at(forget_at, &record)?;
            forget_at
        };
        let stored = StoredLockout {
            lockout,
            forget_at,
            check_at,
        };
        if found != Some(stored) {
            self.put(record, &stored)?;
        }
        Ok(lockout)
    }

    /// Forgets the failures of a login. `true` when there were any.
    pub(crate) fn forget_failures(&mut self, login: &LoginKey) -> Result<bool, StoreError> {
        let record = keys::lockout(login);
        let found: Option<StoredLockout> = self.get(&record)?;
        let Some(stored) = found else {
            return Ok(false);
        };
        self.unexpire(stored.check_at, &record);
        self.delete(record);
        Ok(true)
    }
}
