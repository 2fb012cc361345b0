//! How does an embedded store count failed log-ins? With one counter for each account, and one for each
//! name without an account.
//!
//! Versions up to 0.1 counted by name for accounts as well. Such a counter still applies to the account
//! with that name. The next failure or success of the account replaces it.

use crate::model::lockout::{Lockout, Standing};
use crate::model::user::{User, UserKey};
use crate::rules::lockout::after_failure;
use crate::store::embedded::Embedded;
use crate::store::embedded::accounts::login_keys;
use crate::store::embedded::keys;
use crate::store::embedded::records::StoredLockout;
use crate::store::embedded::transaction::Transaction;
use crate::store::{Failed, LockPolicy, LockoutStore, StoreError, Target};
use crate::types::ids::{DeviceId, UserId};

impl LockoutStore for Embedded {
    async fn standing(
        &self,
        target: &Target,
        device: Option<DeviceId>,
    ) -> Result<Standing, StoreError> {
        let target = target.clone();
        self.run(move |view| view.standing(&target, device)).await
    }

    async fn count_failure(
        &self,
        target: &Target,
        device: Option<DeviceId>,
        policy: LockPolicy,
    ) -> Result<Failed, StoreError> {
        let target = target.clone();
        self.run(move |view| view.count_failure(&target, device, policy))
            .await
    }

    async fn unlock(&self, target: &Target) -> Result<bool, StoreError> {
        let target = target.clone();
        self.run(move |view| match view.target_account(&target)? {
            Some(user) => {
                let had_failures = view.forget_failures(&user)?;
                Ok(view.forgive_devices(&user.key)? || had_failures)
            }
            None => match target {
                Target::Login(login) => view.forget_counter(&keys::lockout(&login)),
                Target::Account(_) => Ok(false),
            },
        })
        .await
    }
}

impl Transaction<'_> {
    fn target_account(&mut self, target: &Target) -> Result<Option<User>, StoreError> {
        match target {
            Target::Account(key) => self.account(&keys::account(key)),
            Target::Login(login) => {
                let holder: Option<UserId> = self.get(&keys::login(login))?;
                let tenant = &login.tenant;
                match holder {
                    Some(user) => self.account(&keys::account_at(tenant, user)),
                    None => Ok(None),
                }
            }
        }
    }

    fn standing(
        &mut self,
        target: &Target,
        device: Option<DeviceId>,
    ) -> Result<Standing, StoreError> {
        let Some(user) = self.target_account(target)? else {
            let account = match target {
                Target::Login(login) => self.counter(&keys::lockout(login))?,
                Target::Account(_) => None,
            };
            let account = account.map(|stored| stored.lockout).unwrap_or_default();
            return Ok(Standing {
                account,
                device: None,
            });
        };
        let device = match device {
            Some(device) => self.known_device(&user.key, device)?,
            None => None,
        };
        Ok(Standing {
            account: self.account_failures(&user)?,
            device: device.map(|known| known.failures),
        })
    }

    fn count_failure(
        &mut self,
        target: &Target,
        device: Option<DeviceId>,
        policy: LockPolicy,
    ) -> Result<Failed, StoreError> {
        let Some(user) = self.target_account(target)? else {
            let Target::Login(login) = target else {
                let none = Lockout::default();
                return Ok(Failed {
                    before: none,
                    after: none,
                });
            };
            let record = keys::lockout(login);
            let found = self.counter(&record)?;
            let before = found.map(|stored| stored.lockout).unwrap_or_default();
            return self.count_one_more(record, found, before, policy);
        };
        if let Some(device) = device {
            self.count_device_failure(&user.key, device, policy)?;
        }
        let before = self.account_failures(&user)?;
        for login in login_keys(&user) {
            self.forget_counter(&keys::lockout(&login))?;
        }
        let record = keys::account_lockout(&user.key);
        let found = self.counter(&record)?;
        self.count_one_more(record, found, before, policy)
    }

    fn count_one_more(
        &mut self,
        record: Vec<u8>,
        found: Option<StoredLockout>,
        before: Lockout,
        policy: LockPolicy,
    ) -> Result<Failed, StoreError> {
        let after = after_failure(before, policy.max_failures, policy.lock_for, self.now);
        let forget_at = after
            .last_failure
            .plus(policy.lock_for)
            .max(after.locked_until);
        // The expiry entry stays at its first moment. The sweep moves it.
        let check_at = if let Some(stored) = found {
            stored.check_at
        } else {
            self.expire_at(forget_at, &record)?;
            forget_at
        };
        let stored = StoredLockout {
            lockout: after,
            forget_at,
            check_at,
        };
        if found != Some(stored) {
            self.put(record, &stored)?;
        }
        Ok(Failed { before, after })
    }

    /// The counter of the account together with those that an earlier version kept for its names.
    fn account_failures(&mut self, user: &User) -> Result<Lockout, StoreError> {
        let own = self.counter(&keys::account_lockout(&user.key))?;
        let mut counters: Vec<StoredLockout> = own.into_iter().collect();
        for login in login_keys(user) {
            counters.extend(self.counter(&keys::lockout(&login))?);
        }
        if let [only] = counters.as_slice() {
            return Ok(only.lockout);
        }
        let now = self.now;
        let valid = counters.iter().filter(|stored| now < stored.forget_at);
        Ok(valid.fold(Lockout::default(), |sum, stored| Lockout {
            failures: sum.failures.saturating_add(stored.lockout.failures),
            last_failure: sum.last_failure.max(stored.lockout.last_failure),
            locked_until: sum.locked_until.max(stored.lockout.locked_until),
        }))
    }

    fn counter(&mut self, record: &[u8]) -> Result<Option<StoredLockout>, StoreError> {
        self.get(record)
    }

    /// Clears the failures of an account and of its names. Returns whether there were any.
    pub(crate) fn forget_failures(&mut self, user: &User) -> Result<bool, StoreError> {
        let mut had_any = self.forget_account_failures(&user.key)?;
        for login in login_keys(user) {
            had_any |= self.forget_counter(&keys::lockout(&login))?;
        }
        Ok(had_any)
    }

    /// Clears the failures of an account, but not those of its names.
    pub(crate) fn forget_account_failures(&mut self, key: &UserKey) -> Result<bool, StoreError> {
        self.forget_counter(&keys::account_lockout(key))
    }

    /// Removes a counter. Returns whether it existed.
    pub(crate) fn forget_counter(&mut self, record: &[u8]) -> Result<bool, StoreError> {
        let Some(stored) = self.counter(record)? else {
            return Ok(false);
        };
        self.unexpire(stored.check_at, record);
        self.delete(record.to_vec());
        Ok(true)
    }
}
