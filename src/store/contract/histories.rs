//! Does each race have one winner, and can each history be explained by a serial order of its calls?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::{JoinSet, yield_now};

use crate::model::session::{EndReason, Generation, SessionKey};
use crate::store::contract::{GRACE, SEEN, STRICT, Subject, race};
use crate::store::{AnyStore, RevocationFeed, Rotation, Scope, SessionStore};
use crate::types::random::SeededRandom;

pub(super) async fn c3_one_of_sixteen_callers_wins(s: Subject<AnyStore>) {
    assert_eq!(races_without_one_winner(&s).await, 0);
}

/// Runs the race many times. Returns how often it did not have exactly one winner.
pub(super) async fn races_without_one_winner<S>(s: &Subject<S>) -> u32
where
    S: SessionStore + RevocationFeed,
{
    let mut bad = 0;
    for round in 0..s.rounds {
        let policy = if round % 2 == 0 { GRACE } else { STRICT };
        let key = s.session_at(0).await.key;
        let outcomes = race(s, 16, |store, _| {
            let key = key.clone();
            async move {
                store
                    .rotate(&key, Generation(0), policy, SEEN)
                    .await
                    .unwrap()
            }
        })
        .await;
        let count = |wanted: fn(&Rotation) -> bool| outcomes.iter().filter(|o| wanted(o)).count();
        let found = (
            count(|o| matches!(o, Rotation::Rotated(_))),
            count(|o| matches!(o, Rotation::Replayed(_))),
            count(|o| matches!(o, Rotation::Reused(_))),
            count(|o| matches!(o, Rotation::Gone)),
        );
        let right = if policy == GRACE {
            (1, 15, 0, 0)
        } else {
            (1, 0, 1, 14)
        };
        bad += u32::from(found != right);
    }
    bad
}

/// One call of a history.
#[derive(Debug, Clone, Copy)]
enum Call {
    Rotate(u32),
    End,
    Read,
}

/// The outcome of a call, reduced to the part that the model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Rotated(u32),
    Replayed(u32),
    Ahead(u32),
    Reused,
    Gone,
    Ended(usize),
    Seen(Option<u32>),
}

/// One call with its answer and the ticks between which it took effect.
#[derive(Debug, Clone, Copy)]
struct Event {
    call: Call,
    outcome: Outcome,
    from: u64,
    to: u64,
}

pub(super) async fn c4_random_histories_are_linearizable(s: Subject<AnyStore>) {
    for seed in [1, 2] {
        let bad = impossible_histories(&s, seed).await;
        assert!(bad.is_empty(), "seed {seed}: {bad:#?}");
    }
}

/// Runs random histories of four tasks with three calls each; returns those that no serial order
/// explains.
pub(super) async fn impossible_histories<S>(s: &Subject<S>, seed: u64) -> Vec<String>
where
    S: SessionStore + RevocationFeed,
{
    let random = Arc::new(SeededRandom::new(seed));
    let mut bad = Vec::new();
    for round in 0..s.rounds {
        let key = s.session_at(0).await.key;
        let ticks = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..4 {
            let (store, ticks, random) = (
                Arc::clone(&s.store),
                Arc::clone(&ticks),
                Arc::clone(&random),
            );
            let key = key.clone();
            tasks.spawn(async move { three_calls(&*store, &key, &ticks, &random).await });
        }
        let history = tasks.join_all().await.concat();
        if !explained(Some(0), &history) {
            bad.push(format!("round {round}: {history:?}"));
        }
    }
    bad
}

async fn three_calls<S: SessionStore>(
    store: &S,
    key: &SessionKey,
    ticks: &AtomicU64,
    random: &SeededRandom,
) -> Vec<Event> {
    let mut events = Vec::new();
    for _ in 0..3 {
        for _ in 0..random.next() % 3 {
            yield_now().await;
        }
        let call = match random.next() % 10 {
            0..=6 => Call::Rotate(u32::try_from(random.next() % 3).unwrap()),
            7 => Call::End,
            _ => Call::Read,
        };
        let from = ticks.fetch_add(1, Ordering::SeqCst);
        let outcome = ask(store, key, call).await;
        let to = ticks.fetch_add(1, Ordering::SeqCst);
        events.push(Event {
            call,
            outcome,
            from,
            to,
        });
    }
    events
}

async fn ask<S: SessionStore>(store: &S, key: &SessionKey, call: Call) -> Outcome {
    match call {
        Call::Rotate(g) => match store.rotate(key, Generation(g), GRACE, SEEN).await.unwrap() {
            Rotation::Rotated(session) => Outcome::Rotated(session.generation.0),
            Rotation::Replayed(session) => Outcome::Replayed(session.generation.0),
            Rotation::Ahead { session, .. } => Outcome::Ahead(session.generation.0),
            Rotation::Reused(_) => Outcome::Reused,
            Rotation::Expired | Rotation::Gone => Outcome::Gone,
        },
        Call::End => {
            let one = Scope::One(key.clone());
            Outcome::Ended(store.end(&one, EndReason::LoggedOut).await.unwrap().len())
        }
        Call::Read => {
            let found = store.session(key).await.unwrap();
            Outcome::Seen(found.map(|session| session.generation.0))
        }
    }
}

/// The model: the generation of the session, or nothing once it has ended. The clock does not move, so the
/// previous generation is always within the grace.
fn model(state: Option<u32>, call: Call) -> (Option<u32>, Outcome) {
    match (call, state) {
        (Call::Read, state) => (state, Outcome::Seen(state)),
        (Call::End, state) => (None, Outcome::Ended(usize::from(state.is_some()))),
        (Call::Rotate(_), None) => (None, Outcome::Gone),
        (Call::Rotate(g), Some(current)) if g == current => (Some(g + 1), Outcome::Rotated(g + 1)),
        (Call::Rotate(g), Some(current)) if g > current => (Some(g + 1), Outcome::Ahead(g + 1)),
        (Call::Rotate(g), Some(current)) if g + 1 == current => {
            (Some(current), Outcome::Replayed(current))
        }
        (Call::Rotate(_), Some(_)) => (None, Outcome::Reused),
    }
}

/// Whether there is an order of the calls in which the model gives every answer. A call that ended before
/// another one began comes before it in this order.
fn explained(state: Option<u32>, open: &[Event]) -> bool {
    let Some(first_end) = open.iter().map(|event| event.to).min() else {
        return true;
    };
    open.iter().enumerate().any(|(at, event)| {
        if event.from > first_end {
            return false;
        }
        let (next, outcome) = model(state, event.call);
        if outcome != event.outcome {
            return false;
        }
        let mut rest = open.to_vec();
        rest.remove(at);
        explained(next, &rest)
    })
}

#[test]
fn the_linearizability_search_accepts_and_refuses_known_histories() {
    let event = |call, outcome, from, to| Event {
        call,
        outcome,
        from,
        to,
    };
    let first = event(Call::Rotate(0), Outcome::Rotated(1), 0, 3);
    let read = |outcome, from, to| event(Call::Read, Outcome::Seen(outcome), from, to);
    assert!(explained(Some(0), &[first, read(Some(0), 1, 2)]));
    assert!(explained(Some(0), &[first, read(Some(1), 1, 2)]));
    assert!(!explained(Some(0), &[first, read(Some(0), 4, 5)]));
    assert!(!explained(Some(0), &[first, first]));
}
