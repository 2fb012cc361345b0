//! Keeps a running Sidegate: starts the workers, serves the operator, and ends everything in order.
//!
//! 1. *Ending*: `/readyz` says no, connections close after their answer, `drain_delay` passes.
//! 2. *Closing*: the listeners close; requests in flight finish, for at most `drain_timeout`.
//! 3. *Stopped*: what is left is cut. Then the control socket goes, audit records and the store are
//!    flushed and released, and the access log is written out.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::app::build::{self, Shared};
use crate::app::error::StartError;
use crate::app::pipelines::{Common, Lasting};
use crate::app::readings::readings;
use crate::app::redirect::redirect_target;
use crate::app::reload::{Inner, Reload, Reread};
use crate::app::sockets::Sockets;
use crate::app::watch::{Outward, watch};
use crate::config::Config;
use crate::server::access_log::AccessLog;
use crate::server::admin::{self, Admin, Pulse};
use crate::server::context::RequestIds;
use crate::server::control::{self, Operator, RunningServer};
use crate::server::doorman::Doorman;
use crate::server::lifecycle::{Lifecycle, Phase};
use crate::server::manager;
use crate::server::outbox::Writer;
use crate::server::problem::Code;
use crate::server::redirect;
use crate::server::worker::{Entrance, Exchangeable, Worker};
use crate::service::upkeep::{self, Queues, Upkeep};
use crate::service::{Current, Service};
use crate::store::Lifecycle as _;
use crate::telemetry::logging::Level;
use crate::telemetry::metrics::{Metrics, Reloads, WorkerMetrics};

/// How often the store is asked whether it can still commit.
const STORE_CHECK: Duration = Duration::from_secs(2);

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
}

impl Keeper {
    /// Starts the workers; requests are answered as soon as this returns.
    pub(super) fn start(
        shared: Shared,
        sockets: Sockets,
        lifecycle: Lifecycle,
        level: Level,
        reread: Reread,
    ) -> Result<Self, StartError> {
        let config = &shared.config;
        let (outbox, writer) = build::access_log(config)?.unzip();
        let service = shared.service.load_full();
        let common = Common::new(
            config,
            Arc::clone(&service),
            &shared.keys,
            service.liveness(),
            Arc::clone(&shared.rules),
            &*shared.surroundings.random,
        );
        let doorman = Arc::new(Doorman::new(
            config.server.max_connections,
            config.server.max_connections_per_address,
        ));
        let outward = Arc::new(Outward::new(&config.proxy.upstream));
        let mut workers = Vec::new();
        let mut exchangeable = Vec::new();
        let mut metrics = Vec::new();
        let mut ticks = Vec::new();
        let leaves_queue = sockets.public.is_inherited();
        for (index, socket) in sockets.public.into_sockets().into_iter().enumerate() {
            let counted = Arc::new(WorkerMetrics::default());
            let alive = Arc::new(AtomicU64::new(0));
            let lasting = Lasting {
                metrics: Arc::clone(&counted),
                log: Arc::new(AccessLog::new(outbox.clone(), config.server.json_logs)),
                ids: Arc::new(RequestIds::new(&*shared.surroundings.random)),
                clock: Arc::clone(&shared.surroundings.clock),
                activity: shared.activity.clone(),
                streams: service.streams().desk(),
                random: Arc::clone(&shared.surroundings.random),
                lifecycle: lifecycle.clone(),
            };
            let pipeline = Arc::new(Exchangeable::from_pointee(common.first(lasting)?));
            let worker = Worker::new(
                Arc::clone(&pipeline),
                Arc::clone(&doorman),
                lifecycle.clone(),
                Entrance::new(config.server.proxy_protocol, shared.door.clone()),
                Arc::clone(&alive),
            )
            .leaving_the_queue(leaves_queue);
            exchangeable.push(Arc::downgrade(&pipeline));
            workers.push(worker.start(index, socket).map_err(StartError::System)?);
            metrics.push(counted);
            ticks.push(alive);
        }
        let redirect = Arc::new(ArcSwap::from_pointee(redirect_target(config)));
        if let Some(socket) = sockets.redirect {
            let thread = redirect::start(socket, Arc::clone(&redirect), lifecycle.clone());
            workers.push(thread.map_err(StartError::System)?);
        }
        let upkeep = Arc::new(Upkeep::default());
        let door = shared.door.as_ref();
        let readings = readings(&shared.service, &upkeep, writer.as_ref(), door, &outward);
        let events = Arc::clone(&shared.events);
        let counts = Arc::new(Reloads::default());
        let in_force = Arc::new(ArcSwap::from_pointee(config.clone()));
        let admin = Arc::new(Admin {
            lifecycle: lifecycle.clone(),
            pulse: Arc::new(Pulse::new(ticks)),
            metrics: Metrics::new(metrics, Code::ALL, events, Arc::clone(&counts), readings),
        });
        let reloaded = Arc::new(Notify::new());
        let reload = Reload::new(Inner {
            reread,
            started: config.clone(),
            in_force: Arc::clone(&in_force),
            service: Arc::clone(&shared.service),
            keys: Arc::clone(&shared.keys),
            surroundings: shared.surroundings.clone(),
            doorman,
            door: shared.door,
            redirect,
            outward,
            reloaded: Arc::clone(&reloaded),
            workers: exchangeable,
            counts,
            level,
            log: writer.as_ref().map(Writer::reopen).unwrap_or_default(),
            turn: Mutex::new(()),
        });
        let operator = Arc::new(Operator {
            service: Arc::clone(&shared.service),
            keys: Arc::clone(&shared.keys),
            server: Some(running_server(&admin, lifecycle.clone(), reload.clone())),
        });
        Ok(Self {
            config: in_force,
            reload,
            reloaded,
            service: shared.service,
            queues: shared.queues,
            upkeep,
            lifecycle,
            workers,
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
        start(&mut beside, async move { pulse.look().await });
        start(
            &mut beside,
            check_store(
                self.service.load_full(),
                Arc::clone(&self.admin.pulse),
                self.lifecycle.clone(),
            ),
        );
        let service = self.service.load_full();
        start(&mut beside, async move { service.watch_streams().await });
        let reloaded = Arc::clone(&self.reloaded);
        start(
            &mut beside,
            watch(Arc::clone(&self.config), reloaded, self.reload.clone()),
        );
        let pulse = Arc::clone(&self.admin.pulse);
        start(
            &mut beside,
            manager::watchdog(pulse, self.lifecycle.clone()),
        );
        if let Some(socket) = self.admin_socket.take() {
            let admin = Arc::clone(&self.admin);
            start(&mut beside, async move {
                told(admin::serve(socket, admin).await);
            });
        }
        let mut control_path = None;
        if let Some((socket, path)) = self.control.take() {
            let operator = Arc::clone(&self.operator);
            control_path = Some(path);
            start(&mut beside, async move {
                told(control::serve(socket, operator).await);
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
        service.flush_audit(&mut self.queues).await;
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

fn start(beside: &mut JoinSet<()>, task: impl Future<Output = ()> + Send + 'static) {
    beside.spawn(task);
}

fn told(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        tracing::error!(%error, "a listener for the operator has ended");
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
    let mut well = true;
    loop {
        every.tick().await;
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
