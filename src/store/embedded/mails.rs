//! How does an embedded store keep mails? One record each, whose key begins with the moment when it is due, and
//! their number.

use crate::model::user::{User, UserKey};
use crate::store::embedded::Embedded;
use crate::store::embedded::keys::{self, META_MAILS};
use crate::store::embedded::ledger::Order;
use crate::store::embedded::records::StoredMail;
use crate::store::embedded::transaction::Transaction;
use crate::store::{
    DueMails, Effect, MAX_MAILS, MailStore, Queued, QueuedMail, StoreError, UserUpdated, codec,
};
use crate::types::time::Timestamp;

/// The largest sealed content, in bytes.
const MAX_SEALED: usize = 2_048;

impl MailStore for Embedded {
    async fn update_user_with_mail(
        &self,
        user: User,
        effect: Effect,
        mail: QueuedMail,
    ) -> Result<(UserUpdated, Queued), StoreError> {
        if mail.sealed.len() > MAX_SEALED {
            return Err(StoreError::TooLarge(mail.sealed.len()));
        }
        self.run(move |view| {
            let updated = view.update_user(user, effect)?;
            let queued = match updated {
                UserUpdated::Stored(_) => view.queue_mail(mail)?,
                UserUpdated::Stale | UserUpdated::Gone | UserUpdated::LoginTaken(_) => {
                    Queued::NotDone
                }
            };
            Ok((updated, queued))
        })
        .await
    }

    async fn due_mails(&self, limit: usize) -> Result<DueMails, StoreError> {
        self.run(move |view| view.due_mails(limit)).await
    }

    async fn postpone_mail(
        &self,
        mail: &QueuedMail,
        due_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let mail = mail.clone();
        self.run(move |view| view.postpone_mail(&mail, due_at))
            .await
    }

    async fn remove_mail(&self, mail: &QueuedMail) -> Result<bool, StoreError> {
        let key = keys::mail(mail.due_at, mail.id);
        self.run(move |view| view.remove_mail(key)).await
    }
}

impl Transaction<'_> {
    fn queue_mail(&mut self, mail: QueuedMail) -> Result<Queued, StoreError> {
        let waiting: u64 = self.get(META_MAILS)?.unwrap_or_default();
        if waiting >= MAX_MAILS {
            return Ok(Queued::Full);
        }
        let stored = StoredMail {
            owner: mail.owner,
            queued_at: mail.queued_at,
            attempts: mail.attempts,
            sealed: mail.sealed,
        };
        self.put(keys::mail(mail.due_at, mail.id), &stored)?;
        self.put(META_MAILS.to_vec(), &waiting.saturating_add(1))?;
        Ok(Queued::Stored)
    }

    fn due_mails(&mut self, limit: usize) -> Result<DueMails, StoreError> {
        let mut mails = Vec::new();
        for entry in self.scan(&keys::mails_due(self.now), Order::Ascending, limit)? {
            let stored: StoredMail = codec::decode(&entry.key, &entry.value)?;
            let Some((due_at, id)) = keys::mail_parts(&entry.key) else {
                continue;
            };
            mails.push(QueuedMail {
                id,
                owner: stored.owner,
                queued_at: stored.queued_at,
                due_at,
                attempts: stored.attempts,
                sealed: stored.sealed,
            });
        }
        let waiting = self.get(META_MAILS)?.unwrap_or_default();
        Ok(DueMails { mails, waiting })
    }

    fn postpone_mail(&mut self, mail: &QueuedMail, due_at: Timestamp) -> Result<bool, StoreError> {
        let before = keys::mail(mail.due_at, mail.id);
        let Some(mut stored): Option<StoredMail> = self.get(&before)? else {
            return Ok(false);
        };
        stored.attempts = stored.attempts.saturating_add(1);
        self.delete(before);
        self.put(keys::mail(due_at, mail.id), &stored)?;
        Ok(true)
    }

    fn remove_mail(&mut self, key: Vec<u8>) -> Result<bool, StoreError> {
        if !self.has(&key)? {
            return Ok(false);
        }
        self.delete(key);
        self.count_mails_removed(1)?;
        Ok(true)
    }

    /// Removes the mails about an account. The queue is bounded, so reading all of it is, too.
    pub(crate) fn forget_mails(&mut self, owner: &UserKey) -> Result<(), StoreError> {
        let waiting: u64 = self.get(META_MAILS)?.unwrap_or_default();
        if waiting == 0 {
            return Ok(());
        }
        let limit = usize::try_from(MAX_MAILS).unwrap_or(usize::MAX);
        let mut removed = 0;
        for entry in self.scan(&keys::mails(), Order::Ascending, limit)? {
            let stored: StoredMail = codec::decode(&entry.key, &entry.value)?;
            if stored.owner == *owner {
                self.delete(entry.key);
                removed += 1;
            }
        }
        if removed > 0 {
            self.count_mails_removed(removed)?;
        }
        Ok(())
    }

    fn count_mails_removed(&mut self, removed: u64) -> Result<(), StoreError> {
        let waiting: u64 = self.get(META_MAILS)?.unwrap_or_default();
        self.put(META_MAILS.to_vec(), &waiting.saturating_sub(removed))
    }
}
