//! Last activity, told by proxied requests and written off the hot path.
//!
//! A worker tells at most once a minute per session (the mark lives with the verified token); the
//! queue is bounded and a note that does not fit is dropped, which costs a minute of precision.

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::session::SessionKey;

/// How often one session's activity is noted at most.
pub const EVERY: Duration = Duration::from_secs(60);

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
pub struct Activity(mpsc::Sender<Note>);

/// The receiving end, for `service::upkeep`.
pub type ActivityQueue = mpsc::Receiver<Note>;

impl Activity {
    /// Both ends.
    pub fn new() -> (Self, ActivityQueue) {
        let (sender, queue) = mpsc::channel(QUEUE);
        (Self(sender), queue)
    }

    /// Tells that a session was used; dropped when the queue is full.
    pub fn note(&self, note: Note) {
        drop(self.0.try_send(note));
    }
}
