//! From settings to parts, in the order in which they need each other.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use http::Method;

use crate::api::Api;
use crate::app::error::StartError;
use crate::config::Config;
use crate::guard::Guard;
use crate::limits::Limits;
use crate::policy::RouteTable;
use crate::proxy::{self, Proxy};
use crate::server::access_log::AccessLog;
use crate::server::connection::Deadlines;
use crate::server::context::RequestIds;
use crate::server::intake::Intake;
use crate::server::lifecycle::Lifecycle;
use crate::server::outbox::{self, Outbox, Writer};
use crate::server::pipeline::Pipeline;
use crate::server::settings::AccessLogTarget;
use crate::server::worker::{Doorman, Exchangeable, Worker};
use crate::service::activity::Activity;
use crate::service::audit::Audit;
use crate::service::liveness::Liveness;
use crate::service::password::PasswordPool;
use crate::service::streams::Streams;
use crate::service::upkeep::Queues;
use crate::service::{Parts, Service};
use crate::store::Embedded;
use crate::telemetry::metrics::{Events, WorkerMetrics};
use crate::tokens::issue::Issuer;
use crate::tokens::keys::Keys;
use crate::tokens::verify::Verifier;
use crate::types::net::Scheme;
use crate::types::random::{Random, SystemRandom};
use crate::types::time::{Clock, SystemClock};

/// What the parts stand on: the real world, or a test's.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// A store that is open already; else the configured one is opened.
    pub store: Option<Arc<Embedded>>,
}

impl Surroundings {
    /// The machine's clock and randomness.
    pub fn real() -> Self {
        Self {
            clock: Arc::new(SystemClock::default()),
            random: Arc::new(SystemRandom),
            store: None,
        }
    }
}

/// The parts that all workers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) surroundings: Surroundings,
    pub(super) config: Config,
    pub(super) keys: Arc<Keys>,
    pub(super) service: Arc<Service>,
    pub(super) activity: Activity,
    pub(super) queues: Queues,
    pub(super) events: Arc<Events>,
    pub(super) rules: Arc<ArcSwap<RouteTable>>,
}

/// Opens keys and store and builds what knows no sockets.
pub(super) fn shared(config: Config, surroundings: Surroundings) -> Result<Shared, StartError> {
    let Surroundings {
        clock,
        random,
        store,
    } = &surroundings;
    let (keys, warnings) = Keys::open(&config.tokens, clock.now(), &**random)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let keys = Arc::new(keys);
    let rules = Arc::new(ArcSwap::from_pointee(RouteTable::new(
        config.policy.clone(),
    )?));
    let store = match store {
        Some(store) => Arc::clone(store),
        None => Arc::new(Embedded::open(&config.store, Arc::clone(clock))?),
    };
    let liveness = Arc::new(Liveness::new());
    let streams = Arc::new(Streams::new(Arc::clone(&liveness)));
    let (enforced, told) = (Arc::clone(&liveness), Arc::clone(&streams));
    // A revocation holds on this process before its caller is answered, and also when its caller
    // has hung up.
    store.on_revocation(move |revocation| {
        enforced.apply(&[revocation]);
        told.apply(&revocation);
    });
    let (audit, audit_queue) = Audit::new();
    let (activity, activity_queue) = Activity::new();
    let events = Arc::new(Events::default());
    let issuer = Issuer::new(Arc::clone(&keys), config.tokens.clone(), Arc::clone(random));
    let service = Service::new(Parts {
        store,
        clock: Arc::clone(clock),
        random: Arc::clone(random),
        passwords: PasswordPool::start(config.crypto, Arc::clone(random))?,
        issuer: Arc::new(issuer),
        keys: Arc::clone(&keys),
        liveness,
        streams,
        limits: Limits::new(&config.limits, clock),
        audit,
        events: Arc::clone(&events),
        settings: config.service.clone(),
    });
    Ok(Shared {
        keys,
        service: Arc::new(service),
        activity,
        queues: Queues {
            activity: activity_queue,
            audit: audit_queue,
        },
        events,
        rules,
        surroundings,
        config,
    })
}

/// The access log's ends: one outbox for each worker to clone, and the thread behind it.
pub(super) fn access_log(config: &Config) -> Result<Option<(Outbox, Writer)>, StartError> {
    if !config.server.access_log {
        return Ok(None);
    }
    let path = match &config.server.access_log_target {
        AccessLogTarget::Stdout => PathBuf::from("standard output"),
        AccessLogTarget::File(path) => path.clone(),
    };
    outbox::start(&config.server.access_log_target)
        .map(Some)
        .map_err(|error| StartError::AccessLog { path, error })
}

/// What makes one worker its own.
pub(super) struct WorkerParts<'a> {
    pub(super) api: &'a Arc<Api>,
    pub(super) doorman: &'a Arc<Doorman>,
    pub(super) lifecycle: &'a Lifecycle,
    pub(super) outbox: Option<&'a Outbox>,
}

/// One worker, with its own guard, proxy, log buffer and counters.
pub(super) fn worker(
    shared: &Shared,
    parts: &WorkerParts<'_>,
    metrics: Arc<WorkerMetrics>,
    alive: Arc<AtomicU64>,
) -> Result<Worker, StartError> {
    let config = &shared.config;
    let verifier = Verifier::new(Arc::clone(&shared.keys), &config.tokens);
    let guard = Guard::new(
        &config.guard,
        Arc::new(verifier),
        Arc::clone(shared.service.liveness()),
        Arc::clone(&shared.rules),
        &*shared.surroundings.random,
    )?;
    let managed = guard.identity_headers().managed();
    let carried = proxy::Settings {
        managed,
        ..config.proxy.clone()
    };
    let log = AccessLog::new(parts.outbox.cloned(), config.server.json_logs);
    let pipeline = Pipeline {
        api: Arc::clone(parts.api),
        guard: Arc::new(guard),
        proxy: Arc::new(Proxy::new(carried)?),
        intake: Intake {
            hosts: config.server.hosts.clone(),
            methods: methods(),
        },
        paths: config.server.paths.clone(),
        trusted: config.server.trusted_proxies.clone(),
        public_scheme: public_scheme(config),
        deadlines: Deadlines {
            header: config.server.header_timeout,
            handshake: config.server.header_timeout,
            body_rate: config.server.body_rate,
        },
        clock: Arc::clone(&shared.surroundings.clock),
        ids: RequestIds::new(&*shared.surroundings.random),
        metrics,
        log: Arc::new(log),
        activity: shared.activity.clone(),
        streams: shared.service.streams().desk(),
        random: Arc::clone(&shared.surroundings.random),
        lifecycle: parts.lifecycle.clone(),
    };
    let doorman = Arc::clone(parts.doorman);
    Ok(Worker::new(
        Arc::new(Exchangeable::from_pointee(pipeline)),
        doorman,
        parts.lifecycle.clone(),
        alive,
    ))
}

/// What clients speak to the public address, when one is configured.
fn public_scheme(config: &Config) -> Option<Scheme> {
    let origin = config.api.public_origin.as_deref()?;
    Some(if origin.starts_with("https:") {
        Scheme::Https
    } else {
        Scheme::Http
    })
}

/// The methods that are served (RFC 9110, 9; RFC 5789).
fn methods() -> Vec<Method> {
    vec![
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ]
}
