//! The operator's orders when no server runs: the command line opens the store itself.

use std::time::Duration;

use crate::app::build::{self, Surroundings};
use crate::app::error::StartError;
use crate::config::Config;
use crate::control::{Reply, Request};
use crate::server::control::Operator;
use crate::store::Lifecycle as _;

/// Opens the store, carries out one order, and closes it again.
pub fn execute_offline(mut config: Config, request: Request) -> Result<Reply, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::System)?;
    // Whoever types a command wants to know at once that a server holds the store.
    config.store.lock_wait = Duration::ZERO;
    let mut shared = build::shared(config, Surroundings::real())?;
    let service = shared.service.load_full();
    let operator = Operator {
        service: shared.service.clone(),
        keys: shared.keys.clone(),
        server: None,
    };
    runtime.block_on(async {
        let reply = operator.execute(request).await;
        service.flush_audit(&mut shared.queues).await;
        service.store().close().await?;
        Ok(reply)
    })
}
