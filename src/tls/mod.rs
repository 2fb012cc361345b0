//! TLS on both sides, with rustls and aws-lc-rs: one cryptographic back-end in the whole program.
//!
//! This module reads certificates and keys and makes configurations. Sockets belong to `net` and `proxy`.

pub mod client;
mod files;
mod names;
mod server;
pub mod settings;
mod subject;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use files::{BadFile, chain, chain_and_key};
pub use server::{BadSetup, Outcome, ServerTls, Setup};
pub use settings::Settings;
pub use subject::{MAX_SUBJECT, subject};

/// The cryptography of every configuration. Given to each by name, so that no process-wide default
/// has to be installed before the first use.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
