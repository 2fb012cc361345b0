//! What do the operations on accounts promise, and how does a change of an account affect its sessions?

use crate::model::revocation::RevocationEffect;
use crate::model::session::EndReason;
use crate::model::user::AccountVersion;
use crate::store::contract::{CAP, GRACE, Subject, account, login, race, sorted};
use crate::store::{
    AccountStore, AnyStore, Created, Effect, Lifecycle, LoginProof, Rotation, Scope, SessionStore,
    UserCreated, UserUpdated,
};
use crate::types::ids::{SessionId, TenantId};
use crate::types::login::{LoginKind, LoginName};

pub(super) async fn c11_one_of_many_sign_ups_gets_the_login(s: Subject<AnyStore>) {
    let users: Vec<_> = (0..16).map(|_| account(&s.user(), "ann")).collect();
    let answers = race(&s, 16, |store, task| {
        let user = users[task as usize].clone();
        async move { store.create_user(user).await.unwrap() }
    })
    .await;
    let stored = answers.iter().filter(|a| **a == UserCreated::Stored);
    assert_eq!(stored.count(), 1);
    let taken = UserCreated::LoginTaken(LoginKind::Username);
    assert_eq!(answers.iter().filter(|a| **a == taken).count(), 15);
    assert_eq!(s.store.stats().users, 1);
    let winner = s.store.user_by_login(&login("ANN")).await.unwrap().unwrap();
    assert!(users.contains(&winner));
    // The winner repeats its call, as after a lost answer.
    assert_eq!(s.store.create_user(winner).await, Ok(UserCreated::Stored));
    assert_eq!(s.store.stats().users, 1);
}

pub(super) async fn c11_an_update_from_an_old_version_is_stale(s: Subject<AnyStore>) {
    let user = account(&s.user(), "ann");
    s.store.create_user(user.clone()).await.unwrap();
    let answers = race(&s, 8, |store, task| {
        let mut user = user.clone();
        user.name = Some(format!("writer {task}"));
        async move { store.update_user(user, Effect::None).await.unwrap() }
    })
    .await;
    let stored = UserUpdated::Stored(vec![]);
    assert_eq!(answers.iter().filter(|a| **a == stored).count(), 1);
    let stale = answers.iter().filter(|a| **a == UserUpdated::Stale);
    assert_eq!(stale.count(), 7);
    let kept = s.store.user(&user.key).await.unwrap().unwrap();
    assert_eq!(kept.version, user.version + 1);
    let nobody = account(&s.user(), "bob");
    let gone = s.store.update_user(nobody, Effect::None).await;
    assert_eq!(gone, Ok(UserUpdated::Gone));
}

pub(super) async fn a_changed_login_frees_the_old_one(s: Subject<AnyStore>) {
    let ann = account(&s.user(), "ann");
    let bob = account(&s.user(), "bob");
    s.store.create_user(ann.clone()).await.unwrap();
    s.store.create_user(bob.clone()).await.unwrap();
    let mut thief = bob.clone();
    thief.username = ann.username.clone();
    let refused = s.store.update_user(thief, Effect::None).await;
    assert_eq!(refused, Ok(UserUpdated::LoginTaken(LoginKind::Username)));
    assert_eq!(s.store.user_by_login(&login("bob")).await, Ok(Some(bob)));

    let mut renamed = ann.clone();
    renamed.username = Some(LoginName::username("anna").unwrap());
    renamed.email = Some(LoginName::email("ann@example.org").unwrap());
    let stored = s.store.update_user(renamed, Effect::None).await;
    assert_eq!(stored, Ok(UserUpdated::Stored(vec![])));
    assert_eq!(s.store.user_by_login(&login("ann")).await, Ok(None));
    for name in ["anna", "ann@example.org"] {
        let found = s.store.user_by_login(&login(name)).await.unwrap();
        assert_eq!(found.map(|user| user.key), Some(ann.key.clone()), "{name}");
    }
    let free = account(&s.user(), "ann");
    assert_eq!(s.store.create_user(free).await, Ok(UserCreated::Stored));
}

pub(super) async fn an_update_has_its_effect_on_sessions_in_the_same_step(s: Subject<AnyStore>) {
    let key = s.user();
    let mut user = account(&key, "ann");
    s.store.create_user(user.clone()).await.unwrap();
    let a = s.session(&key).await.key;
    let b = s.session(&key).await.key;
    let other = s.session(&key).await.key;
    s.rotate(&a, 0, GRACE).await;

    let stored = s.store.update_user(user.clone(), Effect::StaleClaims).await;
    let UserUpdated::Stored(told) = stored.unwrap() else {
        panic!("the version is right");
    };
    assert_eq!(told.len(), 3);
    let stale = Some(RevocationEffect::Stale(AccountVersion(user.version + 1)));
    assert_eq!(s.revocation_of(a.id).await, stale);
    assert_eq!(s.revocation_of(b.id).await, stale);
    assert!(matches!(s.rotate(&a, 1, GRACE).await, Rotation::Rotated(_)));

    user.version += 1;
    let effect = Effect::EndOthers(a.id, EndReason::PasswordChanged);
    let UserUpdated::Stored(told) = s.store.update_user(user.clone(), effect).await.unwrap() else {
        panic!("the version is right");
    };
    let mut others = [b.id, other.id];
    others.sort();
    assert_eq!(sorted(told), others);
    assert_eq!(
        s.revocation_of(a.id).await,
        stale,
        "the kept session is unchanged"
    );
    assert_eq!(s.revocation_of(b.id).await, Some(RevocationEffect::Ended));
    assert_eq!(s.store.sessions(&key).await.unwrap().len(), 1);

    user.version += 1;
    let effect = Effect::EndAll(EndReason::AccountClosed);
    let UserUpdated::Stored(told) = s.store.update_user(user.clone(), effect).await.unwrap() else {
        panic!("the version is right");
    };
    assert_eq!(sorted(told), [a.id]);
    assert_eq!(s.revocation_of(a.id).await, Some(RevocationEffect::Ended));

    // A refused update has no effect on sessions.
    let late = s.session(&key).await.key;
    let refused = s.store.update_user(user, effect).await;
    assert_eq!(refused, Ok(UserUpdated::Stale));
    assert!(s.store.session(&late).await.unwrap().is_some());
}

pub(super) async fn a_session_is_read_with_its_account_or_not_at_all(s: Subject<AnyStore>) {
    let key = s.user();
    let mut user = account(&key, "ann");
    s.store.create_user(user.clone()).await.unwrap();
    let session = s.session(&key).await;
    let both = s.store.session_with_user(&session.key).await;
    assert_eq!(both, Ok(Some((session.clone(), user.clone()))));
    s.store
        .update_user(user.clone(), Effect::None)
        .await
        .unwrap();
    user.version += 1;
    let both = s.store.session_with_user(&session.key).await;
    assert_eq!(both, Ok(Some((session.clone(), user))));

    let (mut elsewhere, mut unknown) = (session.key.clone(), session.key.clone());
    elsewhere.owner.tenant = "acme".parse().unwrap();
    unknown.id = SessionId::from_bytes([9; 16]);
    for none in [elsewhere, unknown] {
        assert_eq!(s.store.session_with_user(&none).await, Ok(None));
    }
    let without_account = s.session(&s.user()).await.key;
    assert_eq!(s.store.session_with_user(&without_account).await, Ok(None));
    let scope = Scope::One(session.key.clone());
    s.store.end(&scope, EndReason::LoggedOut).await.unwrap();
    assert_eq!(s.store.session_with_user(&session.key).await, Ok(None));
}

pub(super) async fn a_deleted_account_takes_its_logins_and_sessions_along(s: Subject<AnyStore>) {
    let key = s.user();
    s.store.create_user(account(&key, "ann")).await.unwrap();
    let session = s.session(&key).await.key;
    let ended = s.store.delete_user(&key).await.unwrap().unwrap();
    assert_eq!(sorted(ended), [session.id]);
    assert_eq!(
        s.revocation_of(session.id).await,
        Some(RevocationEffect::Ended)
    );
    assert_eq!(s.store.user(&key).await, Ok(None));
    assert_eq!(s.store.user_by_login(&login("ann")).await, Ok(None));
    assert_eq!(s.store.session(&session).await, Ok(None));
    assert_eq!(s.store.delete_user(&key).await, Ok(None));
    assert_eq!(s.store.stats().users, 0);
    let next = account(&s.user(), "ann");
    assert_eq!(s.store.create_user(next).await, Ok(UserCreated::Stored));
}

pub(super) async fn accounts_are_paged_within_their_tenant(s: Subject<AnyStore>) {
    let mut keys = Vec::new();
    for n in 0..12 {
        let user = account(&s.user(), &format!("user{n}"));
        keys.push(user.key.clone());
        s.store.create_user(user).await.unwrap();
    }
    let mut elsewhere = account(&s.user(), "user0");
    elsewhere.key.tenant = "default-2".parse().unwrap();
    let stored = s.store.create_user(elsewhere).await;
    assert_eq!(stored, Ok(UserCreated::Stored), "names are per tenant");

    keys.sort_by_key(|key| key.user);
    let tenant = TenantId::default();
    let first = s.store.users(&tenant, None, 7).await.unwrap();
    let last = first.last().map(|user| user.key.user);
    let second = s.store.users(&tenant, last, 7).await.unwrap();
    assert_eq!((first.len(), second.len()), (7, 5));
    let all: Vec<_> = first.into_iter().chain(second).map(|u| u.key).collect();
    assert_eq!(all, keys);
}

pub(super) async fn a_log_in_under_way_cannot_overtake_a_change(s: Subject<AnyStore>) {
    let key = s.user();
    let mut user = account(&key, "ann");
    s.store.create_user(user.clone()).await.unwrap();
    let proof = |version| Some(LoginProof { version });
    let create = |version| s.store.create(s.draft(&key), CAP, proof(version));

    assert!(matches!(create(0).await, Ok(Created::Stored { .. })));
    let effect = Effect::EndAll(EndReason::AccountClosed);
    s.store.update_user(user.clone(), effect).await.unwrap();
    assert_eq!(create(0).await, Ok(Created::AccountChanged));
    assert!(s.store.sessions(&key).await.unwrap().is_empty());
    user.version += 1;
    assert!(matches!(create(1).await, Ok(Created::Stored { .. })));

    s.store.delete_user(&key).await.unwrap();
    assert_eq!(create(1).await, Ok(Created::AccountChanged));
    assert!(s.store.sessions(&key).await.unwrap().is_empty());
}
