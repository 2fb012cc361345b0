//! Which records of a damaged store does a new store take? All but sessions, which have all ended: their
//! revocations may be lost.

use crate::model::user::User;
use crate::store::embedded::Embedded;
use crate::store::embedded::keys::{self, META_CLOCK, META_DECOY, META_TOTALS};
use crate::store::embedded::ledger::Entry;
use crate::store::embedded::records::{StoredDevice, StoredLockout, Totals};
use crate::store::embedded::transaction::Transaction;
use crate::store::{LoginKey, StoreError, codec};
use crate::types::time::Timestamp;

/// The records that were kept, and those that were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// The number of accounts.
    pub users: u64,
    /// The number of counters of failed log-ins.
    pub lockouts: u64,
    /// The number of audit records.
    pub audit_lines: u64,
    /// The number of records of other kinds.
    pub others: u64,
    /// The number of sessions that were read. They have ended.
    pub sessions_ended: u64,
    /// The number of login names that two accounts claim. The first account keeps the name.
    pub logins_claimed_twice: u64,
    /// The number of damaged records.
    pub damaged: u64,
}

impl Embedded {
    /// Takes and counts records of a damaged store.
    pub(in crate::store) async fn take_in(
        &self,
        records: Vec<Entry>,
        so_far: Kept,
    ) -> Result<Kept, StoreError> {
        // Time in the new store begins no earlier than in the old one. Each commit writes the time.
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
                let stored = codec::decode::<StoredLockout>(&key, &value);
                let check_at = stored.map(|stored| stored.check_at).ok();
                self.take_in_expiring((key, value), check_at, kept, |kept| &mut kept.lockouts)
            }
            Some(&keys::DEVICE) => {
                let stored = codec::decode::<StoredDevice>(&key, &value);
                let check_at = stored.map(|stored| stored.check_at).ok();
                self.take_in_expiring((key, value), check_at, kept, |kept| &mut kept.others)
            }
            Some(&keys::SESSION) => {
                kept.sessions_ended += 1;
                Ok(())
            }
            // Rebuilt from the accounts, useless without the sessions, or mails, which may have been sent.
            Some(
                &(keys::LOGIN
                | keys::SESSION_INDEX
                | keys::EXPIRY
                | keys::REVOCATION
                | keys::CHALLENGE
                | keys::MAIL),
            )
            | None => Ok(()),
            Some(b'M') => {
                // The numbers of parameter sets are counted when the store is opened.
                if key == META_DECOY {
                    self.put_raw(key, value);
                } else if key == META_TOTALS
                    && let Ok(found) = codec::decode::<Totals>(&key, &value)
                {
                    // The numbers of new audit records follow those of the old ones.
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

    /// Takes a record that has an expiry entry, and counts it with the others of its kind.
    fn take_in_expiring(
        &mut self,
        (key, value): (Vec<u8>, Vec<u8>),
        check_at: Option<Timestamp>,
        kept: &mut Kept,
        count: impl FnOnce(&mut Kept) -> &mut u64,
    ) -> Result<(), StoreError> {
        let Some(check_at) = check_at else {
            kept.damaged += 1;
            return Ok(());
        };
        self.expire_at(check_at, &key)?;
        self.put_raw(key, value);
        *count(kept) += 1;
        Ok(())
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
