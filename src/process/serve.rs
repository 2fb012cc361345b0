//! How does `sidegate serve` run, from the configuration to the exit?

use std::io;

use tokio::runtime::{self, Runtime};

use crate::config::Config;
use crate::net::inherited::Inherited;
use crate::net::lifecycle::Phase;
use crate::process::reload::Reread;
use crate::process::reload::parts::log_warnings;
use crate::process::running::Running;
use crate::process::service_manager;
use crate::process::signals::{SignalReceived, Signals};
use crate::process::start::error::StartError;
use crate::process::start::surroundings::{Beginning, Surroundings};
use crate::process::start::{self, Hosting, descriptors};
use crate::telemetry::logging::{self, Log};

/// Serves until a signal ends the process. Returns after everything is flushed. `Err(None)` is an error that
/// the process log has written already.
pub fn serve(config: Config, start: Beginning, reread: Reread) -> Result<(), Option<StartError>> {
    let log = logging::start(&config.log).map_err(|error| Some(StartError::System(error)))?;
    let outcome = serve_logging(config, start, reread, log.clone());
    match outcome {
        Ok(()) => {
            log.finish();
            Ok(())
        }
        Err(error) if log.last_words(&format!("sidegate: {error}")) => Err(None),
        Err(error) => Err(Some(error)),
    }
}

fn serve_logging(
    config: Config,
    start: Beginning,
    reread: Reread,
    log: Log,
) -> Result<(), StartError> {
    // While there is one thread: the environment is changed.
    let inherited = Inherited::take();
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::System)?;
    // Before anything that takes time: the first process of a container has no default actions for signals.
    let entered = runtime.enter();
    let mut signals = Signals::install().map_err(StartError::System)?;
    drop(entered);
    descriptors::raise(config.server.max_connections);
    log_warnings(&config);
    let summary = Summary::of(&config);
    let hosting = Hosting {
        inherited: inherited?,
        log,
    };
    let starting = move || {
        let surroundings = Surroundings {
            start,
            ..Surroundings::real()
        };
        start::start_on(config, surroundings, hosting, reread)
    };
    let Some(running) = run_start(&runtime, &mut signals, starting)? else {
        tracing::info!("stopped by a signal before the start was complete");
        runtime.shutdown_background();
        return Ok(());
    };
    summary.log(&running);
    service_manager::ready("serving");
    runtime.block_on(obey(&mut signals, &running));
    wait(&runtime, &mut signals, running)
}

/// The settings that the first log line shows.
struct Summary {
    listen: String,
    upstream: String,
    store: String,
    algorithm: &'static str,
    rules: usize,
}

impl Summary {
    fn of(config: &Config) -> Self {
        Self {
            listen: config.server.listen.to_string(),
            upstream: config.proxy.upstream.to_string(),
            store: config.store.engine.to_string(),
            algorithm: config.tokens.algorithm.as_str(),
            rules: config.policy.rules.len(),
        }
    }

    fn log(self, running: &Running) {
        let Self {
            listen,
            upstream,
            store,
            algorithm,
            rules,
        } = self;
        let listen = running
            .address()
            .map_or(listen, |address| address.to_string());
        let admin = running.admin_address().map(tracing::field::display);
        tracing::info!(%listen, admin, %upstream, store, algorithm, rules, "serving");
    }
}

/// Starts, which may have to wait until another process releases the store. `None` when a signal to stop
/// arrives meanwhile.
fn run_start(
    runtime: &Runtime,
    signals: &mut Signals,
    start: impl FnOnce() -> Result<Running, StartError> + Send + 'static,
) -> Result<Option<Running>, StartError> {
    let starting = runtime.spawn_blocking(start);
    runtime.block_on(async {
        tokio::select! {
            started = starting => match started {
                Ok(started) => started.map(Some),
                Err(error) => Err(StartError::System(io::Error::other(error))),
            },
            () = stop_signal(signals) => Ok(None),
        }
    })
}

/// Waits for the next signal to stop. There is nothing to reload.
async fn stop_signal(signals: &mut Signals) {
    while signals.next().await != SignalReceived::Stop {}
}

/// Handles signals until the first one to stop.
async fn obey(signals: &mut Signals, running: &Running) {
    loop {
        match signals.next().await {
            SignalReceived::Stop => {
                tracing::info!("stopping: finishing requests in progress");
                service_manager::stopping();
                running.stop();
                return;
            }
            SignalReceived::Reload => {
                // The outcome is in the log.
                drop(running.reload());
            }
        }
    }
}

/// Waits until everything has ended. A second signal to stop ends it at once.
fn wait(runtime: &Runtime, signals: &mut Signals, running: Running) -> Result<(), StartError> {
    let lifecycle = running.lifecycle().clone();
    let waiting = runtime.spawn_blocking(move || running.wait());
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = waiting => ended,
            () = stop_signal(signals) => {
                tracing::warn!("a second signal to stop: requests in progress are cut");
                lifecycle.advance(Phase::Stopped);
                Ok(Ok(()))
            }
        }
    });
    tracing::info!("stopped");
    ended.unwrap_or_else(|error| Err(StartError::System(io::Error::other(error))))
}
