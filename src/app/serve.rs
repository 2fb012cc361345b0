//! `sidegate serve`, once the configuration is read: start, obey signals, end.

use std::io;

use tokio::runtime::Runtime;

use crate::app::build::{Beginning, Surroundings};
use crate::app::descriptors;
use crate::app::error::StartError;
use crate::app::reload::Reread;
use crate::app::running::{self, Hosting, Running};
use crate::config::Config;
use crate::server::inherited::Inherited;
use crate::server::manager;
use crate::server::signals::{Asked, Signals};
use crate::telemetry::logging::{self, Log};

/// Serves until a signal ends the process in order. Returns after everything is flushed. An error that
/// the process log has taken is `None`: behind its lines, and without waiting for them for long.
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::System)?;
    // Before all that takes time: the first process of a container has no default actions for
    // signals.
    let entered = runtime.enter();
    let mut signals = Signals::install().map_err(StartError::System)?;
    drop(entered);
    descriptors::raise(config.server.max_connections);
    for danger in &config.dangers {
        tracing::warn!("{danger} is on: it weakens security");
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let upstream = config.proxy.upstream.to_string();
    let listen = config.server.listen.to_string();
    let store = config.store.engine.to_string();
    let algorithm = config.tokens.algorithm.as_str();
    let rules = config.policy.rules.len();
    let hosting = Hosting {
        inherited: inherited?,
        log,
    };
    let Some(running) = begin(&runtime, &mut signals, config, start, hosting, reread)? else {
        tracing::info!("asked to stop before the start was complete");
        runtime.shutdown_background();
        return Ok(());
    };
    let listen = running
        .address()
        .map_or(listen, |address| address.to_string());
    let admin = running.admin_address().map(tracing::field::display);
    tracing::info!(%listen, admin, %upstream, store, algorithm, rules, "serving");
    manager::ready("serving");
    runtime.block_on(obey(&mut signals, &running));
    let lifecycle = running.lifecycle().clone();
    let waiting = runtime.spawn_blocking(move || running.wait());
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = waiting => ended,
            () = asked_to_stop(&mut signals) => {
                tracing::warn!("asked to stop a second time: going at once");
                lifecycle.advance(crate::server::Phase::Stopped);
                Ok(Ok(()))
            }
        }
    });
    tracing::info!("stopped");
    ended.unwrap_or_else(|error| Err(StartError::System(io::Error::other(error))))
}

/// Starts, which may have to wait for another process to let go of the store; `None` when asked to
/// stop meanwhile.
fn begin(
    runtime: &Runtime,
    signals: &mut Signals,
    config: Config,
    start: Beginning,
    hosting: Hosting,
    reread: Reread,
) -> Result<Option<Running>, StartError> {
    let surroundings = Surroundings {
        start,
        ..Surroundings::real()
    };
    let start = move || running::start_on(config, surroundings, hosting, reread);
    let starting = runtime.spawn_blocking(start);
    runtime.block_on(async {
        tokio::select! {
            started = starting => match started {
                Ok(started) => started.map(Some),
                Err(error) => Err(StartError::System(io::Error::other(error))),
            },
            () = asked_to_stop(signals) => Ok(None),
        }
    })
}

/// Waits for the next signal to stop; there is nothing to reload.
async fn asked_to_stop(signals: &mut Signals) {
    while signals.next().await != Asked::Stop {}
}

/// Obeys signals until one asks to stop.
async fn obey(signals: &mut Signals, running: &Running) {
    loop {
        match signals.next().await {
            Asked::Stop => {
                tracing::info!("stopping: finishing what is in flight");
                manager::stopping();
                running.stop();
                return;
            }
            Asked::Reload => {
                // The outcome is in the log.
                drop(running.reload());
            }
        }
    }
}
