//! How long a request has been under way, as the connection's sweep counts it: no clock is read and
//! nothing is registered for a request that is answered quickly.

use std::sync::atomic::{AtomicU8, Ordering};

/// So many sweeps make a request a long one. Sweeps are a worker's tick apart, and the first may come
/// right after the beginning: it has been under way for at least one tick, and for two at most.
const LONG: u8 = 2;

/// The age of the request in hand, in sweeps.
#[derive(Debug, Default)]
pub struct Progress(AtomicU8);

impl Progress {
    /// A request begins.
    pub(super) fn begin(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Counts one sweep; whether the request has just become a long one, so that its task must be
    /// woken to look at its session.
    pub(super) fn sweep(&self) -> bool {
        let sweeps = self.0.load(Ordering::Relaxed).saturating_add(1);
        self.0.store(sweeps, Ordering::Relaxed);
        sweeps == LONG
    }

    /// Whether the request has been under way for long.
    pub(in crate::server) fn is_long(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= LONG
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_becomes_a_long_one_once_and_each_begins_anew() {
        let progress = Progress::default();
        for _ in 0..2 {
            progress.begin();
            let became: Vec<bool> = (0..400).map(|_| progress.sweep()).collect();
            assert!(progress.is_long());
            assert_eq!(became.iter().filter(|long| **long).count(), 1);
            assert_eq!(became.get(..2), Some(&[false, true][..]));
        }
        progress.begin();
        assert!(!progress.is_long());
    }
}
