//! How does the command line control a running server? It sends a request over the control socket and receives
//! a reply.
//!
//! ```text
//! sidegate users list ── one JSON line ──→ control.sock (0600) ──→ server
//!                     ←── one JSON line ──
//! ```
//!
//! There is one request per connection. The socket's file mode is the only authentication. The socket is
//! therefore in a directory that only the server's user can enter, and [`listener::bind`] ensures that it never
//! has a wider mode, not even for a moment. When no server runs, the command line executes the same [`Request`]
//! itself.

pub mod import;
pub mod listener;
pub mod reply;
pub mod request;
#[cfg(test)]
mod tests;
pub mod wire;

pub use reply::Reply;
pub use request::Request;
