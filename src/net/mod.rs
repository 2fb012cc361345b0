//! How do bytes become requests? Sockets, connections, TLS, HTTP/1.1 and HTTP/2, and their deadlines.
//!
//! This module passes each request to a [`Handler`](handler::Handler) and sends its response. It has no
//! knowledge of sessions, rules or upstreams. One worker is one thread with its own runtime and listener;
//! workers share no lock that a request takes.

pub mod accept;
pub mod body;
pub mod connection;
pub mod connection_limiter;
pub(crate) mod connections;
pub mod handler;
pub mod inherited;
pub mod lifecycle;
pub mod listener;
pub mod peer;
pub mod proxy_protocol;
pub mod served;
pub mod settings;
pub mod slots;
pub mod stream;
pub(crate) mod tasks;
pub mod upgrade;
pub mod worker;

pub use lifecycle::{Lifecycle, Phase};
