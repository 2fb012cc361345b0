//! When are the files of certificates and keys checked for changes?
//!
//! Every `server.tls_reload_interval`: the files of the public listener, and those that are used towards the
//! upstream.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use crate::config::Config;
use crate::process::reload::Reload;

/// Checks the files until dropped. `reloaded` is notified when the interval may have changed.
pub(crate) async fn watch(config: Arc<ArcSwap<Config>>, reloaded: Arc<Notify>, reload: Reload) {
    let mut last = Instant::now();
    loop {
        let due = last + config.load().server.tls_reload_interval;
        tokio::select! {
            () = sleep_until(due) => {
                let reload = reload.clone();
                // On another thread, because a disk may be slow. The outcome is logged and counted.
                drop(spawn_blocking(move || reload.check_certificates()).await);
                last = Instant::now();
            }
            () = reloaded.notified() => {}
        }
    }
}
