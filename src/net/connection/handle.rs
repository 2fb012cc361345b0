//! What can a request learn from its connection?

use std::sync::Arc;

use crate::net::connection::body_rate::BodyRate;
use crate::net::connections::Registered;
use crate::net::peer::Peer;

/// A connection that is open. Every value that holds an `Arc` of it keeps the connection registered: a
/// tunnel that outlives hyper's part of the connection still counts against the limits, and the worker
/// waits for it when the process ends.
#[derive(Debug)]
pub struct Connection {
    peer: Peer,
    pub(crate) registered: Registered,
}

impl Connection {
    pub(crate) fn new(peer: Peer, registered: Registered) -> Self {
        Self { peer, registered }
    }

    /// The peer of the connection.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The worker's coarse clock, in milliseconds.
    pub fn tick(&self) -> u64 {
        self.registered.tick()
    }

    /// Registers this body with the connection's sweep, which checks its rate.
    pub fn watch_body(&self, body: &Arc<BodyRate>) {
        self.registered.state.watch_body(Arc::downgrade(body));
    }
}
