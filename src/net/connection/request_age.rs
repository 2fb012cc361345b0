//! How long has a request been in progress?
//!
//! Counted in sweeps of the connection: no clock is read and no timer is registered for a request that is
//! answered quickly.

use std::sync::atomic::{AtomicU8, Ordering};

/// The number of sweeps after which a request is long. Sweeps are a worker's tick apart, and the first may
/// follow the beginning at once: the request has been in progress for one to two ticks.
const LONG: u8 = 2;

/// The age of a request, in sweeps.
#[derive(Debug, Default)]
pub struct RequestAge(AtomicU8);

impl RequestAge {
    /// A request begins.
    pub(crate) fn begin(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Counts one sweep. Returns true when the request has just become long: its task must be woken to
    /// check its session.
    pub(crate) fn sweep(&self) -> bool {
        let sweeps = self.0.load(Ordering::Relaxed).saturating_add(1);
        self.0.store(sweeps, Ordering::Relaxed);
        sweeps == LONG
    }

    /// Whether the request has been in progress for long.
    pub fn is_long(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= LONG
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_becomes_long_once() {
        let age = RequestAge::default();
        for _ in 0..2 {
            age.begin();
            let became: Vec<bool> = (0..400).map(|_| age.sweep()).collect();
            assert!(age.is_long());
            assert_eq!(became.iter().filter(|long| **long).count(), 1);
            assert_eq!(became.get(..2), Some(&[false, true][..]));
        }
        age.begin();
        assert!(!age.is_long());
    }
}
