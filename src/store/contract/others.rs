//! Challenges, failure counters, audit, upkeep.

use std::time::Duration;

use crate::model::audit::{Actor, AuditAction, AuditRecord};
use crate::model::session::EndReason;
use crate::model::user::UserKey;
use crate::store::contract::{CAP, DAY, REVOCATION_LIFE, Subject, account, login, race};
use crate::store::{
    AccountStore, Attempt, AuditStore, Challenge, ChallengeId, ChallengeStore, Embedded, Lifecycle,
    LockPolicy, LockoutStore, LoginProof, ProofHash, RevocationLog, Scope, SessionStore,
    StoreError,
};
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

pub(super) async fn c10_a_challenge_is_compared_so_often_and_passed_once(s: Subject<Embedded>) {
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
    // Neither the right answer nor the same call again opens it once more.
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

pub(super) async fn a_challenge_ends_with_its_time_and_is_bounded(s: Subject<Embedded>) {
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

pub(super) async fn parallel_failures_are_counted_exactly(s: Subject<Embedded>) {
    let answers = race(&s, 32, |store, _| async move {
        let state = store.fail_login(&login("ann"), LOCK).await;
        state.unwrap().failures
    })
    .await;
    let mut counts = answers;
    counts.sort_unstable();
    assert_eq!(counts, (1..=32).collect::<Vec<_>>());
    assert_eq!(s.store.lockout(&login("ann")).await.unwrap().failures, 32);
    assert_eq!(s.store.lockout(&login("bob")).await.unwrap().failures, 0);
    let policy = LockPolicy {
        max_failures: 3,
        ..LOCK
    };
    for _ in 0..3 {
        s.store.fail_login(&login("bob"), policy).await.unwrap();
    }
    let bob = s.store.lockout(&login("bob")).await.unwrap();
    assert!(bob.is_locked(s.clock.now()));
    assert!(!bob.is_locked(s.clock.now().plus(policy.lock_for)));
}

pub(super) async fn a_login_or_an_unlock_forgets_failures(s: Subject<Embedded>) {
    let ann = login("ann");
    s.store.fail_login(&ann, LOCK).await.unwrap();
    assert_eq!(s.store.unlock(&ann).await, Ok(true));
    assert_eq!(s.store.unlock(&ann).await, Ok(false));
    s.store.fail_login(&ann, LOCK).await.unwrap();
    let user = s.user();
    s.store.create_user(account(&user, "ann")).await.unwrap();
    let proof = LoginProof {
        login: ann.clone(),
        version: 0,
    };
    s.store
        .create(s.draft(&user), CAP, Some(proof))
        .await
        .unwrap();
    assert_eq!(s.store.lockout(&ann).await.unwrap().failures, 0);
}

pub(super) async fn the_sweep_removes_what_is_over_and_nothing_younger(s: Subject<Embedded>) {
    let user = s.user();
    let idle = s.session(&user).await;
    let used = s.session(&user).await;
    let ended = s.session(&user).await;
    let one = Scope::One(ended.key.clone());
    s.store.end(&one, EndReason::LoggedOut).await.unwrap();
    let end = s.clock.now().plus(DAY);
    s.store.put_challenge(challenge(1, end)).await.unwrap();
    s.store.fail_login(&login("ann"), LOCK).await.unwrap();
    s.store
        .append_audit(vec![line(&user, s.clock.now(), "old")])
        .await
        .unwrap();

    s.clock
        .advance(REVOCATION_LIFE.saturating_sub(Duration::from_millis(1)));
    assert_eq!(s.store.sweep(100).await, Ok(0), "nothing is due");
    assert_eq!(s.store.revocations().await.unwrap().len(), 1);
    s.clock.advance(Duration::from_millis(1));
    assert_eq!(s.store.sweep(100).await, Ok(1), "the revocation");
    assert_eq!(s.store.revocations().await, Ok(vec![]));

    s.clock.advance(Duration::from_secs(1_800));
    s.store.fail_login(&login("ann"), LOCK).await.unwrap();
    s.rotate(&used.key, 0, crate::store::contract::GRACE).await;
    s.clock.advance(Duration::from_secs(1_800));
    s.store.sweep(100).await.unwrap();
    assert_eq!(s.store.lockout(&login("ann")).await.unwrap().failures, 2);
    s.clock.advance(Duration::from_secs(1_800));
    s.store.sweep(100).await.unwrap();
    assert_eq!(s.store.lockout(&login("ann")).await.unwrap().failures, 0);

    let young = s.session(&user).await;
    s.clock
        .advance(DAY.saturating_sub(Duration::from_secs(5_000)));
    let mut swept = 0;
    while s.store.sweep(1).await.unwrap() == 1 {
        swept += 1;
    }
    assert_eq!(
        swept, 3,
        "the idle session, the challenge, and a look at the used session"
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

pub(super) async fn the_audit_log_is_newest_first_for_all_or_one(s: Subject<Embedded>) {
    let (ann, bob) = (s.user(), s.user());
    for n in 0..10 {
        let now = s.clock.now();
        let lines = vec![
            line(&ann, now, &format!("ann {n}")),
            line(&bob, now, &format!("bob {n}")),
        ];
        s.store.append_audit(lines).await.unwrap();
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
    let refused = s
        .store
        .append_audit(vec![line(&ann, s.clock.now(), "whole"), long])
        .await;
    assert!(matches!(refused, Err(StoreError::TooLarge(_))));
    assert_eq!(told(s.store.audit(None, 1).await.unwrap()), ["bob 9"]);
}

pub(super) async fn the_store_counts_what_it_holds(s: Subject<Embedded>) {
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
