//! Which request may use one more connection or stream now, which one waits, and which is refused?
//!
//! A semaphore with fair shares. While less than an eighth of the permits is in use, a permit is given
//! without a check: that costs a request two loads and an addition. Above that, each permit is charged to
//! the address and the user of its request ([`Usage`]). A request waits if its client has used up its share
//! or no permit is free, for the queue timeout at most. A released permit is given to the first waiting
//! request whose client has a share left, one network after the other and users before anonymous clients,
//! so a newcomer does not wait behind clients that already hold many. The queue is shared in the same way.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::proxy::error::UpstreamError;
use crate::types::share::{Claimant, Group, Groups, Usage};

/// See the module. One worker thread uses it: the lock is never contended.
#[derive(Debug)]
pub(super) struct FairSemaphore {
    capacity: AtomicUsize,
    used: AtomicUsize,
    waiting: AtomicUsize,
    queue_timeout: Duration,
    state: Mutex<State>,
    /// Whether the warning about one address was logged.
    has_warned: AtomicBool,
}

/// The groups that a permit is charged to; `None` if it was given without a check.
pub(super) type Charged = Option<Box<Groups>>;

#[derive(Debug, Default)]
struct State {
    held: Usage,
    queued: Usage,
    next_id: u64,
    /// Waiting requests, by their widest group.
    queues: HashMap<Key, VecDeque<Waiter>>,
    /// The order in which the queues are served, of users and of anonymous clients.
    users: VecDeque<Key>,
    anonymous: VecDeque<Key>,
}

/// A queue: whether it is of anonymous clients, and of which network.
type Key = (bool, Option<Group>);

#[derive(Debug)]
struct Waiter {
    id: u64,
    groups: Groups,
    notify: oneshot::Sender<()>,
}

impl FairSemaphore {
    /// A semaphore with this many permits, at least one.
    pub(super) fn new(capacity: usize, queue_timeout: Duration) -> Self {
        Self {
            capacity: AtomicUsize::new(capacity.max(1)),
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            queue_timeout,
            state: Mutex::default(),
            has_warned: AtomicBool::new(false),
        }
    }

    /// Changes the number of permits. Those in use stay valid.
    pub(super) fn resize(&self, capacity: usize) {
        self.capacity.store(capacity.max(1), Ordering::Relaxed);
        self.serve(&mut self.state.lock());
    }

    /// The number of permits.
    pub(super) fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    /// Waits for a permit, at most for the queue timeout. It must be released with
    /// [`FairSemaphore::release`].
    ///
    /// # Errors
    ///
    /// `Overloaded` when too many requests wait, or no permit came free in time.
    pub(super) async fn acquire(&self, who: Claimant) -> Result<Charged, UpstreamError> {
        let used = self.used.load(Ordering::Relaxed);
        if used < self.unchecked() && self.waiting.load(Ordering::Relaxed) == 0 {
            self.used.store(used + 1, Ordering::Relaxed);
            return Ok(None);
        }
        // Boxed, so that the future of the common case stays small.
        Box::pin(self.acquire_charged(who)).await
    }

    /// A permit, if this client may have one at once.
    fn try_acquire(&self, who: Claimant) -> Option<Charged> {
        let groups = who.groups();
        let acquired = self.acquire_at_once(&mut self.state.lock(), &groups);
        acquired.then(|| Some(Box::new(groups)))
    }

    /// Releases a permit.
    pub(super) fn release(&self, charged: Charged) {
        self.used.fetch_sub(1, Ordering::Relaxed);
        if charged.is_some() || self.waiting.load(Ordering::Relaxed) > 0 {
            let mut state = self.state.lock();
            if let Some(groups) = charged {
                state.held.release(&groups);
            }
            self.serve(&mut state);
        }
    }

    async fn acquire_charged(&self, who: Claimant) -> Result<Charged, UpstreamError> {
        let groups = who.groups();
        let mut entry = {
            let mut state = self.state.lock();
            if self.acquire_at_once(&mut state, &groups) {
                return Ok(Some(Box::new(groups)));
            }
            self.enqueue(&mut state, groups)?
        };
        match timeout(self.queue_timeout, &mut entry.notified).await {
            Ok(Ok(())) => {
                entry.has_permit = true;
                Ok(Some(Box::new(groups)))
            }
            _ => Err(UpstreamError::overloaded()),
        }
    }

    fn acquire_at_once(&self, state: &mut State, groups: &Groups) -> bool {
        let free = self.free();
        let exhausted = state.held.exhausted(groups, free, self.capacity());
        if exhausted.is_none() && free > 0 {
            self.charge(state, groups);
            return true;
        }
        if let Some(Group::Network(..)) = exhausted
            && free > 0
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "one address has its share of the upstream's connections, and its further requests wait; if \
                 it is a proxy in front, name it in server.trusted_proxies"
            );
        }
        false
    }

    fn charge(&self, state: &mut State, groups: &Groups) {
        self.used.fetch_add(1, Ordering::Relaxed);
        state.held.acquire(groups);
    }

    fn enqueue(&self, state: &mut State, groups: Groups) -> Result<QueueEntry<'_>, UpstreamError> {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let room = MAX_WAITING.saturating_sub(waiting);
        let exhausted = |state: &State| state.queued.exhausted(&groups, room, MAX_WAITING);
        if room == 0 || exhausted(state).is_some() {
            return Err(UpstreamError::overloaded());
        }
        self.waiting.store(waiting + 1, Ordering::Relaxed);
        state.queued.acquire(&groups);
        let (notify, notified) = oneshot::channel();
        let id = state.next_id;
        state.next_id += 1;
        let key = key(&groups);
        let queue = state.queues.entry(key).or_default();
        let is_first = queue.is_empty();
        queue.push_back(Waiter { id, groups, notify });
        if is_first {
            state.order(!groups.is_anonymous()).push_back(key);
        }
        Ok(QueueEntry {
            semaphore: self,
            id,
            groups,
            notified,
            has_permit: false,
        })
    }

    /// Gives free permits to waiting requests whose clients have a share left.
    fn serve(&self, state: &mut State) {
        while self.free() > 0 && self.serve_one(state) {}
    }

    fn serve_one(&self, state: &mut State) -> bool {
        let (free, all) = (self.free(), self.capacity());
        for are_users in [true, false] {
            let queues = state.order(are_users).len().min(MAX_CHECKS);
            for _ in 0..queues {
                let Some(key) = state.order(are_users).pop_front() else {
                    break;
                };
                let State { held, queues, .. } = state;
                let Some(queue) = queues.get_mut(&key) else {
                    continue;
                };
                // A user with an exhausted share does not block others of the same network.
                let mut checked = queue.iter().take(MAX_CHECKS);
                let may = |waiter: &Waiter| held.exhausted(&waiter.groups, free, all).is_none();
                let next = checked.position(may).and_then(|at| queue.remove(at));
                if queue.is_empty() {
                    queues.remove(&key);
                } else {
                    state.order(are_users).push_back(key);
                }
                if let Some(waiter) = next {
                    state.queued.release(&waiter.groups);
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                    // A request that no longer waits has left the queue, so the receiver exists.
                    if waiter.notify.send(()).is_ok() {
                        self.charge(state, &waiter.groups);
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

    /// Up to this number permits are given without a check of the client's share.
    fn unchecked(&self) -> usize {
        self.capacity() / 8
    }
}

impl State {
    fn order(&mut self, are_users: bool) -> &mut VecDeque<Key> {
        if are_users {
            &mut self.users
        } else {
            &mut self.anonymous
        }
    }

    /// Removes a waiter from its queue. Returns whether it was still there.
    fn remove(&mut self, id: u64, groups: &Groups) -> bool {
        let key = key(groups);
        let Some(queue) = self.queues.get_mut(&key) else {
            return false;
        };
        // Waiters leave mostly in the order in which they came.
        let Some(at) = queue.iter().position(|waiter| waiter.id == id) else {
            return false;
        };
        queue.remove(at);
        if queue.is_empty() {
            self.queues.remove(&key);
            let order = self.order(!groups.is_anonymous());
            order.retain(|other| *other != key);
        }
        self.queued.release(groups);
        true
    }
}

/// Users and anonymous clients of one network have separate queues.
fn key(groups: &Groups) -> Key {
    (groups.is_anonymous(), groups.widest())
}

/// A waiting request; removed from the queue when dropped.
struct QueueEntry<'a> {
    semaphore: &'a FairSemaphore,
    id: u64,
    groups: Groups,
    notified: oneshot::Receiver<()>,
    /// Whether the caller has the permit, and releases it.
    has_permit: bool,
}

impl Drop for QueueEntry<'_> {
    fn drop(&mut self) {
        if self.has_permit {
            return;
        }
        let mut state = self.semaphore.state.lock();
        if state.remove(self.id, &self.groups) {
            self.semaphore.waiting.fetch_sub(1, Ordering::Relaxed);
        } else if self.notified.try_recv().is_ok() {
            drop(state);
            self.semaphore.release(Some(Box::new(self.groups)));
        }
    }
}

/// A permit of a shared semaphore; released when dropped.
#[derive(Debug)]
pub(super) struct SemaphorePermit {
    semaphore: Arc<FairSemaphore>,
    charged: Charged,
}

impl SemaphorePermit {
    /// As [`FairSemaphore::acquire`].
    pub(super) async fn acquire(
        semaphore: &Arc<FairSemaphore>,
        who: Claimant,
    ) -> Result<Self, UpstreamError> {
        let charged = semaphore.acquire(who).await?;
        Ok(Self::new(semaphore, charged))
    }

    /// A permit, if this client may have one at once.
    ///
    /// # Errors
    ///
    /// `Overloaded` otherwise.
    pub(super) fn try_acquire(
        semaphore: &Arc<FairSemaphore>,
        who: Claimant,
    ) -> Result<Self, UpstreamError> {
        let charged = semaphore.try_acquire(who);
        let charged = charged.ok_or_else(UpstreamError::overloaded)?;
        Ok(Self::new(semaphore, charged))
    }

    fn new(semaphore: &Arc<FairSemaphore>, charged: Charged) -> Self {
        Self {
            semaphore: Arc::clone(semaphore),
            charged,
        }
    }
}

impl Drop for SemaphorePermit {
    fn drop(&mut self) {
        self.semaphore.release(self.charged.take());
    }
}

/// The most requests that wait for a permit, for each worker.
pub(super) const MAX_WAITING: usize = 16 * 1024;

/// How many networks, and how many requests of each, are checked for one released permit.
const MAX_CHECKS: usize = 64;
