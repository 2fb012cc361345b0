//! How is the last activity of a session recorded without slowing requests? Through a bounded queue that
//! is written later.
//!
//! A worker reports at most once a minute for each session, or once in a sixtieth of the idle limit if
//! that is less (the time of the last report is stored with the verified token). So a session ends for
//! lack of activity only if there was none. A report that does not fit in the queue is dropped, which
//! costs precision only.

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::session::SessionKey;

/// The shortest time between two reports for one session, whatever the idle limit.
const MOST: Duration = Duration::from_secs(60);

/// The part of the idle limit by which a report may be late.
const SHARE: u32 = 60;

/// The largest number of reports in the queue.
pub const QUEUE: usize = 4_096;

/// A session was used.
#[derive(Debug, Clone)]
pub struct Note {
    /// The session.
    pub session: SessionKey,
    /// The client address.
    pub address: Option<IpAddr>,
}

/// The sending end. Cheap, and never waits.
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

    /// The same for sessions with this idle limit; zero means none.
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

    /// The shortest time between two reports for one session.
    pub const fn every(&self) -> Duration {
        self.every
    }

    /// Reports that a session was used. Dropped when the queue is full.
    pub fn note(&self, note: Note) {
        drop(self.sender.try_send(note));
    }
}
