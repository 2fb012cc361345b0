//! Last activity, told by proxied requests and written off the hot path.
//!
//! A worker tells at most once a minute per session, or once in a sixtieth of the idle limit where that is
//! less (the mark lives with the verified token): a session ends for want of activity when there was
//! none, and not because it was not noted. The queue is bounded and a note that does not fit is dropped,
//! which costs as much precision.

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::session::SessionKey;

/// How often one session's activity is noted at most, whatever the idle limit.
const MOST: Duration = Duration::from_secs(60);

/// How much of the idle limit one note may be late by.
const SHARE: u32 = 60;

/// How many notes may wait.
pub const QUEUE: usize = 4_096;

/// One session was used.
#[derive(Debug, Clone)]
pub struct Note {
    /// The session.
    pub session: SessionKey,
    /// From where.
    pub address: Option<IpAddr>,
}

/// The sending end: cheap, never waits.
#[derive(Debug, Clone)]
pub struct Activity {
    sender: mpsc::Sender<Note>,
    every: Duration,
}

/// The receiving end, for `service::upkeep`.
pub type ActivityQueue = mpsc::Receiver<Note>;

impl Activity {
    /// Both ends.
    pub fn new() -> (Self, ActivityQueue) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let every = MOST;
        (Self { sender, every }, queue)
    }

    /// The same for sessions with this idle limit; zero = none.
    #[must_use]
    pub fn for_idle_limit(&self, limit: Duration) -> Self {
        let every = if limit.is_zero() {
            MOST
        } else {
            MOST.min(limit / SHARE)
        };
        let sender = self.sender.clone();
        Self { sender, every }
    }

    /// How often one session's activity is noted at most.
    pub const fn every(&self) -> Duration {
        self.every
    }

    /// Tells that a session was used; dropped when the queue is full.
    pub fn note(&self, note: Note) {
        drop(self.sender.try_send(note));
    }
}
