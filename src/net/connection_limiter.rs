//! How many connections may be open, in all and from one address or network?
//!
//! In addition to the two configured limits, one address or network gets only a share of the free connections, so that
//! others can always connect. All workers use the same limiter, once per connection and never for a request.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::types::share::{Claimant, Groups, Usage, User};

/// Connections of the whole process, in all and per address.
#[derive(Debug)]
pub struct ConnectionLimiter {
    open: AtomicUsize,
    max: AtomicUsize,
    max_per_address: AtomicUsize,
    held: Mutex<Usage>,
    is_noted: AtomicBool,
}

impl ConnectionLimiter {
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

    /// Changes the limits. Open connections stay open.
    pub fn admit_at_most(&self, max: usize, max_per_address: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.max_per_address
            .store(max_per_address, Ordering::Relaxed);
    }

    /// Counts one more connection, or returns which limit is reached. The address is `None` for a peer that
    /// forwards for many clients: a trusted proxy, a Unix socket.
    pub(crate) fn enter(
        self: &Arc<Self>,
        address: Option<IpAddr>,
    ) -> Result<ConnectionPermit, Full> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let mut permit = ConnectionPermit {
            limiter: Arc::clone(self),
            groups: None,
        };
        if before >= self.max.load(Ordering::Relaxed) {
            return Err(Full::Everywhere);
        }
        if address.is_some_and(|address| !permit.count(address)) {
            return Err(Full::ForThisAddress);
        }
        Ok(permit)
    }

    /// Counts a connection that is open already. Returns false when its address or a network of it has too many.
    fn count_in(&self, groups: &Groups) -> bool {
        let open = self.open.load(Ordering::Relaxed).saturating_sub(1);
        let max = self.max.load(Ordering::Relaxed);
        let free = max.saturating_sub(open);
        let max_per_address = self.max_per_address.load(Ordering::Relaxed);
        let mut held = self.held.lock();
        let address = groups.narrowest();
        let is_full = address.is_some_and(|address| held.of(address) >= max_per_address);
        if is_full || held.exhausted(groups, free, max).is_some() {
            drop(held);
            if !self.is_noted.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "one address or network has reached its share of all connections; if it is a \
                     reverse proxy, add it to server.trusted_proxies"
                );
            }
            return false;
        }
        held.acquire(groups);
        true
    }

    fn count_out(&self, groups: &Groups) {
        let mut held = self.held.lock();
        held.release(groups);
    }
}

/// The limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The number of connections in all.
    Everywhere,
    /// The share of this address or network.
    ForThisAddress,
}

/// Counts one connection until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    groups: Option<Box<Groups>>,
}

impl ConnectionPermit {
    /// Counts the connection for this address. Returns false when the address has too many.
    pub(crate) fn count(&mut self, address: IpAddr) -> bool {
        if self.groups.is_some() {
            return true;
        }
        let claimant = Claimant {
            address: Some(address),
            user: User::NotAsked,
        };
        let groups = claimant.groups();
        let is_admitted = self.limiter.count_in(&groups);
        if is_admitted {
            self.groups = Some(Box::new(groups));
        }
        is_admitted
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limiter.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(groups) = &self.groups {
            self.limiter.count_out(groups);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(limiter: &Arc<ConnectionLimiter>, address: &str) -> Result<ConnectionPermit, Full> {
        limiter.enter(Some(address.parse().unwrap()))
    }

    #[test]
    fn networks_of_ipv6_are_counted_by_all_that_one_may_own() {
        for step in ["2001:db8:1:1", "2001:db8:1:1X", "2001:db8:1:X00"] {
            let limiter = Arc::new(ConnectionLimiter::new(1_000, 500));
            let mut inside = Vec::new();
            for n in 0..2_000 {
                let network = step.replace('X', &format!("{:02x}", n % 256));
                inside.extend(enter(&limiter, &format!("{network}::{n:x}")));
            }
            assert!(
                (500..=800).contains(&inside.len()),
                "{step}: {}",
                inside.len()
            );
            assert!(enter(&limiter, "2001:db8:2::1").is_ok(), "{step}");
            assert!(enter(&limiter, "192.0.2.1").is_ok(), "{step}");
        }
    }

    #[test]
    fn a_trusted_proxy_may_use_every_slot() {
        let limiter = Arc::new(ConnectionLimiter::new(10, 1));
        let inside: Vec<_> = (0..11).map_while(|_| limiter.enter(None).ok()).collect();
        assert_eq!(inside.len(), 10);
        drop(inside);
        assert!(enter(&limiter, "192.0.2.1").is_ok());
    }
}
