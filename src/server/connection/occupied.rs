//! A connection that is busy with something that is no request any more.

use std::sync::Arc;

use crate::server::connection::turns::{Left, Turn};
use crate::server::connection::vigil::State;
use crate::server::peer::Peer;

/// While it lives, an HTTP/2 connection is not taken for idle: a tunnel over one of its streams holds
/// one, for hyper has no more to tell of that stream.
#[derive(Debug)]
pub struct Occupied {
    peer: Arc<Peer>,
    turn: Arc<Turn>,
}

impl Occupied {
    /// The connection of this peer is busy.
    pub fn of(peer: &Arc<Peer>) -> Self {
        let open = &peer.open;
        open.vigil.enter(State::Busy, open.worker.tick());
        Self {
            peer: Arc::clone(peer),
            turn: open.vigil.turns.begin(),
        }
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let open = &self.peer.open;
        if open.vigil.turns.end(&self.turn, true) == Left::Nothing {
            open.vigil.enter(State::Waiting, open.worker.tick());
        }
    }
}
