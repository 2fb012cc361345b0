//! Does the revocation feed deliver everything, in order, and at the right time?
//!
//! Each case returns the first broken promise, so that the naive store can be shown to break it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinSet, yield_now};
use tokio::time::Instant;

use crate::model::revocation::RevocationEffect;
use crate::model::session::{EndReason, Session, SessionKey};
use crate::store::any::on_engine;
use crate::store::contract::recorder::{Delivered, Recorder, ids};
use crate::store::contract::{CAP, Subject, account};
use crate::store::{
    AccountStore, AnyStore, BulkStore, Effect, Freshness, Lifecycle, RevocationFeed, Scope,
    SessionStore, UserCreated,
};

/// How many callers end sessions at the same time.
const WRITERS: usize = 6;

/// How many sessions each of them ends.
const ENDS: usize = 8;

/// Sessions for every writer, stored.
async fn sessions_of_writers<S>(s: &Subject<S>) -> Vec<Vec<SessionKey>>
where
    S: SessionStore + RevocationFeed,
{
    let mut all = Vec::new();
    for _ in 0..WRITERS {
        let owner = s.user();
        let mut keys = Vec::new();
        for _ in 0..ENDS {
            keys.push(s.session(&owner).await.key);
        }
        all.push(keys);
    }
    all
}

/// Ends the sessions of each writer one after the other, all writers at the same time.
async fn end_all_of<S>(s: &Subject<S>, sessions: &[Vec<SessionKey>], during: impl AsyncFnOnce())
where
    S: SessionStore,
{
    let mut writers = JoinSet::new();
    for keys in sessions.iter().cloned() {
        let store = Arc::clone(&s.store);
        writers.spawn(async move {
            for key in keys {
                let ended = store.end(&Scope::One(key), EndReason::LoggedOut).await;
                assert_eq!(ended.unwrap().len(), 1);
            }
        });
    }
    during().await;
    writers.join_all().await;
}

/// Yields until the condition holds. `false` after the patience of the subject.
async fn eventually<S>(s: &Subject<S>, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + s.patience;
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    true
}

pub(super) async fn nothing_lies_between_the_snapshot_and_the_live_events<S>(
    s: &Subject<S>,
) -> Result<(), String>
where
    S: SessionStore + RevocationFeed,
{
    for round in 0..s.rounds.div_ceil(20) {
        let sessions = sessions_of_writers(s).await;
        let (recorder, _) = Recorder::new();
        end_all_of(s, &sessions, async || {
            for _ in 0..round {
                yield_now().await;
            }
            s.store.subscribe(recorder.clone()).await.unwrap();
        })
        .await;
        recorder.positions()?;
        let found: HashSet<_> = recorder.sessions().into_iter().collect();
        let missing = sessions
            .iter()
            .flatten()
            .filter(|key| !found.contains(&key.id));
        match missing.count() {
            0 => {}
            count => return Err(format!("round {round}: {count} ends are missing")),
        }
    }
    Ok(())
}

pub(super) async fn events_come_in_the_order_of_the_commits<S>(s: &Subject<S>) -> Result<(), String>
where
    S: SessionStore + RevocationFeed,
{
    let recorder = Recorder::subscribed(s).await;
    let sessions = sessions_of_writers(s).await;
    end_all_of(s, &sessions, async || {}).await;
    let total = WRITERS * ENDS;
    eventually(s, || recorder.sessions().len() >= total).await;
    recorder.positions()?;
    let places: HashMap<_, _> = recorder.sessions().into_iter().zip(0..).collect();
    for keys in &sessions {
        let mine: Vec<Option<usize>> = keys
            .iter()
            .map(|key| places.get(&key.id).copied())
            .collect();
        if mine.contains(&None) || !mine.is_sorted() {
            return Err(format!("one writer's ends came in the order {mine:?}"));
        }
    }
    Ok(())
}

pub(super) async fn nothing_is_delivered_before_it_is_committed<S>(
    s: &Subject<S>,
) -> Result<(), String>
where
    S: SessionStore + RevocationFeed,
{
    let (recorder, mut ended) = Recorder::new();
    s.store.subscribe(recorder).await.unwrap();
    let sessions = sessions_of_writers(s).await;
    let store = Arc::clone(&s.store);
    let mut reader = JoinSet::new();
    reader.spawn(async move {
        for _ in 0..WRITERS * ENDS {
            let delivered = ended.recv().await.unwrap();
            let log = store.revocations().await.unwrap();
            if !ids(&log.revocations).any(|id| id == delivered) {
                return Err(format!("{delivered} was delivered and is not in the log"));
            }
        }
        Ok(())
    });
    end_all_of(s, &sessions, async || {}).await;
    reader.join_next().await.unwrap().unwrap()
}

pub(super) async fn a_revocation_is_delivered_before_its_write_is_acknowledged<S>(
    s: &Subject<S>,
) -> Result<(), String>
where
    S: SessionStore + RevocationFeed,
{
    let recorder = Recorder::subscribed(s).await;
    for keys in sessions_of_writers(s).await {
        for key in keys {
            let one = Scope::One(key.clone());
            s.store.end(&one, EndReason::LoggedOut).await.unwrap();
            if recorder.sessions().last() != Some(&key.id) {
                return Err(format!("the end of {} was acknowledged first", key.id));
            }
        }
    }
    Ok(())
}

pub(super) async fn a_gap_is_reported_and_followed_by_a_snapshot<S>(
    s: &Subject<S>,
) -> Result<(), String>
where
    S: SessionStore + RevocationFeed + LosesEvents,
{
    let recorder = Recorder::subscribed(s).await;
    let sessions = sessions_of_writers(s).await;
    end_all_of(s, &sessions, async || s.store.lose_events()).await;
    s.end(s.session(&s.user()).await).await;
    let closed = || {
        let events = recorder.events();
        let gap = events.iter().position(|event| *event == Delivered::Gap);
        let after = gap.and_then(|gap| events.get(gap..)).unwrap_or_default();
        after
            .iter()
            .any(|event| matches!(event, Delivered::Snapshot(_)))
    };
    if !eventually(s, closed).await {
        return Err("no snapshot came after a gap".to_owned());
    }
    recorder.positions()?;
    if s.store.freshness() != Freshness::Current {
        return Err(format!("the feed is {:?}", s.store.freshness()));
    }
    let found: HashSet<_> = recorder.sessions().into_iter().collect();
    let complete = sessions.iter().flatten().all(|key| found.contains(&key.id));
    complete.then_some(()).ok_or("ends are missing".to_owned())
}

pub(super) async fn two_subscribers_get_the_same_events<S>(s: &Subject<S>) -> Result<(), String>
where
    S: SessionStore + RevocationFeed,
{
    let first = Recorder::subscribed(s).await;
    s.end(s.session(&s.user()).await).await;
    let second = Recorder::subscribed(s).await;
    let sessions = sessions_of_writers(s).await;
    end_all_of(s, &sessions, async || {}).await;
    let total = 1 + WRITERS * ENDS;
    eventually(s, || first.sessions().len() >= total).await;
    eventually(s, || second.sessions().len() >= total).await;
    second.positions()?;
    if first.sessions() != second.sessions() || first.sessions().len() != total {
        let (first, second) = (first.sessions().len(), second.sessions().len());
        return Err(format!("the first got {first}, the second {second}"));
    }
    Ok(())
}

pub(super) async fn a_session_turns_stale_before_it_ends(s: Subject<AnyStore>) {
    let recorder = Recorder::subscribed(&s).await;
    let owner = s.user();
    let user = account(&owner, "ann");
    let stored = s.store.create_user(user.clone()).await;
    assert_eq!(stored, Ok(UserCreated::Stored));
    let session = s.session(&owner).await;
    s.store
        .update_user(user, Effect::StaleClaims)
        .await
        .unwrap();
    s.end(session.clone()).await;
    let effects: Vec<RevocationEffect> = recorder
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Delivered::Revoked(_, revocations) => Some(revocations),
            _ => None,
        })
        .flatten()
        .filter(|revocation| revocation.session == session.key.id)
        .map(|revocation| revocation.effect)
        .collect();
    assert!(
        matches!(
            effects.as_slice(),
            [RevocationEffect::Stale(_), RevocationEffect::Ended]
        ),
        "{effects:?}"
    );
}

pub(super) async fn the_end_of_all_sessions_is_one_event(s: Subject<AnyStore>) {
    let recorder = Recorder::subscribed(&s).await;
    s.session(&s.user()).await;
    let ended = s.store.end_all(EndReason::Operator).await.unwrap();
    let events = recorder.events();
    assert!(matches!(
        events.as_slice(),
        [Delivered::Snapshot(first), Delivered::EndedThrough(at, moment)]
            if *at > first.at && *moment == ended.through
    ));
    let second = Recorder::subscribed(&s).await;
    let Some(Delivered::Snapshot(snapshot)) = second.events().into_iter().next() else {
        panic!("a snapshot is first");
    };
    assert_eq!(snapshot.ended_through, Some(ended.through));
}

pub(super) async fn a_closed_store_ends_its_feed(s: Subject<AnyStore>) {
    assert_eq!(s.store.freshness(), Freshness::Current);
    let recorder = Recorder::subscribed(&s).await;
    s.end(s.session(&s.user()).await).await;
    assert_eq!(s.store.freshness(), Freshness::Current);
    s.store.close().await.unwrap();
    assert_eq!(recorder.events().last(), Some(&Delivered::Closed));
    assert_eq!(s.store.freshness(), Freshness::Unknown);
    let (late, _) = Recorder::new();
    assert!(s.store.subscribe(late.clone()).await.is_err());
    assert_eq!(late.events(), []);
}

/// A store whose feed can be made to lose events.
pub(in crate::store) trait LosesEvents {
    /// Loses at least the events of the next commit.
    fn lose_events(&self);
}

impl LosesEvents for AnyStore {
    fn lose_events(&self) {
        on_engine!(self, engine => engine.lose_events());
    }
}

impl<S: SessionStore> Subject<S> {
    async fn end(&self, session: Session) {
        let one = Scope::One(session.key);
        let ended = self.store.end(&one, EndReason::LoggedOut).await.unwrap();
        assert_eq!(ended.len(), 1);
    }
}

#[test]
fn the_cap_leaves_room_for_the_sessions_of_a_writer() {
    assert!(usize::try_from(CAP.max).unwrap() > ENDS);
}
