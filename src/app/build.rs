//! From settings to the parts that all workers share, in the order in which they need each other.

use std::path::PathBuf;
use std::sync::Arc;

use crate::app::error::StartError;
use crate::app::private;
use crate::audit::AuditLog;
use crate::config::Config;
use crate::limits::Limits;
use crate::policy::RouteTable;
use crate::server::outbox::{self, Outbox, Writer};
use crate::server::settings::AccessLogTarget;
use crate::service::activity::Activity;
use crate::service::audit::Audit;
use crate::service::first_sight::FirstSights;
use crate::service::liveness::Liveness;
use crate::service::password::PasswordPool;
use crate::service::streams::Streams;
use crate::service::upkeep::Queues;
use crate::service::{Current, Parts, Service};
use crate::store::identity::{Founding, Ties};
use crate::store::settings::Settings;
use crate::store::{Embedded, StoreError};
use crate::telemetry::metrics::Events;
use crate::tls::Door;
use crate::tokens::issue::Issuer;
use crate::tokens::keys::{Keys, Retired};
use crate::types::ids::StoreId;
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
    /// What may be made where there is no store, or where the keys are not its own.
    pub start: Beginning,
}

/// What may be made at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    /// Whether a store may be founded.
    pub founding: Founding,
    /// Whether keys that do not know the store are taken for its own.
    pub new_keys: bool,
}

impl Default for Beginning {
    /// A first start founds a store; anything that was lost stops it.
    fn default() -> Self {
        Self {
            founding: Founding::First,
            new_keys: false,
        }
    }
}

impl Surroundings {
    /// The machine's clock and randomness.
    pub fn real() -> Self {
        Self {
            clock: Arc::new(SystemClock::default()),
            random: Arc::new(SystemRandom),
            store: None,
            start: Beginning::default(),
        }
    }
}

/// The parts that all workers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) surroundings: Surroundings,
    pub(super) config: Config,
    pub(super) keys: Arc<Keys>,
    pub(super) service: Arc<Current>,
    pub(super) activity: Activity,
    pub(super) queues: Queues,
    pub(super) events: Arc<Events>,
    pub(super) rules: Arc<RouteTable>,
    /// TLS of the public listener, if it speaks TLS.
    pub(super) door: Option<Arc<Door>>,
}

/// Opens keys and store and builds what knows no sockets.
pub(super) fn shared(config: Config, surroundings: Surroundings) -> Result<Shared, StartError> {
    let Surroundings {
        clock,
        random,
        store,
        start,
    } = &surroundings;
    // The store's lock is first: it says that no other process changes the keys either.
    let store = if let Some(store) = store {
        Arc::clone(store)
    } else {
        let ties = Ties {
            keys: Some(config.tokens.keys_dir.clone()),
            founding: start.founding,
            new_keys: start.new_keys,
            fresh: StoreId::generate(clock.now(), &**random),
            after: 0,
        };
        Arc::new(open(&config.store, &ties, clock)?)
    };
    private::tighten(&config);
    let retired = if clock.state().is_settled {
        Retired::Go
    } else {
        Retired::Stay
    };
    let (keys, warnings) = Keys::open_with(&config.tokens, clock.now(), retired, &**random)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let keys = Arc::new(keys);
    let rules = Arc::new(RouteTable::new(config.policy.clone())?);
    let door = match &config.server.tls {
        Some(settings) => Some(Arc::new(Door::open(settings.clone(), clock.wall())?)),
        None => None,
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
    let (enforced, told) = (Arc::clone(&liveness), Arc::clone(&streams));
    store.on_end_all(move |moment| {
        enforced.end_through(moment);
        told.end_through(moment);
    });
    // After the store: its lock keeps two processes apart.
    let log = AuditLog::open(&config.audit, Arc::clone(clock))?;
    let audit = Audit::new(log, config.audit.refreshes);
    private::give_to_owners(&config);
    let (activity, activity_queue) = Activity::new();
    let events = Arc::new(Events::default());
    let issuer = Issuer::new(Arc::clone(&keys), config.tokens.clone(), Arc::clone(random));
    let passwords = PasswordPool::start(config.crypto, Arc::clone(random))?;
    let first_sights = FirstSights::new(
        Arc::clone(&store),
        Arc::clone(clock),
        Arc::clone(&events),
        config.service.rotation.max_ahead,
    );
    let service = Service::new(Parts {
        store,
        clock: Arc::clone(clock),
        random: Arc::clone(random),
        passwords: Arc::new(passwords),
        decoy_key: Arc::default(),
        issuer: Arc::new(issuer),
        keys: Arc::clone(&keys),
        liveness,
        first_sights: Arc::new(first_sights),
        renewals: Arc::default(),
        streams,
        limits: Arc::new(Limits::new(&config.limits, clock)),
        audit: Arc::new(audit),
        events: Arc::clone(&events),
        settings: config.service.clone(),
    });
    Ok(Shared {
        keys,
        service: Arc::new(Current::from_pointee(service)),
        activity,
        queues: Queues {
            activity: activity_queue,
        },
        events,
        rules,
        door,
        surroundings,
        config,
    })
}

/// Opens the store, if need be after another process has let go of it.
fn open(settings: &Settings, ties: &Ties, clock: &Arc<dyn Clock>) -> Result<Embedded, StoreError> {
    // Each attempt takes about a second before it says that the store is locked.
    let mut attempts = settings.lock_wait.as_secs();
    let mut told = false;
    loop {
        match Embedded::open_tied(settings, ties, Arc::clone(clock)) {
            Err(StoreError::Locked(why)) if attempts > 0 => {
                if !told {
                    let wait = humantime::format_duration(settings.lock_wait);
                    tracing::warn!("{why}; waiting for at most {wait}");
                    told = true;
                }
                attempts -= 1;
            }
            outcome => return outcome,
        }
    }
}

/// A service that goes on where this one stands: the same store, sessions that have ended, audit log
/// and numbers; what a change does not touch is kept.
pub(super) fn next_service(
    before: &Service,
    old: &Config,
    new: &Config,
) -> Result<Service, StartError> {
    let mut parts = before.parts().clone();
    if old.crypto != new.crypto {
        let pool = PasswordPool::start(new.crypto, Arc::clone(&parts.random))?;
        parts.passwords = Arc::new(pool);
    }
    if old.tokens != new.tokens {
        let (keys, random) = (Arc::clone(&parts.keys), Arc::clone(&parts.random));
        parts.issuer = Arc::new(Issuer::new(keys, new.tokens.clone(), random));
    }
    parts.limits = Arc::new(parts.limits.with(&new.limits, &parts.clock));
    parts.settings = new.service.clone();
    Ok(Service::new(parts))
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
