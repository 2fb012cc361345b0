//! TLS with the certificate of each name, with client certificates where they are configured, and towards the
//! application. New files are used by the next handshake; files that cannot be used change nothing.
//!
//! - [`certificates`]: certificates by name, and client certificates.
//! - [`handshakes`]: handshakes that are slow, broken or too many.
//! - [`redirect`]: the listener that redirects to https.
//! - [`reload`]: new certificates after a reload.
//! - [`upstream`]: certificates towards the application.

mod certificates;
mod handshakes;
mod redirect;
mod reload;
mod upstream;
