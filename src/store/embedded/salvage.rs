//! A new store from what can still be read of a damaged one. Its sessions are all over: revocations
//! may be among what was lost.

use crate::model::user::User;
use crate::store::embedded::Embedded;
use crate::store::embedded::keys::{self, META_CLOCK, META_DECOY, META_TOTALS};
use crate::store::embedded::ledger::Entry;
use crate::store::embedded::records::{StoredDevice, StoredLockout, Totals};
use crate::store::embedded::transaction::Transaction;
use crate::store::{LoginKey, StoreError, codec};

/// What was kept and what was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// Accounts.
    pub users: u64,
    /// Counters of failed log-ins.
    pub lockouts: u64,
    /// Audit lines.
    pub audit_lines: u64,
    /// Records of other kinds.
    pub others: u64,
    /// Sessions that were read; they are over.
    pub sessions_ended: u64,
    /// Login names that two accounts claim; the first keeps it.
    pub logins_claimed_twice: u64,
    /// Records that are damaged.
    pub damaged: u64,
}

impl Embedded {
    /// Takes in records of a damaged store, and counts them.
    pub(in crate::store) async fn take_in(
        &self,
        records: Vec<Entry>,
        so_far: Kept,
    ) -> Result<Kept, StoreError> {
        // The new store begins no earlier than the old one stood; each commit writes the time.
        for record in records.iter().filter(|record| record.key == META_CLOCK) {
            if let Ok(reached) = codec::decode(META_CLOCK, &record.value) {
                self.clock.resume(reached);
            }
        }
        self.run(move |view| {
            let mut kept = so_far;
            for record in records {
                view.take_in(record, &mut kept)?;
            }
            view.count(|totals| {
                totals.users = kept.users;
                totals.audit_lines = totals.audit_lines.max(kept.audit_lines);
            })?;
            Ok(kept)
        })
        .await
    }
}

impl Transaction<'_> {
    fn take_in(&mut self, record: Entry, kept: &mut Kept) -> Result<(), StoreError> {
        let Entry { key, value } = record;
        if codec::check(&key, &value).is_err() {
            kept.damaged += 1;
            return Ok(());
        }
        match key.first() {
            Some(&keys::ACCOUNT) => self.take_in_account(key, value, kept),
            Some(&keys::LOCKOUT) => {
                let Ok(stored) = codec::decode::<StoredLockout>(&key, &value) else {
                    kept.damaged += 1;
                    return Ok(());
                };
                self.expire_at(stored.check_at, &key)?;
                self.put_raw(key, value);
                kept.lockouts += 1;
                Ok(())
            }
            Some(&keys::DEVICE) => {
                let Ok(stored) = codec::decode::<StoredDevice>(&key, &value) else {
                    kept.damaged += 1;
                    return Ok(());
                };
                self.expire_at(stored.check_at, &key)?;
                self.put_raw(key, value);
                kept.others += 1;
                Ok(())
            }
            Some(&keys::SESSION) => {
                kept.sessions_ended += 1;
                Ok(())
            }
            // Made again from the accounts, or of no use without the sessions.
            Some(
                &(keys::LOGIN
                | keys::SESSION_INDEX
                | keys::EXPIRY
                | keys::REVOCATION
                | keys::CHALLENGE),
            )
            | None => Ok(()),
            Some(b'M') => {
                // The numbers of parameter sets are counted anew when the store is opened.
                if key == META_DECOY {
                    self.put_raw(key, value);
                } else if key == META_TOTALS
                    && let Ok(found) = codec::decode::<Totals>(&key, &value)
                {
                    // New audit lines are numbered behind those that there were.
                    self.count(|totals| totals.audit_lines = found.audit_lines)?;
                }
                Ok(())
            }
            Some(&tag) => {
                if tag == keys::AUDIT {
                    kept.audit_lines += 1;
                } else if tag != keys::AUDIT_INDEX {
                    kept.others += 1;
                }
                self.put_raw(key, value);
                Ok(())
            }
        }
    }

    fn take_in_account(
        &mut self,
        key: Vec<u8>,
        value: Vec<u8>,
        kept: &mut Kept,
    ) -> Result<(), StoreError> {
        let Ok((user, _)) = codec::decode_versioned::<User>(&key, &value) else {
            kept.damaged += 1;
            return Ok(());
        };
        for login in user.logins() {
            let login = keys::login(&LoginKey {
                tenant: user.key.tenant.clone(),
                login: login.clone(),
            });
            if self.has(&login)? {
                kept.logins_claimed_twice += 1;
            } else {
                self.put(login, &user.key.user)?;
            }
        }
        self.put_raw(key, value);
        kept.users += 1;
        Ok(())
    }
}
