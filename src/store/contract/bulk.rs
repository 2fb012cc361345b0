//! What does the end of all sessions promise?

use std::time::Duration;

use crate::model::session::{EndReason, Session};
use crate::store::contract::{CAP, DAY, GRACE, SEEN, Subject};
use crate::store::{
    AnyStore, BulkStore, Created, Lifecycle, RevocationFeed, Rotation, Route, Scope, SessionStore,
};
use crate::types::ids::SessionId;
use crate::types::time::{Clock, Timestamp};

async fn some_sessions(s: &Subject<AnyStore>, count: usize) -> Vec<Session> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(s.session(&s.user()).await);
        s.clock.advance(Duration::from_millis(1));
    }
    sessions
}

pub(super) async fn the_end_of_all_sessions_holds_at_once_and_for_every_way_to_ask(
    s: Subject<AnyStore>,
) {
    let log = s.store.revocations().await.unwrap();
    assert_eq!(log.ended_through, None);
    let sessions = some_sessions(&s, 5).await;
    s.clock.advance(Duration::from_secs(1));
    let all = s.store.end_all(EndReason::Operator).await.unwrap();
    assert_eq!((all.found, all.is_complete), (5, false));
    let log = s.store.revocations().await.unwrap();
    assert_eq!(log.ended_through, Some(all.through));
    for session in &sessions {
        let (key, route) = (&session.key, Route::of(&session.key.owner));
        assert_eq!(s.store.session(key).await, Ok(None));
        assert_eq!(s.store.session_by_route(route, key.id).await, Ok(None));
        assert_eq!(s.store.sessions(&key.owner).await, Ok(Vec::new()));
        assert_eq!(s.store.find_session(key.id).await, Ok(None));
        assert_eq!(s.rotate(key, 0, GRACE).await, Rotation::Gone);
        s.store.touch(key, SEEN).await.unwrap();
        // A repeated call does not create the session again.
        let again = s.store.create(session.clone(), CAP, None).await.unwrap();
        assert!(!matches!(again, Created::Full), "{again:?}");
        assert_eq!(s.store.session(key).await, Ok(None));
    }
    assert_eq!(s.store.all_sessions(None, 10).await, Ok(Vec::new()));
    // A session that has ended already is not ended and counted again.
    let scope = Scope::AllOf(sessions[0].key.owner.clone());
    assert_eq!(
        s.store.end(&scope, EndReason::Operator).await,
        Ok(Vec::new())
    );
    let log = s.store.revocations().await.unwrap();
    assert_eq!(log.revocations, []);
}

pub(super) async fn what_all_sessions_left_behind_is_removed_in_any_steps(s: Subject<AnyStore>) {
    some_sessions(&s, 3).await;
    s.clock.advance(DAY * 30);
    some_sessions(&s, 20).await;
    assert_eq!(s.store.all_sessions(None, 30).await.unwrap().len(), 20);
    s.store.end_all(EndReason::Operator).await.unwrap();
    s.clock.advance(Duration::from_millis(1));
    let newer = s.session(&s.user()).await;
    let mut steps = 0;
    let mut added = 0;
    let last = loop {
        let all = s.store.clear_ended(7).await.unwrap().unwrap();
        steps += 1;
        added += all.added;
        if all.is_complete {
            break all;
        }
        assert!(steps < 10, "{all:?}");
    };
    assert_eq!(
        (last.seen, last.ended, added),
        (23, 20, 20),
        "three had expired"
    );
    assert_eq!(s.store.stats().sessions, 1);
    assert_eq!(s.store.session(&newer.key).await, Ok(Some(newer)));
    let again = s.store.clear_ended(7).await.unwrap().unwrap();
    assert_eq!((again.ended, again.added, again.is_complete), (20, 0, true));
    // The sweep finds none of their records either.
    assert_eq!(s.store.sweep(1_000).await, Ok(0));
}

pub(super) async fn an_interrupted_end_of_all_sessions_goes_on_where_it_stood(
    s: Subject<AnyStore>,
) {
    assert_eq!(s.store.clear_ended(7).await, Ok(None));
    some_sessions(&s, 20).await;
    s.store.end_all(EndReason::Operator).await.unwrap();
    s.store.clear_ended(7).await.unwrap();
    s.clock.advance(Duration::from_millis(1));
    some_sessions(&s, 2).await;
    // A second call ends the sessions made in between as well, and the count continues.
    let all = s.store.end_all(EndReason::Operator).await.unwrap();
    assert_eq!((all.found, all.seen), (22, 7));
    assert_eq!(s.store.all_sessions(None, 10).await, Ok(Vec::new()));
    // The caller does not continue: upkeep removes the remaining records.
    s.store.sweep(1_000).await.unwrap();
    let all = s.store.clear_ended(1).await.unwrap().unwrap();
    assert_eq!((all.ended, all.is_complete), (22, true));
    assert_eq!(s.store.stats().sessions, 0);
}

pub(super) async fn a_session_made_after_the_end_of_all_lives_also_when_the_clock_stands_still(
    s: Subject<AnyStore>,
) {
    some_sessions(&s, 1).await;
    let first = s.store.end_all(EndReason::Operator).await.unwrap();
    // An id of the same millisecond cannot be distinguished from the older ones.
    let mut draft = s.draft(&s.user());
    draft.key.id = SessionId::generate(first.through, &s.random);
    let overtaken = s.store.create(draft.clone(), CAP, None).await;
    assert_eq!(overtaken, Ok(Created::Overtaken));
    assert_eq!(s.store.stats().sessions, 1, "nothing was stored");
    let free = Timestamp::from_millis(first.through.as_millis() + 1);
    draft.key.id = SessionId::generate(free, &s.random);
    let stored = s.store.create(draft.clone(), CAP, None).await;
    assert_eq!(stored, Ok(Created::Stored { evicted: vec![] }));
    // The next end of all sessions includes it, although the clock has not moved.
    assert_eq!(s.clock.now(), first.through);
    s.store.end_all(EndReason::Operator).await.unwrap();
    assert_eq!(s.store.session(&draft.key).await, Ok(None));
}
