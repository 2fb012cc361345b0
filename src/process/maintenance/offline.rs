//! How is an operator's command executed when no server runs? The command line opens the store itself.

use std::time::Duration;

use tokio::runtime::Runtime;

use crate::config::Config;
use crate::control::{Reply, Request};
use crate::process::control::Operator;
use crate::process::file_modes;
use crate::process::start::error::StartError;
use crate::process::start::shared::Shared;
use crate::process::start::surroundings::Surroundings;
use crate::store::Lifecycle as _;

/// The store of a configuration, opened by this process.
pub struct Offline {
    runtime: Runtime,
    shared: Shared,
    operator: Operator,
}

impl Offline {
    /// Opens the store. Fails at once while a server holds it.
    pub fn open(mut config: Config) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::System)?;
        config.store.lock_wait = Duration::ZERO;
        let shared = Shared::build(config, Surroundings::real())?;
        let operator = Operator {
            service: shared.service.clone(),
            keys: shared.keys.clone(),
            server: None,
        };
        Ok(Self {
            runtime,
            shared,
            operator,
        })
    }

    /// Executes one command.
    pub fn execute(&mut self, request: Request) -> Reply {
        let service = self.shared.service.load_full();
        self.runtime.block_on(async {
            let reply = self.operator.execute(request).await;
            service.audit_settled().await;
            reply
        })
    }

    /// Closes the store.
    pub fn close(self) -> Result<(), StartError> {
        let service = self.shared.service.load_full();
        let closed = self.runtime.block_on(async {
            service.close_audit().await;
            service.store().close().await
        });
        file_modes::give_to_owners(&self.shared.config);
        Ok(closed?)
    }
}

impl std::fmt::Debug for Offline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offline").finish_non_exhaustive()
    }
}
