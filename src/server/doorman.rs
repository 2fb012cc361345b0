//! Who may come in: so many connections in all, so many from one address, and of what is left so many
//! from one address or network that others still find a place.
//!
//! All workers ask the same doorman, once a connection and never for a request.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::types::share::{Claimant, Groups, Ledger, User};

/// Connections of the whole process, in all and per address.
#[derive(Debug)]
pub struct Doorman {
    open: AtomicUsize,
    max: AtomicUsize,
    max_per_address: AtomicUsize,
    held: Mutex<Ledger>,
    is_noted: AtomicBool,
}

impl Doorman {
    /// Admits at most `max` connections, `max_per_address` of them from one address.
    pub fn new(max: usize, max_per_address: usize) -> Self {
        Self {
            open: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
            max_per_address: AtomicUsize::new(max_per_address),
            held: Mutex::default(),
            is_noted: AtomicBool::new(false),
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
        let mut place = Admitted {
            doorman: Arc::clone(self),
            groups: None,
        };
        if before >= self.max.load(Ordering::Relaxed) {
            return Err(Full::Everywhere);
        }
        if address.is_some_and(|address| !place.count(address)) {
            return Err(Full::ForThisAddress);
        }
        Ok(place)
    }

    /// Counts a connection that is open already; whether its address and networks have not too many.
    fn count_in(&self, groups: &Groups) -> bool {
        let open = self.open.load(Ordering::Relaxed).saturating_sub(1);
        let max = self.max.load(Ordering::Relaxed);
        let free = max.saturating_sub(open);
        let max_per_address = self.max_per_address.load(Ordering::Relaxed);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let address = groups.narrowest();
        let is_full = address.is_some_and(|address| held.held(address) >= max_per_address);
        if is_full || held.full(groups, free, max).is_some() {
            drop(held);
            if !self.is_noted.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "one address or network has its share of all connections and gets no more; if it is a \
                     proxy in front, name it in server.trusted_proxies"
                );
            }
            return false;
        }
        held.take(groups);
        true
    }

    fn count_out(&self, groups: &Groups) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.give(groups);
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
    groups: Option<Box<Groups>>,
}

impl Admitted {
    /// Counts the place as this address's; whether it has not too many.
    pub(super) fn count(&mut self, address: IpAddr) -> bool {
        if self.groups.is_some() {
            return true;
        }
        let claimant = Claimant {
            address: Some(address),
            user: User::NotAsked,
        };
        let groups = claimant.groups();
        let has_place = self.doorman.count_in(&groups);
        if has_place {
            self.groups = Some(Box::new(groups));
        }
        has_place
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.doorman.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(groups) = &self.groups {
            self.doorman.count_out(groups);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(doorman: &Arc<Doorman>, address: &str) -> Result<Admitted, Full> {
        doorman.enter(Some(address.parse().unwrap()))
    }

    #[test]
    fn networks_of_ipv6_are_counted_by_all_that_one_may_own() {
        for step in ["2001:db8:1:1", "2001:db8:1:1X", "2001:db8:1:X00"] {
            let doorman = Arc::new(Doorman::new(1_000, 500));
            let mut inside = Vec::new();
            for n in 0..2_000 {
                let network = step.replace('X', &format!("{:02x}", n % 256));
                inside.extend(enter(&doorman, &format!("{network}::{n:x}")));
            }
            assert!(
                (500..=800).contains(&inside.len()),
                "{step}: {}",
                inside.len()
            );
            assert!(enter(&doorman, "2001:db8:2::1").is_ok(), "{step}");
            assert!(enter(&doorman, "192.0.2.1").is_ok(), "{step}");
        }
    }

    #[test]
    fn a_peer_that_speaks_for_many_may_have_every_place() {
        let doorman = Arc::new(Doorman::new(10, 1));
        let inside: Vec<_> = (0..11).map_while(|_| doorman.enter(None).ok()).collect();
        assert_eq!(inside.len(), 10);
        drop(inside);
        assert!(enter(&doorman, "192.0.2.1").is_ok());
    }
}
