//! How are mails kept until they are delivered? In the step of the act that causes them, and until they are removed.

use std::future::Future;

use crate::model::user::{User, UserKey};
use crate::store::{Effect, StoreError, UserUpdated};
use crate::types::time::Timestamp;

/// The largest number of mails in the queue. One more is dropped; the act that causes it is not affected.
pub const MAX_MAILS: u64 = 10_000;

/// Mails that wait for their delivery. Their content is sealed before it is stored.
pub trait MailStore: Send + Sync + 'static {
    /// Replaces an account as [`update_user`](crate::store::AccountStore::update_user) does, and stores a
    /// mail in the same step if the account was replaced and the queue is not full.
    fn update_user_with_mail(
        &self,
        user: User,
        effect: Effect,
        mail: QueuedMail,
    ) -> impl Future<Output = Result<(UserUpdated, Queued), StoreError>> + Send;

    /// Up to `limit` mails that are due, the longest due first, and the number of all mails.
    fn due_mails(&self, limit: usize) -> impl Future<Output = Result<DueMails, StoreError>> + Send;

    /// Counts a failed attempt and sets when the mail is due again. `false` when it was removed.
    fn postpone_mail(
        &self,
        mail: &QueuedMail,
        due_at: Timestamp,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Removes a mail. `false` when it was removed before.
    fn remove_mail(
        &self,
        mail: &QueuedMail,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// The id of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MailId(pub [u8; 16]);

/// A mail in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedMail {
    /// Its id, which also becomes its Message-ID.
    pub id: MailId,
    /// The account that it is about. It is removed together with the account.
    pub owner: UserKey,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// When the next attempt is due.
    pub due_at: Timestamp,
    /// The number of failed attempts.
    pub attempts: u32,
    /// The content, encrypted; at most 2 KiB.
    pub sealed: Vec<u8>,
}

/// What became of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queued {
    /// It is stored.
    Stored,
    /// The queue is full. It was dropped.
    Full,
    /// The act did not happen.
    NotDone,
}

/// The answer of [`MailStore::due_mails`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DueMails {
    /// The mails that are due.
    pub mails: Vec<QueuedMail>,
    /// The number of mails in the queue, due or not.
    pub waiting: u64,
}
