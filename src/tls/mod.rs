//! TLS on both sides, by rustls with aws-lc-rs: one cryptographic back-end in the whole program.
//!
//! What is here knows certificates, keys and configurations; sockets belong to `server` and `proxy`.

pub mod client;
mod door;
mod files;
mod names;
pub mod settings;
mod subject;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use door::{BadSetup, Door, Outcome, Setup};
pub use files::{BadFile, chain, chain_and_key};
pub use settings::Settings;
pub use subject::{MAX_SUBJECT, subject};

/// The cryptography of every configuration. Given to each by name, so that no process-wide default
/// has to be installed before the first use.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
