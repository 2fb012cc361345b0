//! Sockets to requests: listeners, workers, connections, and the front page of a request.
//!
//! Read [`pipeline`] first: it names every phase of a request in order. One worker is one thread
//! with its own runtime, listener, upstream pool and token cache; workers share no lock that a
//! forwarded request takes.

pub mod accept;
pub mod access_log;
pub mod admin;
mod caller;
mod check;
pub mod connection;
pub mod context;
pub mod control;
pub mod doorman;
mod forward;
mod handshake;
pub mod inherited;
pub mod intake;
mod leash;
pub mod lifecycle;
pub mod listener;
pub mod manager;
pub mod original;
pub mod outbox;
mod own;
pub mod peer;
pub mod pipeline;
pub mod problem;
pub mod proxied;
pub mod record;
pub mod redirect;
mod renewal;
mod seats;
pub mod settings;
pub mod signals;
pub mod stream;
pub(crate) mod tasks;
pub mod tunnel;
pub mod worker;

pub use lifecycle::{Lifecycle, Phase};
pub use settings::Settings;
