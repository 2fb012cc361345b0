//! What do the operations on mails promise?

use std::time::Duration;

use crate::model::user::User;
use crate::store::contract::{Subject, account};
use crate::store::{
    AccountStore, AnyStore, Effect, MAX_MAILS, MailId, MailStore, Queued, QueuedMail, StoreError,
    UserUpdated,
};
use crate::types::time::Clock;

const MINUTE: Duration = Duration::from_secs(60);

fn mail(s: &Subject<AnyStore>, owner: &User, n: u16) -> QueuedMail {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&n.to_be_bytes());
    QueuedMail {
        id: MailId(id),
        owner: owner.key.clone(),
        queued_at: s.clock.now(),
        due_at: s.clock.now(),
        attempts: 0,
        sealed: vec![7; 40],
    }
}

/// A stored account.
async fn stored(s: &Subject<AnyStore>, name: &str) -> User {
    let user = account(&s.user(), name);
    s.store.create_user(user.clone()).await.unwrap();
    user
}

/// Changes the account together with a mail, and returns its new version.
async fn change(s: &Subject<AnyStore>, user: User, mail: QueuedMail) -> (User, Queued) {
    let changed = s
        .store
        .update_user_with_mail(user.clone(), Effect::None, mail);
    let (updated, queued) = changed.await.unwrap();
    assert_eq!(updated, UserUpdated::Stored(vec![]));
    let version = user.version + 1;
    (User { version, ..user }, queued)
}

pub(super) async fn a_mail_is_stored_with_its_act_or_not_at_all(s: Subject<AnyStore>) {
    let old = stored(&s, "ann").await;
    let first = mail(&s, &old, 1);
    let (ann, queued) = change(&s, old.clone(), first.clone()).await;
    assert_eq!(queued, Queued::Stored);
    // An old version: nothing happens.
    let second = mail(&s, &ann, 2);
    let stale = s
        .store
        .update_user_with_mail(old, Effect::None, second.clone());
    assert_eq!(stale.await, Ok((UserUpdated::Stale, Queued::NotDone)));
    let large = QueuedMail {
        sealed: vec![7; 2_049],
        ..second
    };
    let refused = s
        .store
        .update_user_with_mail(ann.clone(), Effect::None, large);
    assert_eq!(refused.await, Err(StoreError::TooLarge(2_049)));
    assert_eq!(s.store.user(&ann.key).await, Ok(Some(ann)));
    let due = s.store.due_mails(10).await.unwrap();
    assert_eq!((due.mails, due.waiting), (vec![first], 1));
}

pub(super) async fn a_mail_is_due_at_its_time_and_removed_once(s: Subject<AnyStore>) {
    let mut ann = stored(&s, "ann").await;
    for n in 1..=3 {
        let next = mail(&s, &ann, n);
        (ann, _) = change(&s, ann, next).await;
        s.clock.advance(MINUTE);
    }
    let due = s.store.due_mails(2).await.unwrap();
    let ids: Vec<_> = due.mails.iter().map(|mail| mail.id.0[1]).collect();
    assert_eq!((ids, due.waiting), (vec![1, 2], 3), "the longest due first");
    let first = due.mails[0].clone();
    let later = s.clock.now().plus(MINUTE);
    assert_eq!(s.store.postpone_mail(&first, later).await, Ok(true));
    assert_eq!(s.store.postpone_mail(&first, later).await, Ok(false));
    assert_eq!(s.store.due_mails(10).await.unwrap().mails.len(), 2);
    s.clock.advance(MINUTE);
    let due = s.store.due_mails(10).await.unwrap();
    assert_eq!((due.mails.len(), due.waiting), (3, 3));
    let again = due.mails[2].clone();
    assert_eq!((again.id, again.attempts), (first.id, 1));
    assert_eq!(again.sealed, first.sealed);
    assert_eq!(again.queued_at, first.queued_at);
    assert_eq!(s.store.remove_mail(&again).await, Ok(true));
    assert_eq!(s.store.remove_mail(&again).await, Ok(false));
    assert_eq!(s.store.due_mails(10).await.unwrap().waiting, 2);
}

pub(super) async fn the_mails_about_an_account_are_removed_with_it(s: Subject<AnyStore>) {
    let (ann, bob) = (stored(&s, "ann").await, stored(&s, "bob").await);
    let about_ann = mail(&s, &ann, 1);
    let about_bob = mail(&s, &bob, 2);
    let (ann, _) = change(&s, ann, about_ann).await;
    change(&s, bob, about_bob.clone()).await;
    s.store.delete_user(&ann.key).await.unwrap();
    let due = s.store.due_mails(10).await.unwrap();
    assert_eq!((due.mails, due.waiting), (vec![about_bob], 1));
}

pub(super) async fn a_full_queue_drops_the_mail_and_not_the_act(s: Subject<AnyStore>) {
    let mut ann = stored(&s, "ann").await;
    let max = u16::try_from(MAX_MAILS).unwrap();
    for n in 0..max {
        let next = mail(&s, &ann, n);
        let queued;
        (ann, queued) = change(&s, ann, next).await;
        assert_eq!(queued, Queued::Stored, "{n}");
    }
    let one_more = mail(&s, &ann, max);
    let (ann, queued) = change(&s, ann, one_more).await;
    assert_eq!(queued, Queued::Full);
    assert_eq!(s.store.user(&ann.key).await, Ok(Some(ann.clone())));
    s.store.delete_user(&ann.key).await.unwrap();
    assert_eq!(s.store.due_mails(1).await.unwrap().waiting, 0);
}
