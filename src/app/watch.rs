//! The files of certificates and keys are looked at while the process runs: those of the public
//! listener, and those that are used towards the upstream. What has changed is used by the next
//! connection; what cannot be used is told and counted, and the old stays in force.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use crate::app::reload::Reload;
use crate::config::Config;
use crate::proxy::{Address, Proxy};
use crate::tls::client;

/// What is known of the files towards the upstream. They are read under the reload's lock only, so
/// that a look and a reload never undo each other.
#[derive(Debug)]
pub(super) struct Outward {
    /// What the files were like when they were last read.
    seen: AtomicU64,
    failed: AtomicU64,
}

impl Outward {
    /// To be made before the files are read: a change in between is then found by the first look.
    pub(super) fn new(upstream: &Address) -> Self {
        Self {
            seen: AtomicU64::new(fingerprint(upstream)),
            failed: AtomicU64::new(0),
        }
    }

    /// How often the files could not be used.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// A reload has read the files, after they were like this.
    pub(super) fn saw(&self, fingerprint: u64) {
        self.seen.store(fingerprint, Ordering::Relaxed);
    }

    /// Reads the files if they have changed, and tells the proxies. Files that cannot be used are told
    /// once, not at every look.
    pub(super) fn look(&self, upstream: &Address, proxies: impl Iterator<Item = Arc<Proxy>>) {
        let Address::Tls { tls, .. } = upstream else {
            return;
        };
        let is = fingerprint(upstream);
        if self.seen.swap(is, Ordering::Relaxed) == is {
            return;
        }
        match client::config(tls.files()) {
            Ok(config) => {
                for proxy in proxies {
                    proxy.believe(&config);
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

/// What the files hold that this upstream needs, as one number.
pub(super) fn fingerprint(upstream: &Address) -> u64 {
    match upstream {
        Address::Tls { tls, .. } => tls.files().fingerprint(),
        Address::Tcp { .. } | Address::Unix(_) | Address::H2c { .. } => 0,
    }
}

/// Looks, as often as the configuration in force says, until dropped. `reloaded` wakes it when that may
/// have changed.
pub(super) async fn watch(config: Arc<ArcSwap<Config>>, reloaded: Arc<Notify>, reload: Reload) {
    let mut last = Instant::now();
    loop {
        let due = last + config.load().server.tls_reload_interval;
        tokio::select! {
            () = sleep_until(due) => {
                let reload = reload.clone();
                // Files are read, and a disk may be slow. What came of it is logged and counted.
                drop(spawn_blocking(move || reload.look()).await);
                last = Instant::now();
            }
            () = reloaded.notified() => {}
        }
    }
}
