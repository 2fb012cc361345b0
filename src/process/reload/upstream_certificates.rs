//! Have the certificate files that are used towards the upstream changed?
//!
//! Changed files are used by the next connection. Files that cannot be used are logged and counted, and the
//! old ones stay in force.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::proxy::{Address, Proxy};
use crate::tls::client;

/// The files as they were last read. They are read only under the reload's lock, so that a check and a reload
/// never undo each other.
#[derive(Debug)]
pub(crate) struct UpstreamCertificates {
    /// The fingerprint of the files before they were last read.
    fingerprint: AtomicU64,
    failed: AtomicU64,
}

impl UpstreamCertificates {
    /// Must be called before the files are read: the first check then finds a change in between.
    pub(crate) fn new(upstream: &Address) -> Self {
        Self {
            fingerprint: AtomicU64::new(fingerprint(upstream)),
            failed: AtomicU64::new(0),
        }
    }

    /// How often changed files could not be used.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// A reload has read the files, which had this fingerprint before.
    pub(crate) fn were_read(&self, fingerprint: u64) {
        self.fingerprint.store(fingerprint, Ordering::Relaxed);
    }

    /// Reads the files if they have changed, and gives them to the proxies. Files that cannot be used are
    /// logged once, not at every check.
    pub(crate) fn check(&self, upstream: &Address, proxies: impl Iterator<Item = Arc<Proxy>>) {
        let Address::Tls { tls, .. } = upstream else {
            return;
        };
        let current = fingerprint(upstream);
        if self.fingerprint.swap(current, Ordering::Relaxed) == current {
            return;
        }
        match client::config(tls.files()) {
            Ok(config) => {
                for proxy in proxies {
                    proxy.set_tls(&config);
                }
                tracing::info!("certificates towards the upstream are reloaded");
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    %error,
                    "certificates towards the upstream cannot be reloaded, the old ones stay"
                );
            }
        }
    }
}

/// The content of the files that this upstream needs, as one number.
pub(crate) fn fingerprint(upstream: &Address) -> u64 {
    match upstream {
        Address::Tls { tls, .. } => tls.files().fingerprint(),
        Address::Tcp { .. } | Address::Unix(_) | Address::H2c { .. } => 0,
    }
}
