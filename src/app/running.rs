//! A running Sidegate, as its owner holds it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::app::build::{self, Surroundings};
use crate::app::error::StartError;
use crate::app::keeper::Keeper;
use crate::app::reload::{Reload, Reread};
use crate::app::sockets::Sockets;
use crate::config::Config;
use crate::server::lifecycle::{Lifecycle, Phase};
use crate::service::Service;
use crate::tokens::keys::Keys;

/// A process's Sidegate, or one of several in a test.
#[derive(Debug)]
pub struct Running {
    address: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    lifecycle: Lifecycle,
    service: Arc<Service>,
    keys: Arc<Keys>,
    reload: Reload,
    keeper: JoinHandle<Result<(), StartError>>,
}

/// Builds everything, listens, and serves. When this returns, requests are answered.
pub fn start(
    config: Config,
    surroundings: Surroundings,
    reread: Reread,
) -> Result<Running, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::System)?;
    let shared = build::shared(config, surroundings)?;
    let service = Arc::clone(&shared.service);
    let keys = Arc::clone(&shared.keys);
    runtime
        .block_on(service.load_revocations())
        .map_err(StartError::Revocations)?;
    let sockets = runtime.block_on(Sockets::bind(&shared))?;
    let (address, admin) = (sockets.public.address(), sockets.admin_address());
    let lifecycle = Lifecycle::new();
    let reload = Reload::new(reread, &shared);
    let keeper = Keeper::start(shared, sockets, lifecycle.clone(), reload.clone())?;
    lifecycle.advance(Phase::Serving);
    let keeper = std::thread::Builder::new()
        .name("keeper".to_owned())
        .spawn(move || runtime.block_on(keeper.keep()))
        .map_err(StartError::System)?;
    Ok(Running {
        address,
        admin,
        lifecycle,
        service,
        keys,
        reload,
        keeper,
    })
}

impl Running {
    /// The public address, with the port that was given; none on a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The admin address, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The use cases, for whoever runs it in-process.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// The keys, for whoever runs it in-process.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// The process's phase.
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// Reads the configuration again; says what came of it.
    pub fn reload(&self) -> Result<String, String> {
        self.reload.run()
    }

    /// Begins to end. Returns at once; [`Running::wait`] waits for it.
    pub fn stop(&self) {
        self.lifecycle.advance(Phase::Ending);
    }

    /// Ends without waiting for what is in flight.
    pub fn stop_now(&self) {
        self.lifecycle.advance(Phase::Stopped);
    }

    /// Waits until everything has ended.
    pub fn wait(self) -> Result<(), StartError> {
        match self.keeper.join() {
            Ok(outcome) => outcome,
            Err(_) => Err(StartError::System(std::io::Error::other(
                "the keeper panicked",
            ))),
        }
    }
}
