//! Who may come in: so many connections in all, and so many from one address.
//!
//! All workers ask the same doorman, once a connection and never for a request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Connections of the whole process, in all and per address.
#[derive(Debug)]
pub struct Doorman {
    open: AtomicUsize,
    max: AtomicUsize,
    max_per_address: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Doorman {
    /// Admits at most `max` connections, `max_per_address` of them from one address.
    pub fn new(max: usize, max_per_address: usize) -> Self {
        Self {
            open: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
            max_per_address: AtomicUsize::new(max_per_address),
            by_address: Mutex::new(HashMap::new()),
        }
    }

    /// From here on admits so many. Who is in already stays.
    pub fn admit_at_most(&self, max: usize, max_per_address: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.max_per_address
            .store(max_per_address, Ordering::Relaxed);
    }

    /// A place for one more connection, or why there is none. `None` as the address stands for peers
    /// that speak for many clients: a trusted proxy, a Unix socket.
    pub(super) fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Admitted, Full> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let place = Admitted {
            doorman: Arc::clone(self),
            address,
        };
        let from_here = address.map_or(0, |address| self.count_in(address));
        let max = self.max.load(Ordering::Relaxed);
        let max_per_address = self.max_per_address.load(Ordering::Relaxed);
        match place {
            _ if before >= max => Err(Full::Everywhere),
            _ if from_here > max_per_address => Err(Full::ForThisAddress),
            place => Ok(place),
        }
    }

    fn count_in(&self, address: IpAddr) -> usize {
        let mut counts = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_insert(0);
        *count += 1;
        *count
    }

    fn count_out(&self, address: IpAddr) {
        let mut counts = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// Every place is taken.
    Everywhere,
    /// The address has all that one may have.
    ForThisAddress,
}

/// A connection's place; given back on drop.
#[derive(Debug)]
pub(super) struct Admitted {
    doorman: Arc<Doorman>,
    address: Option<IpAddr>,
}

impl Admitted {
    /// Counts the place as this address's; whether it has not too many.
    pub(super) fn count(&mut self, address: IpAddr) -> bool {
        if self.address.is_some() {
            return true;
        }
        self.address = Some(address);
        self.doorman.count_in(address) <= self.doorman.max_per_address.load(Ordering::Relaxed)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.doorman.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = self.address {
            self.doorman.count_out(address);
        }
    }
}
