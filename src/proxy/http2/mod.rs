//! How is a request forwarded over HTTP/2, with many requests on few connections?
//!
//! ```text
//! forward ─→ pool       a stream on a connection with room, or on a fresh connection
//!         ├→ head       the same decisions as over HTTP/1.1, as a header map
//!         └→ exchange ── sender: the body of the request, within the upstream's window
//!               └─→ Body: continues to send, passes the frames of the answer on
//! connection: the only task of a connection; it moves its bytes and pings a silent peer
//! stream:     the reservation of one stream;  status: the state that connection and streams share
//! ```
//!
//! The frames are those of `h2`, the library that hyper uses. hyper's own client is not used: it
//! polls the body of each request in a task of its own, hides why a stream ended, and would ping so often
//! during long answers that gRPC servers close the connection. An exchange is polled inside the
//! request's own future, as over HTTP/1.1; dropping it resets its stream and nothing else.

mod connection;
mod exchange;
mod forward;
mod head;
mod pool;
mod sender;
mod status;
mod stream;
mod wait_queue;

pub(super) use exchange::Exchange;
pub(super) use forward::Attempt;
pub(super) use pool::StreamPool;
