//! Which TLS handshake is computed next?
//!
//! A handshake costs a thousand times as much as a request, so a worker computes only a few before it serves its
//! open connections again. Each network competes with one handshake at a time: a client that begins thousands
//! of them delays only its own network.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::types::share::Group;

/// How many handshakes may be computed before the worker serves its connections again.
const AT_ONCE: usize = 8;

/// The handshakes of one worker.
#[derive(Debug)]
pub(crate) struct HandshakeQueue {
    all: Semaphore,
    /// One permit for each network with handshakes, and the number of its handshakes.
    own: Mutex<HashMap<Group, (Arc<Semaphore>, usize)>>,
}

/// The right to compute a handshake.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    _all: Option<SemaphorePermit<'a>>,
    _own: Option<OwnedSemaphorePermit>,
    _queued: Queued<'a>,
}

/// A handshake in the queue of its network, removed on drop.
#[derive(Debug)]
struct Queued<'a> {
    queue: &'a HandshakeQueue,
    group: Option<Group>,
}

impl HandshakeQueue {
    pub(crate) fn new() -> Self {
        Self {
            all: Semaphore::new(AT_ONCE),
            own: Mutex::default(),
        }
    }

    /// Waits for the right to compute a handshake of this network. The network is `None` for a peer that
    /// forwards for many clients.
    pub(crate) async fn pass(&self, group: Option<Group>) -> Pass<'_> {
        let queued = Queued { queue: self, group };
        let own = group.map(|group| {
            let mut all = self.own();
            let (own, count) =
                (all.entry(group)).or_insert_with(|| (Arc::new(Semaphore::new(1)), 0));
            *count += 1;
            Arc::clone(own)
        });
        let own = match own {
            Some(own) => own.acquire_owned().await.ok(),
            None => None,
        };
        Pass {
            // Fails only when the semaphore is closed, which never happens.
            _all: self.all.acquire().await.ok(),
            _own: own,
            _queued: queued,
        }
    }

    fn own(&self) -> MutexGuard<'_, HashMap<Group, (Arc<Semaphore>, usize)>> {
        self.own.lock()
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let Some(group) = self.group else { return };
        let mut all = self.queue.own();
        if let Some((_, count)) = all.get_mut(&group) {
            *count -= 1;
            if *count == 0 {
                all.remove(&group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use crate::types::share::{Claimant, User};

    use super::*;

    fn from(last: u8) -> Option<Group> {
        let claimant = Claimant {
            address: Some([192, 0, 2, last].into()),
            user: User::NotAsked,
        };
        claimant.groups().widest()
    }

    #[tokio::test]
    async fn a5_handshakes_of_one_network_queue_and_delay_no_other_network() {
        let queue = HandshakeQueue::new();
        let task = &mut Context::from_waker(Waker::noop());
        let mut begun = Vec::new();
        let mut waiting = Vec::new();
        for _ in 0..1_000 {
            let mut one = Box::pin(queue.pass(from(1)));
            match one.as_mut().poll(task) {
                Poll::Ready(pass) => begun.push(pass),
                Poll::Pending => waiting.push(one),
            }
        }
        assert_eq!(begun.len(), 1);
        for last in 2..9 {
            assert!(pin!(queue.pass(from(last))).poll(task).is_ready());
        }
        begun.clear();
        assert!(waiting[0].as_mut().poll(task).is_ready());
        drop(waiting);
        assert!(queue.own().is_empty());
    }

    #[tokio::test]
    async fn a_trusted_proxy_may_use_the_whole_handshake_queue() {
        let queue = HandshakeQueue::new();
        let task = &mut Context::from_waker(Waker::noop());
        let mut begun = Vec::new();
        for _ in 0..AT_ONCE {
            match pin!(queue.pass(None)).poll(task) {
                Poll::Ready(pass) => begun.push(pass),
                Poll::Pending => panic!("there is room"),
            }
        }
        assert!(pin!(queue.pass(None)).poll(task).is_pending());
        drop(begun);
    }
}
