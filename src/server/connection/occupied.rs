//! A connection that is busy with something that is no request any more.

use std::sync::Arc;

use crate::server::connection::http2::TurnGuard;
use crate::server::peer::Peer;

/// While it lives, an HTTP/2 connection is not taken for idle: a tunnel over one of its streams holds
/// one, for hyper has no more to tell of that stream.
#[derive(Debug)]
pub struct Occupied {
    _stream: TurnGuard,
}

impl Occupied {
    /// The connection of this peer is busy.
    pub fn of(peer: &Arc<Peer>) -> Self {
        let mut stream = TurnGuard::begin(peer);
        // However a tunnel ends, its handshake was answered: the client has not hung up on it.
        stream.answered = true;
        Self { _stream: stream }
    }
}
