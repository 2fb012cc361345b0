//! Keeps a running Sidegate: starts the workers, serves the operator, and ends everything in order.
//!
//! 1. *Ending*: `/readyz` says no, connections close after their answer, `drain_delay` passes.
//! 2. *Closing*: the listeners close; requests in flight finish, for at most `drain_timeout`.
//! 3. *Stopped*: what is left is cut. Then the control socket goes, audit records and the store are
//!    flushed and released, and the access log is written out.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::app::build::{self, Shared};
use crate::app::clock::{self, Watcher};
use crate::app::error::StartError;
use crate::app::readings::readings;
use crate::app::redirect::redirect_target;
use crate::app::reload::{Inner, Reload, Reread};
use crate::app::sockets::Sockets;
use crate::app::watch::{Outward, watch};
use crate::app::workers::Workers;
use crate::config::Config;
use crate::server::admin::{self, Admin, Pulse};
use crate::server::control::{self, Operator, RunningServer};
use crate::server::lifecycle::{Lifecycle, Phase};
use crate::server::manager;
use crate::server::outbox::Writer;
use crate::server::problem::Code;
use crate::server::redirect;
use crate::service::upkeep::{self, Queues, Upkeep};
use crate::service::{Current, Service};
use crate::store::Lifecycle as _;
use crate::telemetry::logging::Log;
use crate::telemetry::metrics::{LostLines, Metrics, Reloads};

/// How often the store is asked whether it can still commit.
const STORE_CHECK: Duration = Duration::from_secs(2);

/// How often it is looked whether its files are still there.
const STORE_LOOK: Duration = Duration::from_millis(250);

/// How long the store may take to commit what it has and release its files.
const STORE_CLOSE: Duration = Duration::from_secs(10);

/// Everything that runs beside the workers.
pub(super) struct Keeper {
    config: Arc<ArcSwap<Config>>,
    service: Arc<Current>,
    reloaded: Arc<Notify>,
    queues: Queues,
    upkeep: Arc<Upkeep>,
    lifecycle: Lifecycle,
    workers: Vec<JoinHandle<io::Result<()>>>,
    writer: Option<Writer>,
    admin: Arc<Admin>,
    admin_socket: Option<std::net::TcpListener>,
    operator: Arc<Operator>,
    reload: Reload,
    control: Option<(UnixListener, PathBuf)>,
    time: Watcher,
}

impl Keeper {
    /// Starts the workers; requests are answered as soon as this returns.
    pub(super) fn start(
        shared: Shared,
        sockets: Sockets,
        lifecycle: Lifecycle,
        log: Log,
        reread: Reread,
    ) -> Result<Self, StartError> {
        let config = &shared.config;
        let (outbox, writer) = build::access_log(config)?.unzip();
        let outward = Arc::new(Outward::new(&config.proxy.upstream));
        let mut started = Workers::start(&shared, sockets.public, &lifecycle, outbox.as_ref())?;
        let redirect = Arc::new(ArcSwap::from_pointee(redirect_target(config)));
        if let Some(socket) = sockets.redirect {
            let thread = redirect::start(socket, Arc::clone(&redirect), lifecycle.clone());
            started.threads.push(thread.map_err(StartError::System)?);
        }
        let upkeep = Arc::new(Upkeep::default());
        let door = shared.door.as_ref();
        let readings = readings(&shared.service, &upkeep, door, &outward);
        let mut lost = LostLines::default().with("process", log.dropped());
        if let Some(writer) = &writer {
            lost = lost.with("access", writer.lost());
        }
        lost = lost.with("audit", shared.service.load().audit_log().lost());
        let events = Arc::clone(&shared.events);
        let counts = Arc::new(Reloads::default());
        let in_force = Arc::new(ArcSwap::from_pointee(config.clone()));
        let admin = Arc::new(Admin {
            lifecycle: lifecycle.clone(),
            pulse: Arc::new(Pulse::new(started.ticks)),
            metrics: Metrics::new(
                started.metrics,
                Code::ALL,
                events,
                Arc::clone(&counts),
                readings,
            )
            .with_lost_lines(lost)
            .with_clock(clock::numbers(&shared.surroundings.clock)),
        });
        let reloaded = Arc::new(Notify::new());
        let reload = Reload::new(Inner {
            reread,
            started: config.clone(),
            in_force: Arc::clone(&in_force),
            service: Arc::clone(&shared.service),
            keys: Arc::clone(&shared.keys),
            surroundings: shared.surroundings.clone(),
            doorman: started.doorman,
            door: shared.door,
            redirect,
            outward,
            reloaded: Arc::clone(&reloaded),
            workers: started.pipelines,
            counts,
            access_log: writer.as_ref().map(Writer::reopen).unwrap_or_default(),
            log,
            lock: Mutex::new(()),
        });
        let operator = Arc::new(Operator {
            service: Arc::clone(&shared.service),
            keys: Arc::clone(&shared.keys),
            server: Some(running_server(&admin, lifecycle.clone(), reload.clone())),
        });
        let time = Watcher {
            clock: Arc::clone(&shared.surroundings.clock),
            pulse: Arc::clone(&admin.pulse),
            keys: shared.keys,
            random: Arc::clone(&shared.surroundings.random),
        };
        Ok(Self {
            time,
            config: in_force,
            reload,
            reloaded,
            service: shared.service,
            queues: shared.queues,
            upkeep,
            lifecycle,
            workers: started.threads,
            writer,
            admin,
            admin_socket: sockets.admin,
            operator,
            control: sockets.control,
        })
    }

    /// What reloads this Sidegate.
    pub(super) fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// Runs until the process has ended in order.
    pub(super) async fn keep(mut self) -> Result<(), StartError> {
        let mut beside = JoinSet::new();
        let pulse = Arc::clone(&self.admin.pulse);
        beside.spawn(async move { pulse.look().await });
        beside.spawn(check_store(
            self.service.load_full(),
            Arc::clone(&self.admin.pulse),
            self.lifecycle.clone(),
        ));
        beside.spawn(self.time.watch());
        let service = self.service.load_full();
        beside.spawn(async move { service.carry_over_audit().await });
        let service = self.service.load_full();
        beside.spawn(async move { service.watch_streams().await });
        let reloaded = Arc::clone(&self.reloaded);
        beside.spawn(watch(
            Arc::clone(&self.config),
            reloaded,
            self.reload.clone(),
        ));
        let pulse = Arc::clone(&self.admin.pulse);
        beside.spawn(manager::watchdog(pulse, self.lifecycle.clone()));
        if let Some(socket) = self.admin_socket.take() {
            let admin = Arc::clone(&self.admin);
            beside.spawn(async move {
                if let Err(error) = admin::serve(socket, admin).await {
                    tracing::error!(%error, "the admin listener cannot be used");
                }
            });
        }
        let mut control_path = None;
        if let Some((socket, path)) = self.control.take() {
            let operator = Arc::clone(&self.operator);
            control_path = Some(path);
            beside.spawn(async move {
                control::serve(socket, operator).await;
            });
        }
        tokio::select! {
            () = upkeep::work(&self.service, &mut self.queues, &self.upkeep) => {}
            () = end_of_requests(&self.lifecycle, &self.config, &mut self.workers) => {}
        }
        beside.shutdown().await;
        if let Some(path) = control_path {
            // Before the store is released: the next process, which waits for that, makes its own
            // here. Gone already is as good.
            drop(std::fs::remove_file(path));
        }
        let service = self.service.load_full();
        service.close_audit().await;
        let closed = timeout(STORE_CLOSE, service.store().close()).await;
        drop(self.operator);
        if let Some(writer) = self.writer.take() {
            drop(spawn_blocking(move || writer.finish()).await);
        }
        match closed {
            Ok(outcome) => outcome.map_err(StartError::Store),
            Err(_) => Err(StartError::Store(crate::store::StoreError::Indeterminate)),
        }
    }
}

/// Waits for the order to end, then for the workers; cuts what does not finish in time.
async fn end_of_requests(
    lifecycle: &Lifecycle,
    config: &ArcSwap<Config>,
    workers: &mut Vec<JoinHandle<io::Result<()>>>,
) {
    lifecycle.reached(Phase::Ending).await;
    tokio::select! {
        () = sleep(config.load().server.drain_delay) => {}
        () = lifecycle.reached(Phase::Closing) => {}
    }
    lifecycle.advance(Phase::Closing);
    let joined = std::mem::take(workers);
    let mut all = spawn_blocking(move || {
        for worker in joined {
            match worker.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "a worker failed"),
                Err(_) => tracing::error!("a worker panicked"),
            }
        }
    });
    tokio::select! {
        _ = &mut all => return,
        () = sleep(config.load().server.drain_timeout) => {
            tracing::warn!("requests did not finish within drain_timeout and are cut");
        }
        () = lifecycle.reached(Phase::Stopped) => {}
    }
    lifecycle.advance(Phase::Stopped);
    drop(all.await);
}

/// Asks the store, again and again, whether it can commit.
async fn check_store(service: Arc<Service>, pulse: Arc<Pulse>, lifecycle: Lifecycle) {
    let mut every = interval(STORE_CHECK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = interval(STORE_LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut well = true;
    loop {
        tokio::select! {
            _ = every.tick() => {}
            _ = look.tick() => {
                if service.store().is_lost() {
                    pulse.lose_store();
                }
                continue;
            }
        }
        if lifecycle.phase() >= Phase::Closing {
            // The store is closed next; that it cannot commit then is no trouble.
            return;
        }
        match service.store().check().await {
            Ok(()) => {
                if !well {
                    tracing::info!("the store answers again");
                }
                well = true;
            }
            Err(error) => {
                if well {
                    tracing::error!(%error, "the store cannot commit; writes are answered with 503");
                }
                well = false;
            }
        }
        pulse.store(well);
    }
}

fn running_server(admin: &Arc<Admin>, lifecycle: Lifecycle, reload: Reload) -> RunningServer {
    let admin = Arc::clone(admin);
    RunningServer {
        lifecycle,
        readiness: Box::new(move || {
            let readiness = admin.readiness();
            let ready = matches!(readiness.status, "ready" | "degraded");
            let mut words = readiness.status.to_owned();
            if !readiness.reasons.is_empty() {
                words = format!("{words}: {}", readiness.reasons.join(", "));
            }
            (ready, words)
        }),
        reload: Arc::new(move || reload.run()),
    }
}
