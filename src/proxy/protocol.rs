//! The name of a protocol that a connection can switch to.

use std::sync::Arc;

/// A protocol name in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol(Arc<str>);

impl Protocol {
    /// WebSocket (RFC 6455).
    pub const WEBSOCKET: &'static str = "websocket";

    pub(super) fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is WebSocket.
    pub fn is_websocket(&self) -> bool {
        self.as_str() == Self::WEBSOCKET
    }
}
