//! Which connections may the admin port and the control socket hold at once?
//!
//! They have few slots, which silent connections must not fill: when all are taken, a new connection evicts the
//! oldest one whose request has not arrived, of the address that has most of those. So a probe is always
//! answered. A connection whose request has arrived is never evicted.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// The slots of one listener.
#[derive(Debug)]
pub(crate) struct SlotPool {
    max: usize,
    /// In the order in which they were taken.
    taken: Mutex<Vec<Arc<Holder>>>,
    freed: Notify,
}

/// The connection in a slot.
#[derive(Debug)]
struct Holder {
    address: Option<IpAddr>,
    is_protected: AtomicBool,
    evicted: Notify,
}

/// A slot that a connection holds, released on drop.
#[derive(Debug)]
pub(crate) struct Slot {
    pool: Arc<SlotPool>,
    holder: Arc<Holder>,
}

/// Protects a connection from eviction, once its request has arrived.
#[derive(Debug, Clone)]
pub(crate) struct SlotProtection(Arc<Holder>);

impl SlotProtection {
    /// From here on the connection keeps its slot until it closes.
    pub(crate) fn begin(&self) {
        self.0.is_protected.store(true, Ordering::Relaxed);
    }
}

impl SlotPool {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            taken: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Waits until a slot is free, or taken by a connection that can be evicted.
    pub(crate) async fn available(&self) {
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            {
                let taken = self.taken();
                if taken.len() < self.max || taken.iter().any(|holder| !holder.is_protected()) {
                    return;
                }
            }
            freed.await;
        }
    }

    /// Takes a slot for a connection from this address. Evicts another connection if none is free.
    pub(crate) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Slot {
        let holder = Arc::new(Holder {
            address,
            is_protected: AtomicBool::new(false),
            evicted: Notify::new(),
        });
        let mut taken = self.taken();
        if taken.len() >= self.max
            && let Some(at) = evictable(&taken)
        {
            taken.remove(at).evicted.notify_one();
        }
        taken.push(Arc::clone(&holder));
        drop(taken);
        Slot {
            pool: Arc::clone(self),
            holder,
        }
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Arc<Holder>>> {
        self.taken.lock()
    }
}

/// The oldest connection without protection, of the address with most of those.
fn evictable(taken: &[Arc<Holder>]) -> Option<usize> {
    let is_silent = |holder: &&Arc<Holder>| !holder.is_protected();
    let count = |address| {
        let silent = taken.iter().filter(is_silent);
        silent.filter(|holder| holder.address == address).count()
    };
    let addresses = taken.iter().filter(is_silent).map(|holder| holder.address);
    let address = addresses.max_by_key(|address| count(*address))?;
    let mut holders = taken.iter();
    holders.position(|holder| !holder.is_protected() && holder.address == address)
}

impl Holder {
    fn is_protected(&self) -> bool {
        self.is_protected.load(Ordering::Relaxed)
    }
}

impl Slot {
    /// Protects the connection in this slot from eviction.
    pub(crate) fn protection(&self) -> SlotProtection {
        SlotProtection(Arc::clone(&self.holder))
    }

    /// Serves the connection until it ends or is evicted.
    pub(crate) async fn serve(self, serving: impl Future<Output = ()>) {
        let mut serving = pin!(serving);
        let mut evicted = pin!(self.holder.evicted.notified());
        poll_fn(|task| match evicted.as_mut().poll(task) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => serving.as_mut().poll(task),
        })
        .await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.pool.taken();
        taken.retain(|holder| !Arc::ptr_eq(holder, &self.holder));
        drop(taken);
        self.pool.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(pool: &Arc<SlotPool>, last: u8) -> Slot {
        pool.take(Some(IpAddr::from([127, 0, 0, last])))
    }

    fn is_in(slot: &Slot) -> bool {
        let taken = slot.pool.taken();
        taken.iter().any(|holder| Arc::ptr_eq(holder, &slot.holder))
    }

    #[test]
    fn the_oldest_connection_of_the_address_with_most_slots_is_closed() {
        let pool = SlotPool::new(4);
        let probe = take(&pool, 1);
        let silent: Vec<Slot> = (0..3).map(|_| take(&pool, 2)).collect();
        let next = take(&pool, 3);
        assert!(is_in(&probe) && is_in(&next) && !is_in(&silent[0]) && is_in(&silent[1]));
        let more = take(&pool, 2);
        assert!(is_in(&probe) && is_in(&more) && !is_in(&silent[1]));
    }

    #[tokio::test]
    async fn a_busy_connection_is_not_closed_and_a_new_one_waits() {
        let pool = SlotPool::new(1);
        let busy = pool.take(None);
        busy.protection().begin();
        let task = &mut std::task::Context::from_waker(std::task::Waker::noop());
        let mut waiting = pin!(pool.available());
        assert!(waiting.as_mut().poll(task).is_pending());
        drop(busy);
        waiting.await;
        let silent = pool.take(None);
        let next = pool.take(None);
        // It was evicted before it was served.
        silent.serve(std::future::pending()).await;
        assert!(is_in(&next));
    }
}
