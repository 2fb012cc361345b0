//! Whose TLS handshake is computed next.
//!
//! A handshake costs a thousand times what a request costs, so only a few are computed between two looks
//! of a worker at the connections that stand. Of each network one at a time competes for that: a client
//! that begins thousands of them stands in its own queue and in nobody else's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::types::share::Group;

/// How many handshakes may be computed between two looks of a worker at its connections.
const AT_ONCE: usize = 8;

/// See the module.
#[derive(Debug)]
pub(in crate::server) struct Handshakes {
    all: Semaphore,
    /// One permit for each network that has handshakes, and how many of them hold on to it.
    own: Mutex<HashMap<Group, (Arc<Semaphore>, usize)>>,
}

/// The right to compute a handshake.
#[derive(Debug)]
pub(in crate::server) struct Pass<'a> {
    _all: Option<SemaphorePermit<'a>>,
    _own: Option<OwnedSemaphorePermit>,
    _queued: Queued<'a>,
}

/// A handshake in its network's queue; left on drop.
#[derive(Debug)]
struct Queued<'a> {
    handshakes: &'a Handshakes,
    group: Option<Group>,
}

impl Handshakes {
    pub(in crate::server) fn new() -> Self {
        Self {
            all: Semaphore::new(AT_ONCE),
            own: Mutex::default(),
        }
    }

    /// Waits for the right to compute a handshake of this network; none for a peer that speaks for many
    /// clients.
    pub(in crate::server) async fn pass(&self, group: Option<Group>) -> Pass<'_> {
        let queued = Queued {
            handshakes: self,
            group,
        };
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
            // It fails only when it is closed, and nobody closes it.
            _all: self.all.acquire().await.ok(),
            _own: own,
            _queued: queued,
        }
    }

    fn own(&self) -> MutexGuard<'_, HashMap<Group, (Arc<Semaphore>, usize)>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let Some(group) = self.group else { return };
        let mut all = self.handshakes.own();
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
    async fn a5_handshakes_of_one_network_wait_for_each_other_and_nobody_waits_for_them() {
        let handshakes = Handshakes::new();
        let task = &mut Context::from_waker(Waker::noop());
        let mut begun = Vec::new();
        let mut waiting = Vec::new();
        for _ in 0..1_000 {
            let mut one = Box::pin(handshakes.pass(from(1)));
            match one.as_mut().poll(task) {
                Poll::Ready(pass) => begun.push(pass),
                Poll::Pending => waiting.push(one),
            }
        }
        assert_eq!(begun.len(), 1);
        for last in 2..9 {
            assert!(pin!(handshakes.pass(from(last))).poll(task).is_ready());
        }
        begun.clear();
        assert!(waiting[0].as_mut().poll(task).is_ready());
        drop(waiting);
        assert!(handshakes.own().is_empty());
    }

    #[tokio::test]
    async fn who_speaks_for_many_clients_has_all_the_room_there_is() {
        let handshakes = Handshakes::new();
        let task = &mut Context::from_waker(Waker::noop());
        let mut begun = Vec::new();
        for _ in 0..AT_ONCE {
            match pin!(handshakes.pass(None)).poll(task) {
                Poll::Ready(pass) => begun.push(pass),
                Poll::Pending => panic!("there is room"),
            }
        }
        assert!(pin!(handshakes.pass(None)).poll(task).is_pending());
        drop(begun);
    }
}
