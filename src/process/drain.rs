//! What does shutdown wait for, and for how long?
//!
//! 1. *Ending*: `/readyz` answers 503 and connections close after their response, for `drain_delay`.
//! 2. *Closing*: the listeners close. Requests in progress have `drain_timeout`: a worker's thread ends when
//!    its last connection is closed (`net::worker`).
//! 3. *Stopped*: the remaining connections are closed. A second signal leads here at once.

use std::io;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::config::Config;
use crate::net::lifecycle::{Lifecycle, Phase};

/// Waits until the process has to end, then until the workers have ended. Returns when no request is in
/// progress.
pub(crate) async fn drain(
    lifecycle: &Lifecycle,
    config: &ArcSwap<Config>,
    workers: Vec<JoinHandle<io::Result<()>>>,
) {
    lifecycle.reached(Phase::Ending).await;
    tokio::select! {
        () = sleep(config.load().server.drain_delay) => {}
        () = lifecycle.reached(Phase::Closing) => {}
    }
    lifecycle.advance(Phase::Closing);
    let mut ended = spawn_blocking(move || workers.into_iter().for_each(join));
    tokio::select! {
        _ = &mut ended => return,
        () = sleep(config.load().server.drain_timeout) => {
            tracing::warn!("requests did not finish within drain_timeout and are cut");
        }
        () = lifecycle.reached(Phase::Stopped) => {}
    }
    lifecycle.advance(Phase::Stopped);
    drop(ended.await);
}

fn join(worker: JoinHandle<io::Result<()>>) {
    match worker.join() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "a worker failed"),
        Err(_) => tracing::error!("a worker panicked"),
    }
}
