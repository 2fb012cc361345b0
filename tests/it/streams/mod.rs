//! Bodies and WebSockets pass through as they are sent, in constant memory. A slow reader slows down the
//! writer, and a body that breaks off never looks complete.
//!
//! - [`memory`]: large bodies and back-pressure.
//! - [`bodies`]: bodies that break off, and pieces that are forwarded at once.
//! - [`websocket`]: the switch of protocol, byte for byte.
//! - [`handshakes`]: rules, identity and cookies for a WebSocket handshake.

mod bodies;
mod handshakes;
mod memory;
mod websocket;
