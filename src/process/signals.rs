//! Which signals are handled, and with which effect?
//!
//! SIGTERM and SIGINT end the process in order, a second one at once. SIGHUP reloads.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The effect of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalReceived {
    /// Finish the requests in progress and end.
    Stop,
    /// Read the configuration again.
    Reload,
}

/// The handlers of the process's signals. The first process of a container has no default actions, so they are
/// installed before anything else.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Installs the handlers. Needs a runtime.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) -> SignalReceived {
        tokio::select! {
            _ = self.terminate.recv() => SignalReceived::Stop,
            _ = self.interrupt.recv() => SignalReceived::Stop,
            _ = self.hangup.recv() => SignalReceived::Reload,
        }
    }
}
