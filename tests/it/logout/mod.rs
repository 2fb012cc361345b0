//! When a session ends, its next request is refused and everything that is open for it is closed: requests,
//! downloads, event streams, gRPC calls and WebSockets, over HTTP/1.1 and HTTP/2.
//!
//! - [`list`]: the list of sessions, and every way to end one.
//! - [`all_sessions`]: the end of every session at once.
//! - [`requests`]: a request in progress ends with its session.
//! - [`streams`]: WebSockets, event streams and downloads end with their session.
//! - [`http2_streams`], [`http2_websockets`]: the same over HTTP/2, where other streams continue.
//! - [`stalled_clients`]: a client that reads nothing keeps nothing open.
//! - [`late_answers`]: an answer that begins after the end of its session.

mod all_sessions;
mod http2_streams;
mod http2_websockets;
mod late_answers;
mod list;
mod requests;
mod stalled_clients;
mod streams;
