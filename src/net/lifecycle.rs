//! Which phase is the process in, and how does every part notice a change?
//!
//! ```text
//! Starting → Serving → Draining → Ending → Closing → Stopped
//!                      not ready  still    listeners  the rest
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
    /// Requests are served; new ones should be sent to another process.
    Draining,
    /// The process has to end. It still accepts connections until load balancers have noticed (`drain_delay`).
    Ending,
    /// Listeners are closed; requests in progress finish.
    Closing,
    /// Requests in progress are cut.
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

/// The phase of the process, shared by its parts.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    changes: watch::Sender<Phase>,
    /// A copy that every request can read: reading `changes` takes a lock.
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

    /// Advances to a later phase. An earlier one is ignored.
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
        // An error means that every sender is dropped: the process is ending.
        drop(changes.wait_for(|at| *at >= phase).await);
    }

    /// A receiver of phase changes.
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
    fn phases_advance_in_one_direction() {
        let life = Lifecycle::new();
        life.advance(Phase::Closing);
        life.advance(Phase::Serving);
        assert_eq!(life.phase(), Phase::Closing);
    }

    #[test]
    fn every_phase_survives_a_round_trip() {
        let life = Lifecycle::new();
        for phase in Phase::ALL {
            life.advance(phase);
            assert_eq!(life.phase(), phase);
            assert_eq!(*life.watch().borrow(), phase);
        }
    }
}
