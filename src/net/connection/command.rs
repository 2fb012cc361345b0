//! Which commands can a connection receive, and how is its task woken?

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};

/// A command to a connection. A later variant replaces an earlier one, never the reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum ConnectionCommand {
    /// Continue.
    Continue,
    /// Answer the current request, or the one that is arriving, and accept no more.
    Finish,
    /// Close as soon as no request is in progress.
    Close,
    /// End at once.
    Cut,
}

/// The command that holds for a connection.
#[derive(Debug)]
pub(crate) struct Command {
    current: AtomicU8,
    /// The tick of the last command.
    given_at: AtomicU64,
    task: Mutex<Option<Waker>>,
}

impl Command {
    pub(crate) fn new() -> Self {
        Self {
            current: AtomicU8::new(ConnectionCommand::Continue as u8),
            given_at: AtomicU64::new(0),
            task: Mutex::default(),
        }
    }

    /// Whether this command holds, or one that replaces it.
    pub(crate) fn is(&self, command: ConnectionCommand) -> bool {
        self.current.load(Ordering::Relaxed) >= command as u8
    }

    /// The tick of the last command.
    pub(crate) fn given_at(&self) -> u64 {
        self.given_at.load(Ordering::Relaxed)
    }

    /// Gives a command. Returns whether it is new.
    pub(crate) fn give(&self, command: ConnectionCommand, tick: u64) -> bool {
        let is_new = self.current.fetch_max(command as u8, Ordering::Relaxed) < command as u8;
        if is_new {
            self.given_at.fetch_max(tick, Ordering::Relaxed);
            self.wake();
        }
        is_new
    }

    /// Wakes this task with every new command.
    pub(crate) fn listen(&self, waker: &Waker) {
        *self.task() = Some(waker.clone());
    }

    /// Wakes the connection's task.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.task() {
            waker.wake_by_ref();
        }
    }

    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock()
    }

    #[cfg(test)]
    pub(crate) fn value(&self) -> u8 {
        self.current.load(Ordering::Relaxed)
    }
}
