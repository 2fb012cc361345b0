//! What the process is doing with its life, told to everybody who has to act on it.
//!
//! ```text
//! Starting → Serving → Draining → Ending → Closing → Stopped
//!                      ready: no  still    listeners  what is left
//!                                 accepts  closed     is cut
//! ```

use tokio::sync::watch;

/// A phase of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

/// The phase, shared.
#[derive(Debug, Clone)]
pub struct Lifecycle(watch::Sender<Phase>);

impl Lifecycle {
    /// A process that is starting.
    pub fn new() -> Self {
        Self(watch::Sender::new(Phase::Starting))
    }

    /// The phase at this moment.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Goes on to a later phase; never back.
    pub fn advance(&self, to: Phase) {
        self.0.send_if_modified(|phase| {
            let later = to > *phase;
            if later {
                *phase = to;
            }
            later
        });
    }

    /// Waits until the phase is at least this.
    pub async fn reached(&self, phase: Phase) {
        let mut changes = self.0.subscribe();
        // An error means that nobody can advance the phase any more: the process is going.
        drop(changes.wait_for(|at| *at >= phase).await);
    }

    /// Watches the phase.
    pub fn watch(&self) -> watch::Receiver<Phase> {
        self.0.subscribe()
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
}
