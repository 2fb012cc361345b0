//! The operator's way in: what the command line may ask of a running server, what it answers, and
//! how both travel over the control socket.
//!
//! ```text
//! sidegate users list ── one JSON line ──→ control.sock (0600) ──→ server
//!                     ←── one JSON line ──
//! ```
//!
//! One request a connection. The socket's file mode is the only authentication, so it lies where
//! only the server's own user may enter, and [`listener::bind`] makes sure that it is never visible
//! with a wider mode, not even for a moment. When no server runs, the same [`Request`] is executed
//! in-process.

pub mod listener;
pub mod reply;
pub mod request;
#[cfg(test)]
mod tests;
pub mod wire;

pub use reply::Reply;
pub use request::Request;
