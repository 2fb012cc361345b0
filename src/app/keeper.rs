//! Keeps a running Sidegate: starts the workers, serves the operator, and ends everything in order.
//!
//! 1. *Ending*: `/readyz` says no, connections close after their answer, `drain_delay` passes.
//! 2. *Closing*: the listeners close; requests in flight finish, for at most `drain_timeout`.
//! 3. *Stopped*: what is left is cut. Then audit records and the store are flushed, the access log
//!    is written out, and the control socket goes.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::api::Api;
use crate::app::build::{self, Shared, WorkerParts};
use crate::app::error::StartError;
use crate::app::reload::Reload;
use crate::app::sockets::Sockets;
use crate::config::Config;
use crate::server::admin::{self, Admin, Pulse};
use crate::server::control::{self, Operator, RunningServer};
use crate::server::lifecycle::{Lifecycle, Phase};
use crate::server::outbox::Writer;
use crate::server::problem::Code;
use crate::server::worker::Doorman;
use crate::service::Service;
use crate::service::upkeep::{Queues, Upkeep};
use crate::store::Lifecycle as _;
use crate::telemetry::metrics::{Kind, Metrics, Reading, WorkerMetrics};

/// How often the store is asked whether it can still commit.
const STORE_CHECK: Duration = Duration::from_secs(2);

/// How long the store may take to commit what it has and release its files.
const STORE_CLOSE: Duration = Duration::from_secs(10);

/// Everything that runs beside the workers.
pub(super) struct Keeper {
    config: Config,
    service: Arc<Service>,
    queues: Queues,
    upkeep: Arc<Upkeep>,
    lifecycle: Lifecycle,
    workers: Vec<JoinHandle<io::Result<()>>>,
    writer: Option<Writer>,
    admin: Arc<Admin>,
    admin_socket: Option<std::net::TcpListener>,
    operator: Arc<Operator>,
    control: Option<(UnixListener, PathBuf)>,
}

impl Keeper {
    /// Starts the workers; requests are answered as soon as this returns.
    pub(super) fn start(
        shared: Shared,
        sockets: Sockets,
        lifecycle: Lifecycle,
        reload: Reload,
    ) -> Result<Self, StartError> {
        let config = shared.config.clone();
        let (outbox, writer) = build::access_log(&config)?.unzip();
        let api = Arc::new(Api::new(
            Arc::clone(&shared.service),
            Arc::clone(&shared.keys),
            config.api.clone(),
        ));
        let doorman = Arc::new(Doorman::new(
            config.server.max_connections,
            config.server.max_connections_per_address,
        ));
        let parts = WorkerParts {
            api: &api,
            doorman: &doorman,
            lifecycle: &lifecycle,
            outbox: outbox.as_ref(),
        };
        let mut workers = Vec::new();
        let mut metrics = Vec::new();
        let mut ticks = Vec::new();
        for (index, socket) in sockets.public.into_sockets().into_iter().enumerate() {
            let counted = Arc::new(WorkerMetrics::default());
            let alive = Arc::new(AtomicU64::new(0));
            let worker = build::worker(&shared, &parts, Arc::clone(&counted), Arc::clone(&alive))?;
            workers.push(worker.start(index, socket).map_err(StartError::System)?);
            metrics.push(counted);
            ticks.push(alive);
        }
        let upkeep = Arc::new(Upkeep::default());
        let readings = readings(&shared.service, &upkeep, writer.as_ref());
        let events = Arc::clone(&shared.events);
        let admin = Arc::new(Admin {
            lifecycle: lifecycle.clone(),
            pulse: Arc::new(Pulse::new(ticks)),
            metrics: Metrics::new(metrics, Code::ALL, events, readings),
        });
        let operator = Arc::new(Operator {
            service: Arc::clone(&shared.service),
            keys: Arc::clone(&shared.keys),
            server: Some(running_server(&admin, lifecycle.clone(), reload)),
        });
        Ok(Self {
            config,
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

    /// Runs until the process has ended in order.
    pub(super) async fn keep(mut self) -> Result<(), StartError> {
        let mut beside = JoinSet::new();
        let pulse = Arc::clone(&self.admin.pulse);
        start(&mut beside, async move { pulse.look().await });
        start(
            &mut beside,
            check_store(
                Arc::clone(&self.service),
                Arc::clone(&self.admin.pulse),
                self.lifecycle.clone(),
            ),
        );
        let service = Arc::clone(&self.service);
        start(&mut beside, async move { service.watch_streams().await });
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
            () = self.service.upkeep(&mut self.queues, &self.upkeep) => {}
            () = end_of_requests(&self.lifecycle, &self.config, &mut self.workers) => {}
        }
        self.service.flush_audit(&mut self.queues).await;
        let closed = timeout(STORE_CLOSE, self.service.store().close()).await;
        beside.shutdown().await;
        if let Some(path) = control_path {
            // Gone already is as good.
            drop(std::fs::remove_file(path));
        }
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
    config: &Config,
    workers: &mut Vec<JoinHandle<io::Result<()>>>,
) {
    lifecycle.reached(Phase::Ending).await;
    tokio::select! {
        () = sleep(config.server.drain_delay) => {}
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
        () = sleep(config.server.drain_timeout) => {
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

/// The numbers that others keep.
fn readings(service: &Arc<Service>, upkeep: &Arc<Upkeep>, writer: Option<&Writer>) -> Vec<Reading> {
    let of_store = |name, help, kind, pick: fn(crate::store::Stats) -> u64| {
        let service = Arc::clone(service);
        Reading {
            name,
            help,
            kind,
            read: Box::new(move || pick(service.store().stats())),
        }
    };
    let revocations = Arc::clone(service.liveness());
    let streams = Arc::clone(service.streams());
    let passwords = Arc::clone(service);
    let audited = Arc::clone(service);
    let upkeep = Arc::clone(upkeep);
    let mut readings = vec![
        of_store("sessions", "Live sessions", Kind::Gauge, |stats| {
            stats.sessions
        }),
        of_store("users", "Accounts", Kind::Gauge, |stats| stats.users),
        of_store(
            "store_bytes",
            "Bytes of the store on disk",
            Kind::Gauge,
            |s| s.disk_bytes,
        ),
        of_store("store_commits", "Durable commits", Kind::Counter, |stats| {
            stats.commits
        }),
        of_store(
            "store_operations",
            "Operations in those commits",
            Kind::Counter,
            |s| s.operations,
        ),
        of_store(
            "store_slowest_commit_milliseconds",
            "The slowest recent commit",
            Kind::Gauge,
            |stats| stats.slowest_commit_millis,
        ),
        Reading {
            name: "revocations",
            help: "Sessions whose access tokens are refused before they expire",
            kind: Kind::Gauge,
            read: Box::new(move || revocations.len() as u64),
        },
        Reading {
            name: "open_streams",
            help: "WebSockets, event streams and calls of known callers that are open",
            kind: Kind::Gauge,
            read: Box::new(move || streams.len() as u64),
        },
        Reading {
            name: "passwords_waiting",
            help: "Password checks that wait for a thread",
            kind: Kind::Gauge,
            read: Box::new(move || passwords.passwords().waiting() as u64),
        },
        Reading {
            name: "audit_lost",
            help: "Audit records that are in the process log only",
            kind: Kind::Counter,
            read: Box::new(move || audited.audit_lost()),
        },
        Reading {
            name: "swept",
            help: "Expired records removed",
            kind: Kind::Counter,
            read: Box::new(move || upkeep.swept()),
        },
    ];
    if let Some(writer) = writer {
        let lost = writer.lost();
        readings.push(Reading {
            name: "access_log_lost_lines",
            help: "Access-log lines that could not be written",
            kind: Kind::Counter,
            read: Box::new(move || lost.load(Ordering::Relaxed)),
        });
    }
    readings
}
