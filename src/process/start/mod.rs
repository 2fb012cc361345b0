//! In which order does a process start?
//!
//! 1. [`shared`] opens the store and the keys and builds the service.
//! 2. The revocations are read from the store: without them no token is accepted.
//! 3. [`sockets`] binds every listener.
//! 4. The supervisor starts the workers; from here on requests are answered.
//! 5. The supervisor's thread takes over; it also ends the process.

pub(crate) mod access_log;
pub(crate) mod descriptors;
pub(crate) mod error;
pub(crate) mod pipelines;
pub(crate) mod shared;
pub(crate) mod sockets;
pub(crate) mod surroundings;
pub(crate) mod workers;

use std::sync::Arc;
use std::thread;

use tokio::runtime;

use crate::config::Config;
use crate::net::inherited::Inherited;
use crate::net::lifecycle::{Lifecycle, Phase};
use crate::process::reload::Reread;
use crate::process::running::Running;
use crate::process::start::error::StartError;
use crate::process::start::shared::Shared;
use crate::process::start::sockets::Sockets;
use crate::process::start::surroundings::Surroundings;
use crate::process::supervisor::Supervisor;
use crate::telemetry::logging::Log;

/// Builds everything, listens, and serves. When this returns, requests are answered.
pub fn start(
    config: Config,
    surroundings: Surroundings,
    reread: Reread,
) -> Result<Running, StartError> {
    start_on(config, surroundings, Hosting::default(), reread)
}

/// The parts that a process has once, and that several Sidegates in one test do without.
#[derive(Debug, Default)]
pub(crate) struct Hosting {
    /// The sockets that the process inherited.
    pub(crate) inherited: Inherited,
    /// The process log.
    pub(crate) log: Log,
}

/// The same with a process log, and with inherited sockets in place of the configured ones.
pub(crate) fn start_on(
    config: Config,
    surroundings: Surroundings,
    hosting: Hosting,
    reread: Reread,
) -> Result<Running, StartError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::System)?;
    let shared = Shared::build(config, surroundings)?;
    let service = Arc::clone(&shared.service);
    let keys = Arc::clone(&shared.keys);
    runtime
        .block_on(service.load().follow_revocations())
        .map_err(StartError::Revocations)?;
    let sockets = runtime.block_on(Sockets::bind(&shared, hosting.inherited))?;
    let (address, admin) = (sockets.public.address(), sockets.admin_address());
    let redirect = sockets.redirect_address();
    let lifecycle = Lifecycle::new();
    let supervisor = Supervisor::start(shared, sockets, lifecycle.clone(), hosting.log, reread)?;
    let reload = supervisor.reload();
    lifecycle.advance(Phase::Serving);
    let supervisor = thread::Builder::new()
        .name("supervisor".to_owned())
        .spawn(move || runtime.block_on(supervisor.run()))
        .map_err(StartError::System)?;
    Ok(Running {
        address,
        admin,
        redirect,
        lifecycle,
        service,
        keys,
        reload,
        supervisor,
    })
}
