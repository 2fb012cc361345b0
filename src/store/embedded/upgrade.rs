//! How are the accounts of an earlier version converted? Once, before the store is used.
//!
//! Addresses that an operator entered are marked as verified, and the parameter sets of password hashes
//! are counted. The audit record of the creation of an account shows who entered an address. Without
//! that record the address counts as claimed.

use crate::model::audit::{Actor, AuditAction, AuditRecord};
use crate::model::user::{HashCosts, User, VerifiedAddresses};
use crate::store::embedded::commits::{Commit, seal};
use crate::store::embedded::keys::{self, META_COSTS};
use crate::store::embedded::ledger::{Batch, Ledger, Order};
use crate::store::{Route, StoreError, codec};

/// The number of accounts in one read and one write.
const PAGE: usize = 512;

/// The number of the oldest audit records of an account that are searched. Its creation is the first of
/// all.
const OLDEST: usize = 8;

/// Does nothing in a store with converted accounts. The record of parameter sets is written last and
/// marks the end of the conversion. After a crash the conversion starts again.
pub(super) fn accounts(ledger: &mut dyn Ledger) -> Result<(), StoreError> {
    if ledger.get(META_COSTS)?.is_some() {
        return Ok(());
    }
    let mut costs = HashCosts::default();
    let mut rest = keys::accounts();
    let mut claimed = 0_u64;
    loop {
        let page = ledger.scan(&rest, Order::Ascending, PAGE)?;
        let mut batch = Batch::default();
        for entry in &page {
            // A damaged account is not changed, so that reading it reports the damage.
            let Ok((mut user, is_present)) =
                codec::decode_versioned::<User>(&entry.key, &entry.value)
            else {
                continue;
            };
            costs.add(user.password.cost());
            if is_present {
                continue;
            }
            if was_made_by_operator(ledger, &user)? {
                user.verified = VerifiedAddresses::ALL;
            } else if user.email.is_some() {
                claimed += 1;
            }
            let bytes = codec::encode_versioned(&entry.key, &user)?;
            batch.writes.insert(entry.key.clone(), Some(bytes));
        }
        if !batch.is_empty() {
            commit(ledger, batch)?;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => rest = rest.after(&last.key),
            _ => break,
        }
    }
    if costs == HashCosts::default() {
        // Without any account, counting begins with the first one.
        return Ok(());
    }
    let mut batch = Batch::default();
    let bytes = codec::encode(META_COSTS, &costs)?;
    batch.writes.insert(META_COSTS.to_vec(), Some(bytes));
    commit(ledger, batch)?;
    if claimed > 0 {
        tracing::warn!(
            accounts = claimed,
            "e-mail addresses of these accounts were claimed at sign-up, or no record shows who \
             entered them: they are no longer passed on; `sidegate users verify` confirms one"
        );
    }
    Ok(())
}

fn commit(ledger: &mut dyn Ledger, mut batch: Batch) -> Result<(), StoreError> {
    let commit = seal(ledger, &mut batch, Commit::default())?;
    ledger.commit(&batch, &commit)
}

fn was_made_by_operator(ledger: &mut dyn Ledger, user: &User) -> Result<bool, StoreError> {
    let range = keys::audit_index_of(Route::of(&user.key));
    for entry in ledger.scan(&range, Order::Ascending, OLDEST)? {
        let Some(key) = keys::indexed_audit(&entry.key) else {
            continue;
        };
        let Some(bytes) = ledger.get(&key)? else {
            continue;
        };
        let Ok(line) = codec::decode::<AuditRecord>(&key, &bytes) else {
            continue;
        };
        if line.action == AuditAction::SignUp {
            return Ok(line.actor == Actor::Operator);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::model::lockout::Lockout;
    use crate::model::user::{PasswordHash, UserKey, UserStatus};
    use crate::store::embedded::Embedded;
    use crate::store::embedded::account_record::First;
    use crate::store::embedded::keys::META_FORMAT;
    use crate::store::embedded::records::StoredLockout;
    use crate::store::identity::Ties;
    use crate::store::memory::Memory;
    use crate::store::settings::{Engine, Settings};
    use crate::store::{AccountStore as _, LockPolicy, LockoutStore as _, LoginKey, Target};
    use crate::types::ids::{StoreId, TenantId, UserId};
    use crate::types::login::LoginName;
    use crate::types::role::Roles;
    use crate::types::time::{ManualClock, Timestamp};

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn user(name: &str, number: u8) -> User {
        User {
            key: UserKey {
                tenant: TenantId::default(),
                user: UserId::from_bytes([number; 16]),
            },
            username: Some(LoginName::username(name).unwrap()),
            email: Some(LoginName::email(&format!("{name}@example.org")).unwrap()),
            mobile: None,
            verified: VerifiedAddresses::NONE,
            name: None,
            roles: Roles::default(),
            password: PasswordHash::new(format!("$argon2id$v=19$m={number},t=2,p=1$c2Fs$aGFz")),
            status: UserStatus::Enabled,
            created_at: NOW,
            updated_at: NOW,
            version: 0,
        }
    }

    struct Old {
        ledger: Memory,
        lines: u64,
    }

    impl Old {
        fn put<T: serde::Serialize>(&mut self, key: Vec<u8>, record: &T) {
            let mut batch = Batch::default();
            let bytes = codec::encode(&key, record).unwrap();
            batch.writes.insert(key, Some(bytes));
            self.ledger.commit(&batch, &Commit::default()).unwrap();
        }

        /// An account as version 0.1 wrote it.
        fn account(&mut self, user: &User, maker: Option<Actor>) {
            self.put(keys::account(&user.key), &First::from(user));
            for login in user.logins() {
                let login = LoginKey {
                    tenant: user.key.tenant.clone(),
                    login: login.clone(),
                };
                self.put(keys::login(&login), &user.key.user);
            }
            let Some(actor) = maker else { return };
            for action in [AuditAction::SignUp, AuditAction::Login] {
                self.lines += 1;
                let line = AuditRecord {
                    at: NOW,
                    action,
                    outcome: "created".to_owned(),
                    tenant: user.key.tenant.clone(),
                    user: Some(user.key.user),
                    session: None,
                    actor,
                    address: None,
                    request_id: None,
                    count: None,
                };
                self.put(keys::audit(NOW, self.lines), &line);
                let route = Route::of(&user.key);
                self.put(keys::audit_index(route, NOW, self.lines), &());
            }
        }

        fn open(self) -> Embedded {
            let settings = Settings {
                engine: Engine::Memory,
                deadline: Duration::from_secs(20),
                revocation_life: HOUR,
                audit_life: HOUR,
                lock_wait: Duration::ZERO,
            };
            let clock = Arc::new(ManualClock::new(NOW));
            let ties = Ties::none(StoreId::from_bytes([9; 16]));
            Embedded::start(&settings, Box::new(self.ledger), &ties, None, clock).unwrap()
        }
    }

    fn old() -> Old {
        let (ledger, _) = Memory::new();
        let mut old = Old { ledger, lines: 0 };
        old.put(META_FORMAT.to_vec(), &1_u32);
        old
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn addresses_entered_by_an_operator_are_verified_and_claimed_ones_are_not() {
        let (mut old, mut costs) = (old(), HashCosts::default());
        let makers = [Some(Actor::Operator), Some(Actor::Caller), None];
        for (number, maker) in makers.into_iter().enumerate() {
            let user = user(&format!("user{number}"), u8::try_from(number).unwrap() + 8);
            costs.add(user.password.cost());
            old.account(&user, maker);
        }
        // More than a page of others.
        for number in 0..600_u128 {
            let mut other = user("x", 8);
            other.key.user = UserId::from_bytes((number << 64).to_be_bytes());
            (other.username, other.email) = (None, None);
            costs.add(other.password.cost());
            old.account(&other, None);
        }
        let store = old.open();
        block_on(async {
            for (number, verified) in [true, false, false].into_iter().enumerate() {
                let before = user(&format!("user{number}"), u8::try_from(number).unwrap() + 8);
                let after = store.user(&before.key).await.unwrap().unwrap();
                assert_eq!(after.verified_email().is_some(), verified, "user{number}");
                let verified = after.verified;
                assert_eq!(after, User { verified, ..before });
            }
            assert_eq!(*store.hash_costs(), costs);
        });
    }

    #[test]
    fn a_lock_of_an_earlier_version_applies_and_moves_to_the_account() {
        let mut old = old();
        let ann = user("ann", 8);
        old.account(&ann, None);
        let key = LoginKey {
            tenant: TenantId::default(),
            login: ann.email.clone().unwrap(),
        };
        let locked_until = NOW.plus(HOUR);
        let stored = StoredLockout {
            lockout: Lockout {
                failures: 7,
                last_failure: NOW,
                locked_until,
            },
            forget_at: locked_until,
            check_at: locked_until,
        };
        old.put(keys::lockout(&key), &stored);
        old.put(keys::expiry(locked_until, &keys::lockout(&key)), &());
        let store = old.open();
        block_on(async {
            let account = Target::Account(ann.key.clone());
            let policy = LockPolicy {
                max_failures: 7,
                lock_for: HOUR,
            };
            let standing = store.standing(&account, None).await.unwrap();
            assert_eq!(standing.account, stored.lockout);
            let failed = store.count_failure(&account, None, policy).await.unwrap();
            assert_eq!(
                (failed.before, failed.after),
                (stored.lockout, stored.lockout)
            );
            let by_name = store.standing(&Target::Login(key.clone()), None).await;
            assert_eq!(by_name.unwrap().account, stored.lockout);
            assert_eq!(store.unlock(&account).await, Ok(true));
            assert_eq!(store.unlock(&Target::Login(key)).await, Ok(false));
        });
    }
}
