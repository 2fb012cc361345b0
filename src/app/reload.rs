//! Reloading: the configuration is read again and takes effect, all of it or nothing.
//!
//! Everything that can fail is built before anything is exchanged: a file that cannot be read or
//! understood, a preset that does not exist, keys that cannot be used leave the configuration in
//! force as it is, and say so. Then the parts are put in place, which cannot fail. A request is
//! answered to its end by the pipeline, and with it by the service, that it began with; the next
//! request on any worker finds the new one. What needs a restart is held back and named
//! (`app::restart`).
//!
//! A part joins the reload in two steps: what it has to make or read anew becomes a field of [`Next`],
//! made in [`Inner::prepare`]; its exchange becomes a line of [`Inner::put_in_place`].

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::app::build::{Surroundings, next_service};
use crate::app::pipelines::Common;
use crate::app::redirect::redirect_target;
use crate::app::restart::held_back;
use crate::app::watch::{self, Outward};
use crate::config::Config;
use crate::policy::RouteTable;
use crate::server::doorman::Doorman;
use crate::server::manager;
use crate::server::outbox::Reopen;
use crate::server::pipeline::Pipeline;
use crate::server::redirect::Target;
use crate::server::worker::Exchangeable;
use crate::service::{Current, Service};
use crate::telemetry::logging::Log;
use crate::telemetry::metrics::Reloads;
use crate::tls::{Door, Setup};
use crate::tokens::keys::Keys;
use crate::types::descriptors;

/// Reads the configuration again.
pub type Reread = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// Reloads on demand; cheap to clone.
#[derive(Clone)]
pub(super) struct Reload(Arc<Inner>);

/// What a reload needs.
pub(super) struct Inner {
    pub(super) reread: Reread,
    /// As it was at the start.
    pub(super) started: Config,
    /// The configuration in force, for whoever reads it late: the drain times.
    pub(super) in_force: Arc<ArcSwap<Config>>,
    pub(super) service: Arc<Current>,
    pub(super) keys: Arc<Keys>,
    pub(super) surroundings: Surroundings,
    pub(super) doorman: Arc<Doorman>,
    /// Certificates of the public listener.
    pub(super) door: Option<Arc<Door>>,
    /// Where the redirect listener sends clients.
    pub(super) redirect: Arc<ArcSwap<Target>>,
    /// Certificates towards the upstream.
    pub(super) outward: Arc<Outward>,
    /// Told when another configuration is in force.
    pub(super) reloaded: Arc<Notify>,
    /// Where each worker finds its pipeline. A worker that has ended takes it along: the log in it
    /// must not outlive the workers.
    pub(super) workers: Vec<Weak<Exchangeable>>,
    pub(super) counts: Arc<Reloads>,
    pub(super) log: Log,
    /// The access log's file, which may have been moved away.
    pub(super) access_log: Reopen,
    /// One at a time.
    pub(super) lock: Mutex<()>,
}

/// All that is exchanged, made and waiting.
struct Next {
    config: Config,
    service: Arc<Service>,
    pipelines: Vec<(Arc<Exchangeable>, Pipeline)>,
    certificates: Option<(Arc<Door>, Setup)>,
    /// What the files towards the upstream are like.
    outward: u64,
    /// The keys of what needs a restart.
    waiting: Vec<&'static str>,
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").finish_non_exhaustive()
    }
}

impl Reload {
    pub(super) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Reads everything again; it takes effect with the next request. Blocks while files are read.
    pub(super) fn run(&self) -> Result<String, String> {
        let inner = &*self.0;
        let _one = inner.lock();
        manager::reloading();
        match inner.prepare() {
            Ok(next) => {
                let words = inner.put_in_place(next);
                let generation = inner.counts.applied();
                tracing::info!(generation, "{words}");
                manager::ready("serving");
                Ok(words)
            }
            Err(words) => {
                inner.counts.rejected();
                tracing::error!("reload refused, the old configuration stays: {words}");
                manager::ready("serving; a reload was refused, the log says why");
                Err(words)
            }
        }
    }

    /// Reads the files of certificates and keys that have changed. Blocks while files are read.
    pub(super) fn look(&self) {
        let inner = &*self.0;
        let _one = inner.lock();
        if let Some(door) = &inner.door {
            door.look(inner.surroundings.clock.wall());
        }
        let workers = inner.workers.iter().filter_map(Weak::upgrade);
        let proxies = workers.map(|worker| Arc::clone(&worker.load().proxy));
        let config = inner.in_force.load();
        inner.outward.look(&config.proxy.upstream, proxies);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads and builds; changes nothing that is in use.
    fn prepare(&self) -> Result<Next, String> {
        let (config, waiting) = held_back(&self.started, (self.reread)()?);
        let old = self.in_force.load_full();
        let words = |error: &dyn fmt::Display| error.to_string();
        let rules = RouteTable::new(config.policy.clone()).map_err(|error| words(&error))?;
        let before = self.service.load_full();
        let service = next_service(&before, &old, &config).map_err(|error| words(&error))?;
        let service = Arc::new(service);
        let random = &*self.surroundings.random;
        let mut common = Common::new(
            &config,
            Arc::clone(&service),
            &self.keys,
            service.liveness(),
            Arc::new(rules),
            random,
        );
        common.longest_life = self.started.tokens.access_ttl;
        let outward = watch::fingerprint(&config.proxy.upstream);
        let mut pipelines = Vec::with_capacity(self.workers.len());
        for worker in self.workers.iter().filter_map(Weak::upgrade) {
            let next = common.next(&worker.load(), &old);
            pipelines.push((worker, next.map_err(|error| words(&error))?));
        }
        let (now, wall) = (
            self.surroundings.clock.now(),
            self.surroundings.clock.wall(),
        );
        let certificates = match (&self.door, &config.server.tls) {
            (Some(door), Some(settings)) => {
                let setup = Setup::read(settings.clone(), wall).map_err(|error| words(&error))?;
                Some((Arc::clone(door), setup))
            }
            _ => None,
        };
        // Last, because they take effect at once: every mistake elsewhere has been found by then.
        let warnings = self.keys.reload(now, random).map_err(|e| words(&e))?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(Next {
            config,
            service,
            pipelines,
            certificates,
            outward,
            waiting,
        })
    }

    /// Puts the parts in place; says what came of it.
    fn put_in_place(&self, next: Next) -> String {
        let Next {
            config,
            service,
            pipelines,
            certificates,
            outward,
            waiting,
        } = next;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        for danger in &config.dangers {
            tracing::warn!("{danger} is on: it weakens security");
        }
        self.log.set(&config.log);
        self.access_log.ask();
        self.redirect.store(Arc::new(redirect_target(&config)));
        let server = &config.server;
        let max = descriptors::for_clients(descriptors::limit(), server.max_connections);
        (self.doorman).admit_at_most(max, server.max_connections_per_address);
        if let Some((door, setup)) = certificates {
            door.take(setup);
        }
        self.service.store(service);
        for (worker, pipeline) in pipelines {
            worker.store(Arc::new(pipeline));
        }
        self.outward.saw(outward);
        self.in_force.store(Arc::new(config));
        self.reloaded.notify_one();
        if waiting.is_empty() {
            "the configuration is reloaded".to_owned()
        } else {
            let keys = waiting.join(", ");
            format!("the configuration is reloaded; a restart is needed for {keys}")
        }
    }
}
