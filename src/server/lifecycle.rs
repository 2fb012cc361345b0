//! What the process is doing with its life, told to everybody who has to act on it.
//!
//! ```text
//! Starting → Serving → Draining → Ending → Closing → Stopped
//!                      ready: no  still    listeners  what is left
//!                                 accepts  closed     is cut
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

/// A phase of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Parts are being built.
    Starting,
    /// Requests are served.
    Serving,
    /// Requests are served, new ones should go elsewhere.
    Draining,
    /// The process was asked to end; it still accepts while the news spreads (`drain_delay`).
    Ending,
    /// Listeners are closed; what is in flight finishes.
    Closing,
    /// What is in flight is cut.
    Stopped,
}

impl Phase {
    const ALL: [Self; 6] = [
        Self::Starting,
        Self::Serving,
        Self::Draining,
        Self::Ending,
        Self::Closing,
        Self::Stopped,
    ];
}

/// The phase, shared.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    changes: watch::Sender<Phase>,
    /// The same once more, to be read by every request: reading the other takes a lock.
    now: Arc<AtomicU8>,
}

impl Lifecycle {
    /// A process that is starting.
    pub fn new() -> Self {
        Self {
            changes: watch::Sender::new(Phase::Starting),
            now: Arc::new(AtomicU8::new(Phase::Starting as u8)),
        }
    }

    /// The phase at this moment.
    pub fn phase(&self) -> Phase {
        let now = usize::from(self.now.load(Ordering::Acquire));
        Phase::ALL.get(now).copied().unwrap_or(Phase::Stopped)
    }

    /// Goes on to a later phase; never back.
    pub fn advance(&self, to: Phase) {
        self.changes.send_if_modified(|phase| {
            let later = to > *phase;
            if later {
                *phase = to;
                self.now.store(to as u8, Ordering::Release);
            }
            later
        });
    }

    /// Waits until the phase is at least this.
    pub async fn reached(&self, phase: Phase) {
        let mut changes = self.changes.subscribe();
        // An error means that nobody can advance the phase any more: the process is going.
        drop(changes.wait_for(|at| *at >= phase).await);
    }

    /// Watches the phase.
    pub fn watch(&self) -> watch::Receiver<Phase> {
        self.changes.subscribe()
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn life_goes_one_way() {
        let life = Lifecycle::new();
        life.advance(Phase::Closing);
        life.advance(Phase::Serving);
        assert_eq!(life.phase(), Phase::Closing);
    }

    #[test]
    fn every_phase_reads_back() {
        let life = Lifecycle::new();
        for phase in Phase::ALL {
            life.advance(phase);
            assert_eq!(life.phase(), phase);
            assert_eq!(*life.watch().borrow(), phase);
        }
    }
}
