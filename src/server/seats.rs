//! The few places of a listener that is not for the public: of the admin port, of the control socket.
//!
//! They are never all taken by connections that say nothing. When they are full, a new connection takes
//! the place of the oldest one that is not at work, of the address that has most of those: a probe gets
//! in whatever sits there.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::Notify;

/// See the module.
#[derive(Debug)]
pub(super) struct Seats {
    max: usize,
    taken: Mutex<Vec<Arc<Seat>>>,
    freed: Notify,
}

#[derive(Debug)]
struct Seat {
    address: Option<IpAddr>,
    is_at_work: AtomicBool,
    evicted: Notify,
}

/// A place that is held; given back on drop.
#[derive(Debug)]
pub(super) struct Seated {
    seats: Arc<Seats>,
    seat: Arc<Seat>,
}

/// Says of a connection that it has asked for something and is not to be ended before its answer.
#[derive(Debug, Clone)]
pub(super) struct AtWork(Arc<Seat>);

impl AtWork {
    /// The work begins.
    pub(super) fn begin(&self) {
        self.0.is_at_work.store(true, Ordering::Relaxed);
    }
}

impl Seats {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            taken: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Waits until there is a place, or one that can be had from somebody who says nothing.
    pub(super) async fn available(&self) {
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            {
                let taken = self.taken();
                if taken.len() < self.max || taken.iter().any(|seat| !seat.works()) {
                    return;
                }
            }
            freed.await;
        }
    }

    /// A place for a connection from this address; somebody else's, if none is free.
    pub(super) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Seated {
        let seat = Arc::new(Seat {
            address,
            is_at_work: AtomicBool::new(false),
            evicted: Notify::new(),
        });
        let mut taken = self.taken();
        if taken.len() >= self.max
            && let Some(at) = idle(&taken)
        {
            taken.remove(at).evicted.notify_one();
        }
        taken.push(Arc::clone(&seat));
        drop(taken);
        Seated {
            seats: Arc::clone(self),
            seat,
        }
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The oldest that is not at work, of the address with most of those.
fn idle(taken: &[Arc<Seat>]) -> Option<usize> {
    let is_idle = |seat: &&Arc<Seat>| !seat.works();
    let of = |address| {
        let idle = taken.iter().filter(is_idle);
        idle.filter(|seat| seat.address == address).count()
    };
    let busiest = taken.iter().filter(is_idle).map(|seat| seat.address);
    let address = busiest.max_by_key(|address| of(*address))?;
    let mut places = taken.iter();
    places.position(|seat| !seat.works() && seat.address == address)
}

impl Seat {
    fn works(&self) -> bool {
        self.is_at_work.load(Ordering::Relaxed)
    }
}

impl Seated {
    /// What the connection says that it is at work by.
    pub(super) fn at_work(&self) -> AtWork {
        AtWork(Arc::clone(&self.seat))
    }

    /// Serves the connection until it ends, or until its place is another's.
    pub(super) async fn serve(self, serving: impl Future<Output = ()>) {
        let mut serving = pin!(serving);
        let mut evicted = pin!(self.seat.evicted.notified());
        poll_fn(|task| match evicted.as_mut().poll(task) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => serving.as_mut().poll(task),
        })
        .await;
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.retain(|seat| !Arc::ptr_eq(seat, &self.seat));
        drop(taken);
        self.seats.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(seats: &Arc<Seats>, last: u8) -> Seated {
        seats.take(Some(IpAddr::from([127, 0, 0, last])))
    }

    fn is_in(seated: &Seated) -> bool {
        let taken = seated.seats.taken();
        taken.iter().any(|seat| Arc::ptr_eq(seat, &seated.seat))
    }

    #[test]
    fn the_oldest_of_the_address_with_most_places_makes_room() {
        let seats = Seats::new(4);
        let probe = take(&seats, 1);
        let silent: Vec<Seated> = (0..3).map(|_| take(&seats, 2)).collect();
        let next = take(&seats, 3);
        assert!(is_in(&probe) && is_in(&next) && !is_in(&silent[0]) && is_in(&silent[1]));
        let more = take(&seats, 2);
        assert!(is_in(&probe) && is_in(&more) && !is_in(&silent[1]));
    }

    #[tokio::test]
    async fn who_is_at_work_is_not_ended_and_who_comes_waits() {
        let seats = Seats::new(1);
        let worker = seats.take(None);
        worker.at_work().begin();
        let task = &mut std::task::Context::from_waker(std::task::Waker::noop());
        let mut waiting = pin!(seats.available());
        assert!(waiting.as_mut().poll(task).is_pending());
        drop(worker);
        waiting.await;
        let silent = seats.take(None);
        let next = seats.take(None);
        // It has ended before it was served.
        silent.serve(std::future::pending()).await;
        assert!(is_in(&next));
    }
}
