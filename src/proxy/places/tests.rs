//! Who gets a place, who waits, and what is left behind.

use std::net::IpAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::types::ids::UserId;
use crate::types::share::User;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn at(last: u8) -> Claimant {
    Claimant {
        address: Some(IpAddr::from([192, 0, 2, last])),
        user: User::Unknown,
    }
}

fn user_at(last: u8) -> Claimant {
    Claimant {
        user: User::Known(UserId::from_bytes([last; 16])),
        ..at(last)
    }
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn is_idle(places: &Places) -> bool {
    let state = places.lock();
    let nobody = state.held.is_empty() && state.queued.is_empty();
    let empty = state.queues.is_empty() && state.users.is_empty() && state.strangers.is_empty();
    nobody
        && empty
        && places.free() == places.capacity()
        && places.waiting.load(Ordering::Relaxed) == 0
}

#[tokio::test]
async fn the_next_free_place_goes_to_a_newcomer_and_not_to_who_waits_for_more() {
    let places = Places::new(4, PATIENCE);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(places.take(user_at(1)).await.unwrap());
    }
    let last = places.take(user_at(2)).await.unwrap();
    let mut more = pin!(places.take(user_at(1)));
    let mut newcomer = pin!(places.take(user_at(3)));
    assert!(poll(more.as_mut()).is_pending() && poll(newcomer.as_mut()).is_pending());
    places.give(last);
    assert!(poll(more.as_mut()).is_pending());
    held.push(newcomer.await.unwrap());
    places.give(held.remove(0));
    places.give(held.remove(0));
    held.push(more.await.unwrap());
    for booked in held {
        places.give(booked);
    }
    assert!(is_idle(&places));
}

#[tokio::test]
async fn users_who_wait_come_before_strangers_who_wait_for_longer() {
    let places = Places::new(1, PATIENCE);
    let first = places.take(at(1)).await.unwrap();
    let mut stranger = pin!(places.take(at(2)));
    let mut user = pin!(places.take(user_at(3)));
    assert!(poll(stranger.as_mut()).is_pending() && poll(user.as_mut()).is_pending());
    places.give(first);
    assert!(poll(stranger.as_mut()).is_pending());
    places.give(user.await.unwrap());
    places.give(stranger.await.unwrap());
    assert!(is_idle(&places));
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_leaves_nothing_behind_whenever_that_is() {
    let places = Places::new(1, PATIENCE);
    let first = places.take(at(1)).await.unwrap();
    // Its time is over.
    assert!(places.take(at(2)).await.is_err());
    {
        // It goes away while it waits, and another after the place is its own.
        let mut gone = Box::pin(places.take(at(2)));
        assert!(poll(gone.as_mut()).is_pending());
        drop(gone);
        let mut late = Box::pin(places.take(at(3)));
        assert!(poll(late.as_mut()).is_pending());
        places.give(first);
    }
    assert!(is_idle(&places));
}

#[tokio::test]
async fn while_few_places_are_taken_nobody_is_asked() {
    let places = Places::new(16, PATIENCE);
    for _ in 0..2 {
        assert!(places.take(at(1)).await.unwrap().is_none());
    }
    let asked = places.take(at(1)).await.unwrap();
    assert!(asked.is_some());
    for booked in [None, asked, None] {
        places.give(booked);
    }
    assert!(is_idle(&places));
}

#[tokio::test]
async fn the_room_to_wait_is_shared_as_well() {
    let places = Places::new(1, PATIENCE);
    let _held = places.take(at(1)).await.unwrap();
    let mut waiting = Vec::new();
    loop {
        let mut one = Box::pin(places.take(at(2)));
        match poll(one.as_mut()) {
            Poll::Pending => waiting.push(one),
            Poll::Ready(answer) => {
                assert!(answer.is_err());
                break;
            }
        }
    }
    assert_eq!(waiting.len(), MAX_WAITING / 2);
    assert!(poll(pin!(places.take(at(3)))).is_pending());
}
