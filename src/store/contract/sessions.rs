//! What do the operations on sessions promise to one caller at a time, and at the cap?

use std::net::IpAddr;
use std::time::Duration;

use crate::model::revocation::RevocationEffect;
use crate::model::session::{EndReason, Generation, SessionKey};
use crate::model::user::UserKey;
use crate::store::contract::{
    CAP, DAY, GRACE, REVOCATION_LIFE, SEEN, STRICT, Subject, race, sorted,
};
use crate::store::{
    AnyStore, Cap, Created, Lifecycle, RevocationFeed, Rotation, Route, Scope, Seen, SessionStore,
    WhenFull,
};
use crate::types::ids::{SessionId, UserId};
use crate::types::time::Clock;

pub(super) async fn c1_the_rotation_table_holds<S>(s: Subject<S>)
where
    S: SessionStore + RevocationFeed,
{
    // current
    let key = s.session_at(5).await.key;
    let Rotation::Rotated(session) = s.rotate(&key, 5, GRACE).await else {
        panic!("the current generation rotates");
    };
    assert_eq!(session.generation, Generation(6));
    assert_eq!(session.rotated_at, s.clock.now());
    // ahead, by one and by the most
    for (presented, lost) in [(6, 1), (13, 8)] {
        let key = s.session_at(5).await.key;
        let outcome = s.rotate(&key, presented, GRACE).await;
        let Rotation::Ahead { session, lost: n } = outcome else {
            panic!("{presented}: {outcome:?}");
        };
        assert_eq!((session.generation.0, n), (presented + 1, lost));
    }
    // too far ahead; two generations back; one back after the grace, or without a grace
    for (presented, policy, wait) in [
        (14, GRACE, Duration::ZERO),
        (3, GRACE, Duration::ZERO),
        (4, GRACE, GRACE.grace + Duration::from_millis(1)),
        (4, STRICT, Duration::ZERO),
    ] {
        let key = s.session_at(5).await.key;
        s.clock.advance(wait);
        let outcome = s.rotate(&key, presented, policy).await;
        assert!(
            matches!(&outcome, Rotation::Reused(r) if r.session == key.id),
            "{outcome:?}"
        );
        assert_eq!(s.revocation_of(key.id).await, Some(RevocationEffect::Ended));
        assert_eq!(s.rotate(&key, 5, policy).await, Rotation::Gone);
        assert_eq!(s.store.session(&key).await, Ok(None));
    }
    // never stored
    let stranger = s.draft(&s.user()).key;
    assert_eq!(s.rotate(&stranger, 0, GRACE).await, Rotation::Gone);
}

pub(super) async fn c1_an_expired_session_is_expired_and_then_gone<S>(s: Subject<S>)
where
    S: SessionStore + RevocationFeed,
{
    let idle = s.session_at(5).await.key;
    s.clock.advance(DAY);
    assert_eq!(s.store.session(&idle).await, Ok(None));
    assert_eq!(s.rotate(&idle, 5, GRACE).await, Rotation::Expired);
    assert_eq!(s.rotate(&idle, 5, GRACE).await, Rotation::Gone);

    let absolute = s.session_at(0).await.key;
    for g in 0..13 {
        s.clock.advance(DAY / 2);
        assert!(matches!(
            s.rotate(&absolute, g, GRACE).await,
            Rotation::Rotated(_)
        ));
    }
    s.clock.advance(DAY / 2);
    assert_eq!(s.rotate(&absolute, 13, GRACE).await, Rotation::Expired);
    // It expired and was not ended, so nothing is logged.
    assert_eq!(s.revocation_of(absolute.id).await, None);
}

pub(super) async fn c2_a_replay_shows_the_same_generation_and_writes_nothing<S>(s: Subject<S>)
where
    S: SessionStore + RevocationFeed,
{
    let key = s.session_at(5).await.key;
    let Rotation::Rotated(first) = s.rotate(&key, 5, GRACE).await else {
        panic!("the current generation rotates");
    };
    s.clock.advance(GRACE.grace);
    let again = s.rotate(&key, 5, GRACE).await;
    assert_eq!(again, Rotation::Replayed(first.clone()));
    assert_eq!(s.store.session(&key).await, Ok(Some(first)));
}

pub(super) async fn c6_the_cap_holds_and_each_evicted_session_is_logged_once(s: Subject<AnyStore>) {
    let cap = Cap {
        max: 5,
        when_full: WhenFull::EndOldest,
    };
    let user = s.user();
    let drafts: Vec<_> = (0..40).map(|_| s.draft(&user)).collect();
    let answers = race(&s, 8, |store, task| {
        let mine: Vec<_> = drafts
            .iter()
            .skip(task as usize * 5)
            .take(5)
            .cloned()
            .collect();
        async move {
            let mut evicted = Vec::new();
            for session in mine {
                match store.create(session, cap, None).await.unwrap() {
                    Created::Stored { evicted: out } => evicted.extend(out),
                    Created::Full | Created::AccountChanged | Created::Overtaken => {
                        panic!("the cap ends the oldest")
                    }
                }
                assert!(store.stats().sessions <= 5);
            }
            evicted
        }
    })
    .await;
    let told = sorted(answers.concat());
    assert_eq!(told.len(), 35);
    assert_eq!(
        told,
        sorted(s.store.revocations().await.unwrap().revocations)
    );
    let live = s.store.sessions(&user).await.unwrap();
    assert_eq!(live.len(), 5);
    assert!(live.iter().all(|session| !told.contains(&session.key.id)));
}

pub(super) async fn c6_a_full_user_is_refused_when_the_cap_says_so(s: Subject<AnyStore>) {
    let cap = Cap {
        max: 2,
        when_full: WhenFull::Refuse,
    };
    let user = s.user();
    s.session(&user).await;
    s.session(&user).await;
    let third = s.draft(&user);
    assert_eq!(
        s.store.create(third.clone(), cap, None).await,
        Ok(Created::Full)
    );
    assert_eq!(s.store.session(&third.key).await, Ok(None));
    // Expired sessions do not count for the cap.
    s.clock.advance(DAY);
    let later = s.draft(&user);
    let stored = Created::Stored { evicted: vec![] };
    assert_eq!(s.store.create(later, cap, None).await, Ok(stored));
    assert_eq!(s.store.stats().sessions, 1);
}

pub(super) async fn c7_ends_are_logged_before_the_answer_and_counted_once<S>(s: Subject<S>)
where
    S: SessionStore + RevocationFeed,
{
    let user = s.user();
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(s.session(&user).await.key);
    }
    let bystander = s.session(&s.user()).await.key;

    let one = Scope::One(keys[0].clone());
    let ended = s.store.end(&one, EndReason::LoggedOut).await.unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].until, s.clock.now().plus(REVOCATION_LIFE));
    assert_eq!(
        s.revocation_of(keys[0].id).await,
        Some(RevocationEffect::Ended)
    );
    assert_eq!(s.store.end(&one, EndReason::LoggedOut).await, Ok(vec![]));

    let but = Scope::AllExcept(user.clone(), keys[1].id);
    let ended = s.store.end(&but, EndReason::Revoked).await.unwrap();
    let mut expected: Vec<_> = keys[2..].iter().map(|key| key.id).collect();
    expected.sort();
    assert_eq!(sorted(ended), expected);
    assert_eq!(s.store.sessions(&user).await.unwrap().len(), 1);
    assert_eq!(s.store.end(&but, EndReason::Revoked).await, Ok(vec![]));

    let all = Scope::AllOf(user.clone());
    let ended = s.store.end(&all, EndReason::Revoked).await.unwrap();
    assert_eq!(sorted(ended), [keys[1].id]);
    assert_eq!(s.store.end(&all, EndReason::Revoked).await, Ok(vec![]));
    for key in &keys {
        assert_eq!(s.revocation_of(key.id).await, Some(RevocationEffect::Ended));
        assert_eq!(s.store.session(key).await, Ok(None));
    }
    assert!(s.store.session(&bystander).await.unwrap().is_some());
    assert_eq!(s.revocation_of(bystander.id).await, None);
}

pub(super) async fn c12_a_dropped_call_is_applied_wholly_or_not_at_all(s: Subject<AnyStore>) {
    for round in 0..s.rounds * 3 {
        let user = s.user();
        let session = s.session(&user).await;
        let replacing = s.draft(&user);
        let one = Cap {
            max: 1,
            when_full: WhenFull::EndOldest,
        };
        let create = s.store.create(replacing.clone(), one, None);
        let gave_up = tokio::time::timeout(Duration::ZERO, create).await.is_err();
        let old = s.store.session(&session.key).await.unwrap().is_some();
        let new = s.store.session(&replacing.key).await.unwrap().is_some();
        let logged = s.revocation_of(session.key.id).await.is_some();
        assert_eq!(
            (old, logged),
            (!new, new),
            "round {round}, gave up: {gave_up}"
        );
        assert_eq!(s.store.sessions(&user).await.unwrap().len(), 1);
        let left = Scope::AllOf(user);
        assert_eq!(
            s.store.end(&left, EndReason::Revoked).await.unwrap().len(),
            1
        );
        s.clock.advance(REVOCATION_LIFE);
        s.store.sweep(100).await.unwrap();
        assert_eq!(s.store.stats().sessions, 0);
    }
}

pub(super) async fn c13_equal_ids_of_two_tenants_never_meet(s: Subject<AnyStore>) {
    let user = UserId::from_bytes([7; 16]);
    let id = SessionId::from_bytes([9; 16]);
    let [here, there] = ["a", "ab"].map(|tenant| UserKey {
        tenant: tenant.parse().unwrap(),
        user,
    });
    let [mine, theirs] = [&here, &there].map(|owner| {
        let mut session = s.draft(owner);
        session.key.id = id;
        session
    });
    assert_ne!(Route::of(&here), Route::of(&there));
    s.store.create(mine.clone(), CAP, None).await.unwrap();
    assert_eq!(s.store.session(&theirs.key).await, Ok(None));
    s.store.create(theirs.clone(), CAP, None).await.unwrap();
    assert!(matches!(
        s.rotate(&mine.key, 0, GRACE).await,
        Rotation::Rotated(_)
    ));
    assert_eq!(s.store.session(&theirs.key).await, Ok(Some(theirs.clone())));
    let all = Scope::AllOf(here.clone());
    assert_eq!(
        s.store.end(&all, EndReason::Revoked).await.unwrap().len(),
        1
    );
    assert_eq!(s.store.sessions(&there).await, Ok(vec![theirs.clone()]));
    assert_eq!(s.store.find_session(id).await, Ok(Some(theirs.key)));
}

pub(super) async fn creating_the_same_session_again_gives_the_same_answer(s: Subject<AnyStore>) {
    let one = Cap {
        max: 1,
        when_full: WhenFull::EndOldest,
    };
    let user = s.user();
    let old = s.session(&user).await;
    let session = s.draft(&user);
    let first = s.store.create(session.clone(), one, None).await.unwrap();
    assert!(matches!(&first, Created::Stored { evicted } if evicted.len() == 1));
    assert!(matches!(
        s.rotate(&session.key, 0, GRACE).await,
        Rotation::Rotated(_)
    ));
    let again = s.store.create(session.clone(), one, None).await.unwrap();
    assert_eq!(again, first);
    let kept = s.store.session(&session.key).await.unwrap().unwrap();
    assert_eq!(
        kept.generation,
        Generation(1),
        "the second call changed nothing"
    );
    assert_eq!(s.store.session(&old.key).await, Ok(None));
    assert_eq!(s.store.stats().sessions, 1);
}

pub(super) async fn an_ended_session_does_not_come_back(s: Subject<AnyStore>) {
    let session = s.session(&s.user()).await;
    let one = Scope::One(session.key.clone());
    s.store.touch(&session.key, SEEN).await.unwrap();
    s.store.end(&one, EndReason::LoggedOut).await.unwrap();
    s.store.touch(&session.key, SEEN).await.unwrap();
    s.store.create(session.clone(), CAP, None).await.unwrap();
    assert_eq!(s.store.session(&session.key).await, Ok(None));
    assert_eq!(s.rotate(&session.key, 0, GRACE).await, Rotation::Gone);
}

pub(super) async fn the_list_is_newest_first_and_complete(s: Subject<AnyStore>) {
    let user = s.user();
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.insert(0, s.session(&user).await.key.id);
        s.clock.advance(Duration::from_secs(1));
        let listed = s.store.sessions(&user).await.unwrap();
        let listed: Vec<_> = listed.iter().map(|session| session.key.id).collect();
        assert_eq!(listed, ids);
    }
    s.clock.advance(DAY);
    assert_eq!(s.store.sessions(&user).await, Ok(vec![]));
}

pub(super) async fn activity_shows_at_once_and_slides_the_idle_limit(s: Subject<AnyStore>) {
    let session = s.session(&s.user()).await;
    let address: IpAddr = "192.0.2.7".parse().unwrap();
    s.clock.advance(DAY / 2);
    let commits = s.store.stats().commits;
    let seen = Seen {
        address: Some(address),
    };
    s.store.touch(&session.key, seen).await.unwrap();
    assert_eq!(
        s.store.stats().commits,
        commits,
        "a touch pays for no commit"
    );
    let route = Route::of(&session.key.owner);
    let found = s.store.session_by_route(route, session.key.id).await;
    let found = found.unwrap().unwrap();
    assert_eq!(found.last_active_at, s.clock.now());
    assert_eq!(found.last_address, Some(address));
    assert_eq!(found.idle_expires_at, s.clock.now().plus(DAY));
    // The commit of another operation writes it to the disk, and the result is the same.
    s.session(&s.user()).await;
    s.clock.advance(Duration::from_secs(6));
    s.session(&s.user()).await;
    assert_eq!(s.store.sessions(&session.key.owner).await, Ok(vec![found]));
    s.clock.advance(DAY * 3 / 4);
    assert!(s.store.session(&session.key).await.unwrap().is_some());
}

pub(super) async fn an_operator_finds_and_pages_through_sessions(s: Subject<AnyStore>) {
    let mut keys = Vec::new();
    for _ in 0..23 {
        keys.push(s.session(&s.user()).await.key);
    }
    assert_eq!(
        s.store.find_session(keys[3].id).await,
        Ok(Some(keys[3].clone()))
    );
    let unknown = s.draft(&s.user()).key.id;
    assert_eq!(s.store.find_session(unknown).await, Ok(None));
    let gone = Scope::One(keys[4].clone());
    s.store.end(&gone, EndReason::Operator).await.unwrap();
    assert_eq!(s.store.find_session(keys[4].id).await, Ok(None));
    keys.remove(4);

    let mut found: Vec<SessionKey> = Vec::new();
    loop {
        let page = s
            .store
            .all_sessions(found.last().cloned(), 5)
            .await
            .unwrap();
        assert!(page.len() <= 5);
        if page.is_empty() {
            break;
        }
        found.extend(page.into_iter().map(|session| session.key));
    }
    found.sort_by_key(|key| key.id);
    keys.sort_by_key(|key| key.id);
    assert_eq!(found, keys);
}
