//! How are the parts that all workers share built from the settings, and in which order?

use std::sync::Arc;

use crate::audit::AuditLog;
use crate::config::Config;
use crate::geo::Places;
use crate::limits::Limits;
use crate::mail::Mailer;
use crate::policy::RouteTable;
use crate::process::file_modes;
use crate::process::start::error::StartError;
use crate::process::start::surroundings::Surroundings;
use crate::service::activity::Activity;
use crate::service::audit::Audit;
use crate::service::first_sight::FirstSights;
use crate::service::liveness::Liveness;
use crate::service::password::PasswordPool;
use crate::service::streams::Streams;
use crate::service::upkeep::Queues;
use crate::service::{Current, Parts, Service};
use crate::store::identity::Ties;
use crate::store::settings::Settings;
use crate::store::{AnyStore, StoreError};
use crate::telemetry::metrics::Events;
use crate::tls::ServerTls;
use crate::tokens::issue::Issuer;
use crate::tokens::keys::{Keys, Retired};
use crate::types::ids::StoreId;
use crate::types::time::Clock;

/// The parts that all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) surroundings: Surroundings,
    pub(crate) config: Config,
    pub(crate) keys: Arc<Keys>,
    pub(crate) service: Arc<Current>,
    pub(crate) activity: Activity,
    pub(crate) queues: Queues,
    pub(crate) events: Arc<Events>,
    pub(crate) rules: Arc<RouteTable>,
    /// TLS of the public listener, if it uses TLS.
    pub(crate) tls: Option<Arc<ServerTls>>,
    /// Delivers mails, if any are sent.
    pub(crate) mailer: Option<Mailer>,
}

impl Shared {
    /// Opens the store and the keys, and builds everything that needs no socket.
    pub(crate) fn build(config: Config, surroundings: Surroundings) -> Result<Self, StartError> {
        let clock = &surroundings.clock;
        let random = &surroundings.random;
        // The store's lock comes first: it also keeps other processes from changing the keys.
        let store = open_store(&config, &surroundings)?;
        file_modes::tighten(&config);
        let keys = open_keys(&config, &surroundings)?;
        let rules = Arc::new(RouteTable::new(config.policy.clone())?);
        let tls = match &config.server.tls {
            Some(settings) => Some(Arc::new(ServerTls::open(settings.clone(), clock.wall())?)),
            None => None,
        };
        let mailer = config.mail.as_ref().map(Mailer::new).transpose()?;
        let liveness = Arc::new(Liveness::new());
        let streams = Arc::new(Streams::new(Arc::clone(&liveness)));
        // After the store: its lock keeps two processes apart.
        let log = AuditLog::open(&config.audit, Arc::clone(clock))?;
        let audit = Audit::new(log, config.audit.refreshes);
        file_modes::give_to_owners(&config);
        let places = Arc::new(Places::default());
        places.set(&config.geo);
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
            places,
            events: Arc::clone(&events),
            settings: config.service.clone(),
        });
        Ok(Self {
            keys,
            service: Arc::new(Current::from_pointee(service)),
            activity,
            queues: Queues {
                activity: activity_queue,
            },
            events,
            rules,
            tls,
            mailer,
            surroundings,
            config,
        })
    }
}

fn open_keys(config: &Config, surroundings: &Surroundings) -> Result<Arc<Keys>, StartError> {
    let Surroundings { clock, random, .. } = surroundings;
    let retired = if clock.state().is_settled {
        Retired::Delete
    } else {
        Retired::Keep
    };
    let (keys, warnings) = Keys::open_with(&config.tokens, clock.now(), retired, &**random)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(Arc::new(keys))
}

fn open_store(config: &Config, surroundings: &Surroundings) -> Result<Arc<AnyStore>, StoreError> {
    let Surroundings {
        clock,
        random,
        start,
        ..
    } = surroundings;
    if let Some(store) = &surroundings.store {
        return Ok(Arc::clone(store));
    }
    let ties = Ties {
        keys: Some(config.tokens.keys_dir.clone()),
        founding: start.founding,
        new_keys: start.new_keys,
        fresh: StoreId::generate(clock.now(), &**random),
        after: 0,
    };
    wait_for_store(&config.store, &ties, clock).map(Arc::new)
}

/// Opens the store. While another process holds it, tries again for at most `lock_wait`.
fn wait_for_store(
    settings: &Settings,
    ties: &Ties,
    clock: &Arc<dyn Clock>,
) -> Result<AnyStore, StoreError> {
    // Each attempt takes about a second before it reports that the store is locked.
    let mut attempts = settings.lock_wait.as_secs();
    let mut is_logged = false;
    loop {
        match AnyStore::open_tied(settings, ties, Arc::clone(clock)) {
            Err(StoreError::Locked(why)) if attempts > 0 => {
                if !is_logged {
                    let wait = humantime::format_duration(settings.lock_wait);
                    tracing::warn!("{why}; waiting for at most {wait}");
                    is_logged = true;
                }
                attempts -= 1;
            }
            outcome => return outcome,
        }
    }
}
