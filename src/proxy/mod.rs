//! How does a permitted request reach the upstream, and its answer the client?
//!
//! ```text
//! gateway ── Permit, request, Via ──→ Proxy::forward (forward.rs)
//!
//!  1 semaphore      may this client use one more connection or stream now, or must it wait?
//!  2 pool           an idle HTTP/1.1 connection, or a fresh one      http2/pool  a stream on a
//!      └ connect    name lookup, socket, TLS, choice of version                  connection
//!  3 request_head   which headers the upstream receives              http2/head
//!      └ strip, connection_names, cookies, forwarded
//!  4 exchange       sends the request and reads the answer at once   http2/exchange
//!      ├ sender             the body of the request, framed anew     http2/sender
//!      ├ response_head      the head of the answer, checked
//!      ├ payload, chunked   the body of the answer
//!      ├ prefetch           the start of that body, read before the head is returned
//!      └ timeouts           how long it may be silent
//!  5 body           the body of the answer; owns the exchange and continues it
//! ```
//!
//! | question | file |
//! |---|---|
//! | where the upstream connection is chosen | `pool` (HTTP/1.1), `http2/pool` (HTTP/2) |
//! | where the number of connections and of waiting requests is bounded | `semaphore` |
//! | how long a request, a body or a stream may be silent | `timeouts` |
//! | when a request is sent a second time | `exchange`, `http2/exchange` |
//! | which headers the upstream receives | `request_head`, `strip` |
//! | which headers of the answer reach the client | `response_head`, `http2/head` |
//! | how a connection switches protocols | `upgrade` |
//!
//! Three things always hold: nothing is forwarded without a [`Permit`]; the upstream receives only headers
//! that this module chose to write; whatever bytes the upstream sends, one request gets at most one answer
//! and never the answer of another request.
//!
//! The proxy is its own HTTP/1.1 client. The whole exchange is polled inside the request's own future,
//! later inside its response body: there is no second task and no channel, and a pooled connection serves
//! a request without an allocation for it. A [`Proxy`] belongs to one worker thread.
//!
//! Not forwarded: request trailers, `Upgrade` outside [`Proxy::upgrade`], and `Via` (the proxy is
//! transparent; a loop ends at the connection limit).
//!
//! [`Permit`]: crate::guard::Permit

mod body;
mod chunked;
mod connect;
mod connection;
mod connection_names;
mod cookies;
mod error;
mod exchange;
mod forward;
mod forwarded;
pub mod fuzz;
pub mod grpc;
mod header_sink;
mod http2;
mod payload;
mod pool;
mod prefetch;
mod protocol;
mod request_head;
mod response_head;
mod semaphore;
mod sender;
pub mod settings;
mod stats;
mod stream;
mod strip;
mod timeouts;
mod timer;
mod upgrade;
mod upstream;
mod via;

#[cfg(test)]
mod tests;

pub use body::Body;
pub use connection_names::tokens;
pub use error::{BrokenOff, ClientFault, Fault, UpstreamError};
pub use forward::Proxy;
pub use protocol::Protocol;
pub use settings::{Address, Settings, Tls};
pub use stats::Stats;
pub use timer::DeadlineTimer;
pub use upgrade::{Handshake, Switched};
pub use via::{Earlier, Via};
