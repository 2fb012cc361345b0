//! What do the operations on challenges, failure counters, audit records and upkeep promise?

use std::sync::Arc;
use std::time::Duration;

use crate::model::audit::{Actor, AuditAction, AuditRecord};
use crate::model::lockout::Lockout;
use crate::model::session::EndReason;
use crate::model::user::{HashCosts, PasswordHash, User, UserKey};
use crate::store::contract::{CAP, DAY, REVOCATION_LIFE, Subject, account, login, race};
use crate::store::testing;
use crate::store::{
    AccountStore, AnyStore, Attempt, AuditStore, Challenge, ChallengeId, ChallengeStore,
    DEVICE_LIFE, Effect, Lifecycle, LockPolicy, LockoutStore, LoginProof, MAX_DEVICES, ProofHash,
    RevocationFeed, Scope, SessionStore, StoreError, Target,
};
use crate::types::ids::DeviceId;
use crate::types::login::LoginName;
use crate::types::time::{Clock, Timestamp};

const LOCK: LockPolicy = LockPolicy {
    max_failures: 1_000,
    lock_for: Duration::from_secs(3_600),
};

fn challenge(n: u8, expires_at: Timestamp) -> Challenge {
    Challenge {
        id: ChallengeId([n; 16]),
        proof: ProofHash([n; 32]),
        attempts: 5,
        expires_at,
        payload: vec![n; 3],
    }
}

pub(super) async fn c10_a_challenge_is_compared_so_often_and_passed_once(s: Subject<AnyStore>) {
    let end = s.clock.now().plus(DAY);
    s.store.put_challenge(challenge(1, end)).await.unwrap();
    let wrong = ProofHash([99; 32]);
    let mut answers = race(&s, 32, |store, _| async move {
        store.attempt(ChallengeId([1; 16]), wrong).await.unwrap()
    })
    .await;
    answers.retain(|answer| *answer != Attempt::Gone);
    answers.sort_by_key(|answer| match answer {
        Attempt::Wrong { left } => *left,
        Attempt::Passed(_) | Attempt::Gone => panic!("{answer:?}"),
    });
    let left: Vec<_> = (0..5).map(|left| Attempt::Wrong { left }).collect();
    assert_eq!(answers, left);
    // After that, neither the right answer nor a repeated call makes it usable again.
    s.store.put_challenge(challenge(1, end)).await.unwrap();
    let late = s
        .store
        .attempt(ChallengeId([1; 16]), ProofHash([1; 32]))
        .await;
    assert_eq!(late, Ok(Attempt::Gone));

    s.store.put_challenge(challenge(2, end)).await.unwrap();
    let answers = race(&s, 32, |store, _| async move {
        let right = ProofHash([2; 32]);
        store.attempt(ChallengeId([2; 16]), right).await.unwrap()
    })
    .await;
    let passed = Attempt::Passed(vec![2; 3]);
    assert_eq!(answers.iter().filter(|a| **a == passed).count(), 1);
    assert_eq!(answers.iter().filter(|a| **a == Attempt::Gone).count(), 31);
}

pub(super) async fn a_challenge_ends_with_its_time_and_is_bounded(s: Subject<AnyStore>) {
    let end = s.clock.now().plus(DAY);
    s.store.put_challenge(challenge(1, end)).await.unwrap();
    s.clock.advance(DAY);
    let late = s
        .store
        .attempt(ChallengeId([1; 16]), ProofHash([1; 32]))
        .await;
    assert_eq!(late, Ok(Attempt::Gone));
    let mut large = challenge(2, s.clock.now().plus(DAY));
    large.payload = vec![0; 2_049];
    let refused = s.store.put_challenge(large).await;
    assert_eq!(refused, Err(StoreError::TooLarge(2_049)));
}

fn named(name: &str) -> Target {
    Target::Login(login(name))
}

async fn fail(s: &Subject<AnyStore>, target: &Target, device: Option<DeviceId>) -> Lockout {
    let failed = s.store.count_failure(target, device, LOCK).await;
    failed.unwrap().after
}

async fn failures(s: &Subject<AnyStore>, target: &Target) -> u32 {
    let standing = s.store.standing(target, None).await.unwrap();
    standing.account.failures
}

pub(super) async fn parallel_failures_are_counted_exactly(s: Subject<AnyStore>) {
    let answers = race(&s, 32, |store, _| async move {
        let failed = store.count_failure(&named("ann"), None, LOCK).await;
        failed.unwrap().after.failures
    })
    .await;
    let mut counts = answers;
    counts.sort_unstable();
    assert_eq!(counts, (1..=32).collect::<Vec<_>>());
    assert_eq!(failures(&s, &named("ann")).await, 32);
    assert_eq!(failures(&s, &named("bob")).await, 0);
    let policy = LockPolicy {
        max_failures: 3,
        ..LOCK
    };
    for _ in 0..3 {
        let failed = s.store.count_failure(&named("bob"), None, policy).await;
        let failed = failed.unwrap();
        assert_eq!(failed.before.failures + 1, failed.after.failures);
    }
    let bob = s.store.standing(&named("bob"), None).await.unwrap().account;
    assert!(bob.is_locked(s.clock.now()));
    assert!(!bob.is_locked(s.clock.now().plus(policy.lock_for)));
}

pub(super) async fn an_account_has_one_counter_over_all_of_its_names(s: Subject<AnyStore>) {
    let key = s.user();
    let mut user = account(&key, "ann");
    user.email = Some(LoginName::email("ann@example.org").unwrap());
    user.mobile = Some(LoginName::mobile("+4915123456789").unwrap());
    s.store.create_user(user).await.unwrap();
    let ways = [
        named("ann"),
        named("ann@example.org"),
        named("+4915123456789"),
        Target::Account(key.clone()),
    ];
    for (before, way) in ways.iter().enumerate() {
        assert_eq!(fail(&s, way, None).await.failures as usize, before + 1);
    }
    for way in &ways {
        assert_eq!(failures(&s, way).await, 4);
    }
    assert_eq!(fail(&s, &named("nobody"), None).await.failures, 1);
    assert_eq!(s.store.unlock(&ways[1]).await, Ok(true));
    for way in &ways {
        assert_eq!(failures(&s, way).await, 0);
    }
    // The counters of a deleted account are removed, and failures with a free name do not lock out its next
    // owner.
    fail(&s, &ways[0], None).await;
    s.store.delete_user(&key).await.unwrap();
    assert_eq!(failures(&s, &ways[0]).await, 0);
    assert_eq!(failures(&s, &ways[3]).await, 0);
    fail(&s, &ways[0], None).await;
    assert_eq!(failures(&s, &ways[0]).await, 1);
    let next = s.user();
    s.store.create_user(account(&next, "ann")).await.unwrap();
    assert_eq!(failures(&s, &ways[0]).await, 0);
}

pub(super) async fn a_login_or_an_unlock_forgets_failures(s: Subject<AnyStore>) {
    let ann = named("ann");
    fail(&s, &ann, None).await;
    assert_eq!(s.store.unlock(&ann).await, Ok(true));
    assert_eq!(s.store.unlock(&ann).await, Ok(false));
    let user = s.user();
    s.store.create_user(account(&user, "ann")).await.unwrap();
    fail(&s, &ann, None).await;
    let proof = LoginProof { version: 0 };
    s.store
        .create(s.draft(&user), CAP, Some(proof))
        .await
        .unwrap();
    assert_eq!(failures(&s, &ann).await, 0);
}

pub(super) async fn a_device_is_known_after_a_login_and_counts_its_own_failures(
    s: Subject<AnyStore>,
) {
    let (user, other) = (s.user(), s.user());
    s.store.create_user(account(&user, "ann")).await.unwrap();
    s.store.create_user(account(&other, "bob")).await.unwrap();
    let device = DeviceId::from_bytes([7; 16]);
    let known = |name: &'static str, device: DeviceId| {
        let store = Arc::clone(&s.store);
        async move {
            let standing = store.standing(&named(name), Some(device)).await.unwrap();
            standing.device.map(|device| device.failures)
        }
    };
    assert_eq!(known("ann", device).await, None);
    let log_in = |device: DeviceId| {
        let mut session = s.draft(&user);
        session.device_id = Some(device);
        let store = Arc::clone(&s.store);
        let proof = Some(LoginProof { version: 0 });
        async move { store.create(session, CAP, proof).await.unwrap() }
    };
    log_in(device).await;
    assert_eq!(known("ann", device).await, Some(0));
    assert_eq!(known("bob", device).await, None, "each account has its own");
    fail(&s, &named("ann"), Some(device)).await;
    fail(&s, &named("ann"), None).await;
    assert_eq!(known("ann", device).await, Some(1));
    assert_eq!(failures(&s, &named("ann")).await, 2);
    assert_eq!(s.store.unlock(&named("ann")).await, Ok(true));
    assert_eq!(known("ann", device).await, Some(0));
    // A device is known after its sessions have ended, and unused devices do not displace a used one.
    let all = Scope::AllOf(user.clone());
    s.store.end(&all, EndReason::LoggedOut).await.unwrap();
    log_in(device).await;
    s.store.end(&all, EndReason::LoggedOut).await.unwrap();
    for n in 0..2 * MAX_DEVICES {
        s.clock.advance(Duration::from_secs(1));
        let number = u128::try_from(n).unwrap() + 1_000;
        log_in(DeviceId::from_bytes(number.to_be_bytes())).await;
    }
    assert_eq!(known("ann", device).await, Some(0));
    let first = DeviceId::from_bytes(1_000_u128.to_be_bytes());
    s.store.end(&all, EndReason::LoggedOut).await.unwrap();
    assert_eq!(known("ann", first).await, None);
    s.clock.advance(DEVICE_LIFE);
    assert_eq!(known("ann", device).await, None);
}

pub(super) async fn the_parameter_sets_of_hashes_are_counted(s: Subject<AnyStore>) {
    let hash = |cost: u32| PasswordHash::new(format!("$argon2id$v=19$m={cost},t=2,p=1$c2Fs$aGFz"));
    let mut expected = HashCosts::default();
    let mut users = Vec::new();
    for n in 0..4 {
        let mut user = account(&s.user(), &format!("user{n}"));
        user.password = hash(n % 2 + 8);
        expected.add(user.password.cost());
        s.store.create_user(user.clone()).await.unwrap();
        users.push(user);
    }
    assert_eq!(*s.store.hash_costs(), expected);
    let changed = User {
        password: hash(8),
        ..users[1].clone()
    };
    s.store.update_user(changed, Effect::None).await.unwrap();
    expected.remove(&hash(9).cost());
    expected.add(hash(8).cost());
    s.store.delete_user(&users[0].key).await.unwrap();
    expected.remove(&hash(8).cost());
    assert_eq!(*s.store.hash_costs(), expected);
    assert_eq!(s.store.decoy_key([1; 32]).await, Ok([1; 32]));
    assert_eq!(s.store.decoy_key([2; 32]).await, Ok([1; 32]));
}

pub(super) async fn the_sweep_removes_what_is_over_and_nothing_younger(s: Subject<AnyStore>) {
    let user = s.user();
    let idle = s.session(&user).await;
    let used = s.session(&user).await;
    let ended = s.session(&user).await;
    let one = Scope::One(ended.key.clone());
    s.store.end(&one, EndReason::LoggedOut).await.unwrap();
    let end = s.clock.now().plus(DAY);
    s.store.put_challenge(challenge(1, end)).await.unwrap();
    fail(&s, &named("ann"), None).await;
    testing::append_audit(&s.store, vec![line(&user, s.clock.now(), "old")])
        .await
        .unwrap();

    s.clock
        .advance(REVOCATION_LIFE.saturating_sub(Duration::from_millis(1)));
    assert_eq!(s.store.sweep(100).await, Ok(0), "nothing is due");
    let log = s.store.revocations().await.unwrap();
    assert_eq!(log.revocations.len(), 1);
    s.clock.advance(Duration::from_millis(1));
    assert_eq!(s.store.sweep(100).await, Ok(1), "the revocation");
    let log = s.store.revocations().await.unwrap();
    assert_eq!(log.revocations, []);

    s.clock.advance(Duration::from_secs(1_800));
    fail(&s, &named("ann"), None).await;
    s.rotate(&used.key, 0, crate::store::contract::GRACE).await;
    s.clock.advance(Duration::from_secs(1_800));
    s.store.sweep(100).await.unwrap();
    assert_eq!(failures(&s, &named("ann")).await, 2);
    s.clock.advance(Duration::from_secs(1_800));
    s.store.sweep(100).await.unwrap();
    assert_eq!(failures(&s, &named("ann")).await, 0);

    let young = s.session(&user).await;
    s.clock
        .advance(DAY.saturating_sub(Duration::from_secs(5_000)));
    let mut swept = 0;
    while s.store.sweep(1).await.unwrap() == 1 {
        swept += 1;
    }
    assert_eq!(
        swept, 3,
        "the idle session, the challenge, and an examination of the used session"
    );
    assert_eq!(s.store.session(&idle.key).await, Ok(None));
    assert!(s.store.session(&used.key).await.unwrap().is_some());
    assert!(s.store.session(&young.key).await.unwrap().is_some());
    assert_eq!(s.store.stats().sessions, 2);

    assert_eq!(s.store.audit(Some(&user), 9).await.unwrap().len(), 1);
    s.clock.advance(DAY * 90);
    s.store.sweep(100).await.unwrap();
    assert_eq!(s.store.stats().sessions, 0);
    assert_eq!(s.store.audit(Some(&user), 9).await, Ok(vec![]));
    assert_eq!(s.store.audit(None, 9).await, Ok(vec![]));
}

fn line(user: &UserKey, at: Timestamp, outcome: &str) -> AuditRecord {
    AuditRecord {
        at,
        action: AuditAction::Login,
        outcome: outcome.to_owned(),
        tenant: user.tenant.clone(),
        user: Some(user.user),
        session: None,
        actor: Actor::Caller,
        address: None,
        request_id: None,
        count: None,
    }
}

pub(super) async fn the_audit_log_is_newest_first_for_all_or_one(s: Subject<AnyStore>) {
    let (ann, bob) = (s.user(), s.user());
    for n in 0..10 {
        let now = s.clock.now();
        let lines = vec![
            line(&ann, now, &format!("ann {n}")),
            line(&bob, now, &format!("bob {n}")),
        ];
        testing::append_audit(&s.store, lines).await.unwrap();
        if n % 2 == 0 {
            s.clock.advance(Duration::from_millis(1));
        }
    }
    let told = |lines: Vec<AuditRecord>| -> Vec<String> {
        lines.into_iter().map(|line| line.outcome).collect()
    };
    let all = told(s.store.audit(None, 3).await.unwrap());
    assert_eq!(all, ["bob 9", "ann 9", "bob 8"]);
    let one = told(s.store.audit(Some(&ann), 4).await.unwrap());
    assert_eq!(one, ["ann 9", "ann 8", "ann 7", "ann 6"]);
    let nobody = s.user();
    assert_eq!(s.store.audit(Some(&nobody), 4).await, Ok(vec![]));
    let long = line(&ann, s.clock.now(), &"x".repeat(5_000));
    let refused =
        testing::append_audit(&s.store, vec![line(&ann, s.clock.now(), "whole"), long]).await;
    assert!(matches!(refused, Err(StoreError::TooLarge(_))));
    assert_eq!(told(s.store.audit(None, 1).await.unwrap()), ["bob 9"]);
}

pub(super) async fn the_store_counts_what_it_holds(s: Subject<AnyStore>) {
    let user = s.user();
    s.store.create_user(account(&user, "ann")).await.unwrap();
    s.session(&user).await;
    s.session(&user).await;
    assert_eq!(s.store.check().await, Ok(()));
    let stats = s.store.stats();
    assert_eq!((stats.users, stats.sessions), (1, 2));
    assert_eq!((stats.commits, stats.operations), (4, 4));
    s.store.close().await.unwrap();
    assert_eq!(
        s.store.close().await,
        Ok(()),
        "closing twice is closing once"
    );
    let after = s.store.sessions(&user).await;
    assert!(matches!(after, Err(StoreError::Unavailable(_))));
    assert!(s.store.check().await.is_err());
}
