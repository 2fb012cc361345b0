//! The places of one worker for requests at the upstream, and who may have them.
//!
//! While few are taken nobody is asked who they are: that costs a request two loads and an addition.
//! Above that each place is held by its caller's address and user ([`Ledger`]), and a caller that has its
//! share waits, as does everybody when none is free, for `queue_timeout` at most. The next free place
//! goes to the first of those who may have it, one network after the other and users before strangers,
//! so a newcomer does not stand behind those who wait for more. The room to wait is shared in the same
//! way.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::proxy::error::UpstreamError;
use crate::types::share::{Claimant, Group, Groups, Ledger};

/// See the module. One worker thread uses it: the lock is never contended.
#[derive(Debug)]
pub(super) struct Places {
    capacity: AtomicUsize,
    used: AtomicUsize,
    waiting: AtomicUsize,
    patience: Duration,
    state: Mutex<State>,
    is_noted: AtomicBool,
}

/// What a place that was taken is booked on; none when nobody was asked.
pub(super) type Booked = Option<Box<Groups>>;

#[derive(Debug, Default)]
struct State {
    held: Ledger,
    queued: Ledger,
    next: u64,
    /// Those who wait, by the widest group that they belong to.
    queues: HashMap<Key, VecDeque<Waiter>>,
    /// The queues in the order in which they get places: of users, and of strangers.
    users: VecDeque<Key>,
    strangers: VecDeque<Key>,
}

/// Which queue: whether of strangers, and of which network.
type Key = (bool, Option<Group>);

#[derive(Debug)]
struct Waiter {
    id: u64,
    groups: Groups,
    tell: oneshot::Sender<()>,
}

impl Places {
    /// So many places; who gets none at once waits for `patience` at most.
    pub(super) fn new(capacity: usize, patience: Duration) -> Self {
        Self {
            capacity: AtomicUsize::new(capacity.max(1)),
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            patience,
            state: Mutex::default(),
            is_noted: AtomicBool::new(false),
        }
    }

    /// From here on there are so many. Who has one keeps it.
    pub(super) fn resize(&self, capacity: usize) {
        self.capacity.store(capacity.max(1), Ordering::Relaxed);
        self.hand_out(&mut self.lock());
    }

    /// How many there are.
    pub(super) fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    /// A place, or one that comes free in time.
    ///
    /// # Errors
    ///
    /// `Overloaded` when too many wait or the time is over.
    pub(super) async fn take(&self, who: Claimant) -> Result<Booked, UpstreamError> {
        let used = self.used.load(Ordering::Relaxed);
        if used < self.unasked() && self.waiting.load(Ordering::Relaxed) == 0 {
            self.used.store(used + 1, Ordering::Relaxed);
            return Ok(None);
        }
        // In a box, so that the way of the others is not larger for this one.
        Box::pin(self.take_booked(who)).await
    }

    /// A place, if there is one for this claimant at once.
    pub(super) fn try_take(&self, who: Claimant) -> Option<Booked> {
        let groups = who.groups();
        let is_taken = self.take_at_once(&mut self.lock(), &groups);
        is_taken.then(|| Some(Box::new(groups)))
    }

    /// Gives a place back.
    pub(super) fn give(&self, booked: Booked) {
        self.used.fetch_sub(1, Ordering::Relaxed);
        if booked.is_some() || self.waiting.load(Ordering::Relaxed) > 0 {
            let mut state = self.lock();
            if let Some(groups) = booked {
                state.held.give(&groups);
            }
            self.hand_out(&mut state);
        }
    }

    async fn take_booked(&self, who: Claimant) -> Result<Booked, UpstreamError> {
        let groups = who.groups();
        let mut waiting = {
            let mut state = self.lock();
            if self.take_at_once(&mut state, &groups) {
                return Ok(Some(Box::new(groups)));
            }
            self.enqueue(&mut state, groups)?
        };
        match timeout(self.patience, &mut waiting.told).await {
            Ok(Ok(())) => {
                waiting.is_over = true;
                Ok(Some(Box::new(groups)))
            }
            _ => Err(overloaded()),
        }
    }

    fn take_at_once(&self, state: &mut State, groups: &Groups) -> bool {
        let free = self.free();
        let full = state.held.full(groups, free, self.capacity());
        if full.is_none() && free > 0 {
            self.book(state, groups);
            return true;
        }
        if let Some(Group::Network(..)) = full
            && free > 0
            && !self.is_noted.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "one address has its share of the upstream's connections, and its further requests wait; if \
                 it is a proxy in front, name it in server.trusted_proxies"
            );
        }
        false
    }

    fn book(&self, state: &mut State, groups: &Groups) {
        self.used.fetch_add(1, Ordering::Relaxed);
        state.held.take(groups);
    }

    fn enqueue(&self, state: &mut State, groups: Groups) -> Result<Waiting<'_>, UpstreamError> {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let room = MAX_WAITING.saturating_sub(waiting);
        if room == 0 || state.queued.full(&groups, room, MAX_WAITING).is_some() {
            return Err(overloaded());
        }
        self.waiting.store(waiting + 1, Ordering::Relaxed);
        state.queued.take(&groups);
        let (tell, told) = oneshot::channel();
        let id = state.next;
        state.next += 1;
        let key = key(&groups);
        let queue = state.queues.entry(key).or_default();
        let is_first = queue.is_empty();
        queue.push_back(Waiter { id, groups, tell });
        if is_first {
            state.ring(!groups.is_anonymous()).push_back(key);
        }
        Ok(Waiting {
            places: self,
            id,
            groups,
            told,
            is_over: false,
        })
    }

    /// Gives free places to those who wait and may have them.
    fn hand_out(&self, state: &mut State) {
        while self.free() > 0 && self.hand_out_one(state) {}
    }

    fn hand_out_one(&self, state: &mut State) -> bool {
        let (free, all) = (self.free(), self.capacity());
        for are_users in [true, false] {
            let looks = state.ring(are_users).len().min(MAX_LOOKS);
            for _ in 0..looks {
                let Some(key) = state.ring(are_users).pop_front() else {
                    break;
                };
                let State { held, queues, .. } = state;
                let Some(queue) = queues.get_mut(&key) else {
                    continue;
                };
                // One whose user has enough does not stand in the way of the network's others.
                let mut looked_at = queue.iter().take(MAX_LOOKS);
                let may = |waiter: &Waiter| held.full(&waiter.groups, free, all).is_none();
                let next = looked_at.position(may).and_then(|at| queue.remove(at));
                if queue.is_empty() {
                    queues.remove(&key);
                } else {
                    state.ring(are_users).push_back(key);
                }
                if let Some(waiter) = next {
                    state.queued.give(&waiter.groups);
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                    // Who does not wait any more has left the queue: it is there to hear this.
                    if waiter.tell.send(()).is_ok() {
                        self.book(state, &waiter.groups);
                    }
                    return true;
                }
            }
        }
        false
    }

    fn free(&self) -> usize {
        self.capacity()
            .saturating_sub(self.used.load(Ordering::Relaxed))
    }

    /// So many places are taken without asking who it is.
    fn unasked(&self) -> usize {
        self.capacity() / 8
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ring(&mut self, are_users: bool) -> &mut VecDeque<Key> {
        if are_users {
            &mut self.users
        } else {
            &mut self.strangers
        }
    }

    /// Takes a waiter out of its queue; whether it was still there.
    fn remove(&mut self, id: u64, groups: &Groups) -> bool {
        let key = key(groups);
        let Some(queue) = self.queues.get_mut(&key) else {
            return false;
        };
        // They leave in the order they came, by and large.
        let Some(at) = queue.iter().position(|waiter| waiter.id == id) else {
            return false;
        };
        queue.remove(at);
        if queue.is_empty() {
            self.queues.remove(&key);
            let ring = self.ring(!groups.is_anonymous());
            ring.retain(|other| *other != key);
        }
        self.queued.give(groups);
        true
    }
}

/// Users and strangers of one network wait apart.
fn key(groups: &Groups) -> Key {
    (groups.is_anonymous(), groups.widest())
}

/// A place in the queue; left when dropped.
struct Waiting<'a> {
    places: &'a Places,
    id: u64,
    groups: Groups,
    told: oneshot::Receiver<()>,
    /// Whether the place that was waited for is the caller's.
    is_over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut state = self.places.lock();
        if state.remove(self.id, &self.groups) {
            self.places.waiting.fetch_sub(1, Ordering::Relaxed);
        } else if self.told.try_recv().is_ok() {
            drop(state);
            self.places.give(Some(Box::new(self.groups)));
        }
    }
}

/// A place that is held for as long as this lives.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    booked: Booked,
}

impl Place {
    /// Of a place that was taken.
    pub(super) fn new(places: &Arc<Places>, booked: Booked) -> Self {
        Self {
            places: Arc::clone(places),
            booked,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.give(self.booked.take());
    }
}

pub(super) const fn overloaded() -> UpstreamError {
    UpstreamError::Overloaded {
        retry_after: Duration::from_secs(1),
    }
}

/// The most requests that wait for a place, a worker.
pub(super) const MAX_WAITING: usize = 16 * 1024;

/// How many networks, and of each how many requests, are asked whether they may have a place that came free.
const MAX_LOOKS: usize = 64;
