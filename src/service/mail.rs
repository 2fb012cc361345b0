//! Which acts cause a mail, and how are the mails of the queue delivered?
//!
//! A mail is stored in the step of the act that causes it, sealed with a key of the key directory. [`deliver`] runs
//! beside the requests: an answer never waits for a mail server. A mail is removed after the server accepted it, so
//! after `kill -9` in between it is sent again, with the same Message-ID.

use std::sync::Arc;
use std::time::Duration;

use crate::crypto::sealed_record::Purpose;
use crate::mail::{By, Failure, Letter, Mailer, Subject};
use crate::model::audit::AuditAction;
use crate::model::user::User;
use crate::service::audit::Entry;
use crate::service::caller::Caller;
use crate::service::error::AuthError;
use crate::service::upkeep::Upkeep;
use crate::service::{Current, Service};
use crate::store::{
    AccountStore as _, Effect, MailId, MailStore as _, Queued, QueuedMail, StoreError, UserUpdated,
};
use crate::telemetry::metrics::Event;
use crate::types::random::Random;

/// How often the queue is read.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// The number of mails that are read at once.
const BATCH: usize = 16;

/// The wait after the first failed attempt. It doubles with each attempt, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// The age at which a mail is given up, after a failed attempt.
const GIVE_UP_AFTER: Duration = Duration::from_secs(2 * 86_400);

/// Delivers the mails of the queue until dropped, each time with the service in force.
pub async fn deliver(current: Arc<Current>, mailer: Mailer, upkeep: Arc<Upkeep>) {
    let mut check = tokio::time::interval(CHECK_EVERY);
    check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_reported = false;
    loop {
        check.tick().await;
        match current.load_full().deliver_due(&mailer, &upkeep).await {
            Ok(()) => is_reported = false,
            Err(error) => {
                if !is_reported {
                    tracing::warn!(%error, "the queue of mails cannot be read; trying again");
                }
                is_reported = true;
            }
        }
    }
}

impl Service {
    /// Replaces an account, with a mail to its owner about the change of the password. Without mail, or without
    /// a verified address, there is no mail.
    pub(super) async fn change_password_of(
        &self,
        user: User,
        effect: Effect,
        by: Changer<'_>,
    ) -> Result<UserUpdated, AuthError> {
        let Some(mail) = self.password_mail(&user, by) else {
            return Ok(self.parts.store.update_user(user, effect).await?);
        };
        let key = user.key.clone();
        let updated = self.parts.store.update_user_with_mail(user, effect, mail);
        let (updated, queued) = updated.await?;
        match queued {
            Queued::Stored => self.parts.events.count(Event::MailQueued),
            Queued::Full => {
                tracing::error!("the queue of mails is full; a mail was dropped");
                self.parts.events.count(Event::MailDropped);
                let entry = Entry::by_system(self.now(), AuditAction::MailFail, "queue_full");
                self.parts.audit.record(entry.about(&key).done());
            }
            Queued::NotDone => {}
        }
        Ok(updated)
    }

    fn password_mail(&self, user: &User, by: Changer<'_>) -> Option<QueuedMail> {
        let default = self.parts.settings.mail?;
        let email = user.verified_email()?;
        let (by, caller) = match by {
            Changer::Owner(caller) => (By::Owner, Some(caller)),
            Changer::Operator => (By::Operator, None),
        };
        let name = user.name.as_deref().unwrap_or_else(|| user.handle());
        let letter = Letter {
            to: email.as_str().to_owned(),
            name: name.to_owned(),
            language: caller.and_then(|caller| caller.language).unwrap_or(default),
            at: self.now(),
            subject: Subject::PasswordChanged {
                by,
                address: caller.and_then(|caller| caller.address),
            },
        };
        self.seal_letter(user, &letter)
    }

    fn seal_letter(&self, user: &User, letter: &Letter) -> Option<QueuedMail> {
        let id = MailId(self.parts.random.bytes());
        let (keys, random) = (self.parts.keys.refresh(), &*self.parts.random);
        let sealed = keys.seal(Purpose::Mail, &id.0, &letter.encode()?, random)?;
        Some(QueuedMail {
            id,
            owner: user.key.clone(),
            queued_at: self.now(),
            due_at: self.now(),
            attempts: 0,
            sealed,
        })
    }

    /// Delivers the mails that are due, one after the other.
    async fn deliver_due(&self, mailer: &Mailer, upkeep: &Upkeep) -> Result<(), StoreError> {
        loop {
            let due = self.parts.store.due_mails(BATCH).await?;
            upkeep.note_mails(due.waiting);
            if due.mails.is_empty() {
                return Ok(());
            }
            for mail in due.mails {
                self.deliver_one(mailer, &mail).await?;
            }
        }
    }

    async fn deliver_one(&self, mailer: &Mailer, mail: &QueuedMail) -> Result<(), StoreError> {
        let opened = self.parts.keys.refresh();
        let opened = opened.open(Purpose::Mail, &mail.id.0, &mail.sealed);
        let Some(letter) = opened.and_then(|bytes| Letter::decode(&bytes)) else {
            let why = "its key is not in the key directory, or it is damaged";
            return self.give_up(mail, "unreadable", why).await;
        };
        match mailer.deliver(&letter, mail.id.0).await {
            Ok(()) => {
                self.parts.store.remove_mail(mail).await?;
                self.parts.events.count(Event::MailSent);
                Ok(())
            }
            Err(Failure::Refused(why)) => self.give_up(mail, "refused", &why).await,
            Err(Failure::Later(why)) if self.now().since(mail.queued_at) >= GIVE_UP_AFTER => {
                self.give_up(mail, "expired", &why).await
            }
            Err(Failure::Later(why)) => {
                let wait = wait(mail.attempts, &*self.parts.random);
                let due_at = self.now().plus(wait);
                self.parts.store.postpone_mail(mail, due_at).await?;
                self.parts.events.count(Event::MailPostponed);
                let wait = humantime::format_duration(Duration::from_secs(wait.as_secs()));
                tracing::warn!(error = %why, %wait, "a mail was not delivered; trying again");
                Ok(())
            }
        }
    }

    async fn give_up(&self, mail: &QueuedMail, outcome: &str, why: &str) -> Result<(), StoreError> {
        self.parts.store.remove_mail(mail).await?;
        self.parts.events.count(Event::MailFailed);
        tracing::error!(error = %why, outcome, "a mail is not delivered");
        let entry = Entry::by_system(self.now(), AuditAction::MailFail, outcome);
        self.parts.audit.record(entry.about(&mail.owner).done());
        Ok(())
    }
}

/// The actor of a change.
#[derive(Debug, Clone, Copy)]
pub(super) enum Changer<'a> {
    /// The owner, by this request.
    Owner(&'a Caller),
    /// An operator.
    Operator,
}

/// The wait before the next attempt: exponential, and a random part of it, so that the mails that failed together
/// are not tried together again.
fn wait(attempts: u32, random: &dyn Random) -> Duration {
    let factor = 2_u32.saturating_pow(attempts.min(16));
    let longest = FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT);
    let half = longest / 2;
    let share = u32::from(random.bytes::<1>()[0]);
    half + half * share / 255
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::random::SeededRandom;

    #[test]
    fn the_wait_doubles_up_to_an_hour_and_differs_between_mails() {
        let random = SeededRandom::new(7);
        for attempts in 0..40 {
            let longest = (30 * 2_u64.saturating_pow(attempts)).min(3_600);
            let waits: Vec<_> = (0..200).map(|_| wait(attempts, &random)).collect();
            for wait in &waits {
                assert!(
                    *wait >= Duration::from_secs(longest) / 2,
                    "{attempts}: {wait:?}"
                );
                assert!(
                    *wait <= Duration::from_secs(longest),
                    "{attempts}: {wait:?}"
                );
            }
            assert!(waits.iter().any(|wait| *wait != waits[0]));
        }
    }
}
