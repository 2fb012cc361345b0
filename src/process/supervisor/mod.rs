//! Which tasks run beside the workers, and in which order does everything end?
//!
//! The supervisor starts the workers, runs the listeners of the operator and the periodic checks, and waits for
//! the [drain](crate::process::drain). Then, in this order:
//!
//! | what ends | waits at most |
//! |---|---|
//! | the tasks beside the workers, and the control socket | not at all |
//! | the audit log, until its last record is on disk | 5 s (`audit::writer`) |
//! | the store, until it is flushed and its files are released | 10 s |
//! | the access log, and in `main` the process log | 1 s each (`telemetry::logging`) |

mod city_database;
mod clock;
mod store_check;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use crate::config::Config;
use crate::mail::Mailer;
use crate::net::lifecycle::Lifecycle;
use crate::process::admin::health::Health;
use crate::process::admin::metrics::{Sources, metrics};
use crate::process::admin::{self, Admin};
use crate::process::control::{self, Operator, RunningServer};
use crate::process::drain::drain;
use crate::process::redirect;
use crate::process::redirect::target::Target;
use crate::process::reload::parts::ReloadParts;
use crate::process::reload::upstream_certificates::UpstreamCertificates;
use crate::process::reload::watch::watch;
use crate::process::reload::{Reload, Reread};
use crate::process::service_manager;
use crate::process::start::access_log;
use crate::process::start::error::StartError;
use crate::process::start::shared::Shared;
use crate::process::start::sockets::Sockets;
use crate::process::start::workers::Workers;
use crate::process::supervisor::city_database::watch_city_database;
use crate::process::supervisor::clock::ClockCheck;
use crate::process::supervisor::store_check::check_store;
use crate::service::upkeep::{self, Queues, Upkeep};
use crate::service::{Current, mail};
use crate::store::{Lifecycle as _, StoreError};
use crate::telemetry::log_queue::Writer;
use crate::telemetry::logging::Log;
use crate::telemetry::metrics::Reloads;

/// How long the store may take to commit its queue and release its files.
const STORE_CLOSE: Duration = Duration::from_secs(10);

/// Everything that runs beside the workers.
pub(crate) struct Supervisor {
    config: Arc<ArcSwap<Config>>,
    service: Arc<Current>,
    reloaded: Arc<Notify>,
    queues: Queues,
    upkeep: Arc<Upkeep>,
    lifecycle: Lifecycle,
    /// The threads that answer requests.
    workers: Vec<JoinHandle<io::Result<()>>>,
    writer: Option<Writer>,
    admin: Arc<Admin>,
    admin_socket: Option<std::net::TcpListener>,
    operator: Arc<Operator>,
    reload: Reload,
    control: Option<(UnixListener, PathBuf)>,
    clock: ClockCheck,
    mailer: Option<Mailer>,
}

impl Supervisor {
    /// Starts the workers; requests are answered as soon as this returns.
    pub(crate) fn start(
        shared: Shared,
        sockets: Sockets,
        lifecycle: Lifecycle,
        log: Log,
        reread: Reread,
    ) -> Result<Self, StartError> {
        let config = &shared.config;
        let (queue, writer) = access_log::start(config)?.unzip();
        let upstream = Arc::new(UpstreamCertificates::new(&config.proxy.upstream));
        let mut workers = Workers::start(&shared, sockets.public, &lifecycle, queue.as_ref())?;
        let target = Arc::new(ArcSwap::from_pointee(Target::new(config)));
        if let Some(socket) = sockets.redirect {
            let thread = redirect::start(socket, Arc::clone(&target), lifecycle.clone());
            workers.threads.push(thread.map_err(StartError::System)?);
        }
        let upkeep = Arc::new(Upkeep::default());
        let counts = Arc::new(Reloads::default());
        let metrics = metrics(Sources {
            shared: &shared,
            workers: workers.metrics,
            upkeep: &upkeep,
            upstream_certificates: &upstream,
            reloads: &counts,
            log: &log,
            access_log: writer.as_ref(),
        });
        let admin = Arc::new(Admin {
            lifecycle: lifecycle.clone(),
            health: Arc::new(Health::new(workers.ticks)),
            metrics,
        });
        let in_force = Arc::new(ArcSwap::from_pointee(config.clone()));
        let reloaded = Arc::new(Notify::new());
        let parts = ReloadParts {
            started: config.clone(),
            in_force: Arc::clone(&in_force),
            service: Arc::clone(&shared.service),
            keys: Arc::clone(&shared.keys),
            surroundings: shared.surroundings.clone(),
            limiter: workers.limiter,
            tls: shared.tls,
            redirect: target,
            upstream_certificates: upstream,
            reloaded: Arc::clone(&reloaded),
            workers: workers.pipelines,
            counts,
            access_log: writer.as_ref().map(Writer::reopen).unwrap_or_default(),
            log,
        };
        let reload = Reload::new(reread, parts);
        let operator = Arc::new(Operator {
            service: Arc::clone(&shared.service),
            keys: Arc::clone(&shared.keys),
            server: Some(running_server(&admin, lifecycle.clone(), reload.clone())),
        });
        let clock = ClockCheck {
            clock: Arc::clone(&shared.surroundings.clock),
            health: Arc::clone(&admin.health),
            keys: shared.keys,
            random: Arc::clone(&shared.surroundings.random),
        };
        Ok(Self {
            mailer: shared.mailer,
            clock,
            config: in_force,
            reload,
            reloaded,
            service: shared.service,
            queues: shared.queues,
            upkeep,
            lifecycle,
            workers: workers.threads,
            writer,
            admin,
            admin_socket: sockets.admin,
            operator,
            control: sockets.control,
        })
    }

    /// A handle that reloads this Sidegate.
    pub(crate) fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// Runs until everything has ended.
    pub(crate) async fn run(self) -> Result<(), StartError> {
        let Self {
            config,
            service,
            mut queues,
            upkeep,
            lifecycle,
            workers,
            writer,
            admin,
            operator,
            ..
        } = self;
        let mut tasks = JoinSet::new();
        spawn_service_tasks(&mut tasks, &service);
        spawn_checks(&mut tasks, &service, &admin);
        tasks.spawn(self.clock.run());
        if let Some(mailer) = self.mailer {
            let (service, upkeep) = (Arc::clone(&service), Arc::clone(&upkeep));
            tasks.spawn(mail::deliver(service, mailer, upkeep));
        }
        tasks.spawn(watch(Arc::clone(&config), self.reloaded, self.reload));
        let control = spawn_listeners(&mut tasks, admin, self.admin_socket, operator, self.control);
        tokio::select! {
            () = upkeep::work(&service, &mut queues, &upkeep) => {}
            () = drain(&lifecycle, &config, workers) => {}
        }
        tasks.shutdown().await;
        if let Some(path) = control {
            // Before the store is released: the next process waits for that and then creates its own socket
            // here. The file may not exist any more.
            drop(std::fs::remove_file(path));
        }
        let closed = close_store(&service).await;
        if let Some(writer) = writer {
            drop(spawn_blocking(move || writer.finish()).await);
        }
        closed.map_err(StartError::Store)
    }
}

/// Flushes audit records and the store, and releases their files.
async fn close_store(service: &Current) -> Result<(), StoreError> {
    let service = service.load_full();
    service.close_audit().await;
    let closed = timeout(STORE_CLOSE, service.store().close()).await;
    closed.unwrap_or(Err(StoreError::Indeterminate))
}

fn spawn_service_tasks(tasks: &mut JoinSet<()>, service: &Current) {
    let current = service.load_full();
    tasks.spawn(async move { current.carry_over_audit().await });
    let current = service.load_full();
    tasks.spawn(async move { current.watch_streams().await });
    let places = Arc::clone(service.load().places());
    tasks.spawn(watch_city_database(places));
}

fn spawn_checks(tasks: &mut JoinSet<()>, service: &Current, admin: &Admin) {
    let lifecycle = &admin.lifecycle;
    let health = Arc::clone(&admin.health);
    tasks.spawn(async move { health.watch_workers().await });
    let health = Arc::clone(&admin.health);
    tasks.spawn(check_store(service.load_full(), health, lifecycle.clone()));
    let health = Arc::clone(&admin.health);
    tasks.spawn(service_manager::watchdog(health, lifecycle.clone()));
}

/// Serves the admin port and the control socket. Returns the path of the control socket.
fn spawn_listeners(
    tasks: &mut JoinSet<()>,
    admin: Arc<Admin>,
    admin_socket: Option<std::net::TcpListener>,
    operator: Arc<Operator>,
    control: Option<(UnixListener, PathBuf)>,
) -> Option<PathBuf> {
    if let Some(socket) = admin_socket {
        tasks.spawn(async move {
            if let Err(error) = admin::serve(socket, admin).await {
                tracing::error!(%error, "the admin listener cannot be used");
            }
        });
    }
    let (socket, path) = control?;
    tasks.spawn(control::serve(socket, operator));
    Some(path)
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
