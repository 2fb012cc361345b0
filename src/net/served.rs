//! What do all connections of a worker share?

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::net::connection::handshake_queue::HandshakeQueue;
use crate::tls::ServerTls;

/// The handler and the connection setup of one worker.
#[derive(Debug)]
pub(crate) struct Served<H> {
    pub(crate) handler: Arc<ArcSwap<H>>,
    pub(crate) setup: ConnectionSetup,
}

impl<H> Served<H> {
    /// The handler for a request that begins now. It belongs to this worker, so no other worker changes
    /// its reference count.
    pub(crate) fn handler(&self) -> Arc<H> {
        self.handler.load_full()
    }
}

/// How the connections of a worker begin.
#[derive(Debug)]
pub struct ConnectionSetup {
    /// Whether trusted peers send a PROXY header.
    pub(crate) proxy_protocol: bool,
    /// TLS, if the listener uses it.
    pub(crate) tls: Option<Arc<ServerTls>>,
    pub(crate) handshakes: HandshakeQueue,
}

impl ConnectionSetup {
    /// With TLS, or without.
    pub fn new(proxy_protocol: bool, tls: Option<Arc<ServerTls>>) -> Self {
        Self {
            proxy_protocol,
            tls,
            handshakes: HandshakeQueue::new(),
        }
    }
}
