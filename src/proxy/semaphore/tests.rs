//! Which client gets a permit, which one waits, and is everything released afterwards?

use std::net::IpAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::types::ids::UserId;
use crate::types::share::User;

use super::*;

const QUEUE_TIMEOUT: Duration = Duration::from_secs(60);

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

fn is_unused(semaphore: &FairSemaphore) -> bool {
    let state = semaphore.state.lock();
    let released = state.held.is_empty() && state.queued.is_empty();
    let empty = state.queues.is_empty() && state.users.is_empty() && state.anonymous.is_empty();
    released
        && empty
        && semaphore.free() == semaphore.capacity()
        && semaphore.waiting.load(Ordering::Relaxed) == 0
}

#[tokio::test]
async fn the_next_free_permit_is_given_to_a_user_without_permits() {
    let semaphore = FairSemaphore::new(4, QUEUE_TIMEOUT);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(semaphore.acquire(user_at(1)).await.unwrap());
    }
    let last = semaphore.acquire(user_at(2)).await.unwrap();
    let mut more = pin!(semaphore.acquire(user_at(1)));
    let mut new_client = pin!(semaphore.acquire(user_at(3)));
    assert!(poll(more.as_mut()).is_pending() && poll(new_client.as_mut()).is_pending());
    semaphore.release(last);
    assert!(poll(more.as_mut()).is_pending());
    held.push(new_client.await.unwrap());
    semaphore.release(held.remove(0));
    semaphore.release(held.remove(0));
    held.push(more.await.unwrap());
    for charged in held {
        semaphore.release(charged);
    }
    assert!(is_unused(&semaphore));
}

#[tokio::test]
async fn waiting_users_are_served_before_anonymous_clients_that_wait_longer() {
    let semaphore = FairSemaphore::new(1, QUEUE_TIMEOUT);
    let first = semaphore.acquire(at(1)).await.unwrap();
    let mut anonymous = pin!(semaphore.acquire(at(2)));
    let mut user = pin!(semaphore.acquire(user_at(3)));
    assert!(poll(anonymous.as_mut()).is_pending() && poll(user.as_mut()).is_pending());
    semaphore.release(first);
    assert!(poll(anonymous.as_mut()).is_pending());
    semaphore.release(user.await.unwrap());
    semaphore.release(anonymous.await.unwrap());
    assert!(is_unused(&semaphore));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_leaves_no_entry_at_any_time() {
    let semaphore = FairSemaphore::new(1, QUEUE_TIMEOUT);
    let first = semaphore.acquire(at(1)).await.unwrap();
    // The queue timeout passes.
    assert!(semaphore.acquire(at(2)).await.is_err());
    {
        // One is dropped while it waits, another one after it was given the permit.
        let mut waiting = Box::pin(semaphore.acquire(at(2)));
        assert!(poll(waiting.as_mut()).is_pending());
        drop(waiting);
        let mut served = Box::pin(semaphore.acquire(at(3)));
        assert!(poll(served.as_mut()).is_pending());
        semaphore.release(first);
    }
    assert!(is_unused(&semaphore));
}

#[tokio::test]
async fn while_few_permits_are_used_no_share_is_checked() {
    let semaphore = FairSemaphore::new(16, QUEUE_TIMEOUT);
    for _ in 0..2 {
        assert!(semaphore.acquire(at(1)).await.unwrap().is_none());
    }
    let checked = semaphore.acquire(at(1)).await.unwrap();
    assert!(checked.is_some());
    for charged in [None, checked, None] {
        semaphore.release(charged);
    }
    assert!(is_unused(&semaphore));
}

#[tokio::test]
async fn the_waiting_queue_is_shared_as_well() {
    let semaphore = FairSemaphore::new(1, QUEUE_TIMEOUT);
    let _held = semaphore.acquire(at(1)).await.unwrap();
    let mut waiting = Vec::new();
    loop {
        let mut one = Box::pin(semaphore.acquire(at(2)));
        match poll(one.as_mut()) {
            Poll::Pending => waiting.push(one),
            Poll::Ready(answer) => {
                assert!(answer.is_err());
                break;
            }
        }
    }
    assert_eq!(waiting.len(), MAX_WAITING / 2);
    assert!(poll(pin!(semaphore.acquire(at(3)))).is_pending());
}
