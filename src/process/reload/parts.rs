//! Which parts does a reload exchange, and how is each built?
//!
//! To add a part to the reload: add a field to [`Prepared`], build it in [`ReloadParts::prepare`], and
//! exchange it in [`ReloadParts::apply`].

use std::fmt;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::config::Config;
use crate::gateway::pipeline::Pipeline;
use crate::net::connection_limiter::ConnectionLimiter;
use crate::policy::RouteTable;
use crate::process::redirect::target::Target;
use crate::process::reload::restart::held_back;
use crate::process::reload::upstream_certificates::{self, UpstreamCertificates};
use crate::process::start::error::StartError;
use crate::process::start::pipelines::Common;
use crate::process::start::surroundings::Surroundings;
use crate::process::start::workers::ExchangeablePipeline;
use crate::service::password::PasswordPool;
use crate::service::{Current, Service};
use crate::telemetry::log_queue::Reopen;
use crate::telemetry::logging::Log;
use crate::telemetry::metrics::Reloads;
use crate::tls::{ServerTls, Setup};
use crate::tokens::issue::Issuer;
use crate::tokens::keys::Keys;
use crate::types::descriptors;

/// The parts of a running Sidegate that a reload reads or exchanges.
pub(crate) struct ReloadParts {
    /// The configuration at the start of the process.
    pub(crate) started: Config,
    /// The configuration in force, for tasks that read a setting when they need it: the drain times.
    pub(crate) in_force: Arc<ArcSwap<Config>>,
    pub(crate) service: Arc<Current>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) surroundings: Surroundings,
    pub(crate) limiter: Arc<ConnectionLimiter>,
    /// The certificates of the public listener.
    pub(crate) tls: Option<Arc<ServerTls>>,
    /// Where the redirect listener sends clients.
    pub(crate) redirect: Arc<ArcSwap<Target>>,
    pub(crate) upstream_certificates: Arc<UpstreamCertificates>,
    /// Notified when another configuration is in force.
    pub(crate) reloaded: Arc<Notify>,
    /// The pipeline of each worker. Weak: the access log's queue in it must not outlive the workers.
    pub(crate) workers: Vec<Weak<ExchangeablePipeline>>,
    pub(crate) counts: Arc<Reloads>,
    pub(crate) log: Log,
    /// Reopens the access log's file, which may have been renamed.
    pub(crate) access_log: Reopen,
}

/// The new parts, built and not yet in force.
pub(crate) struct Prepared {
    config: Config,
    service: Arc<Service>,
    pipelines: Vec<(Arc<ExchangeablePipeline>, Pipeline)>,
    certificates: Option<(Arc<ServerTls>, Setup)>,
    /// The fingerprint of the certificate files towards the upstream, before they were read.
    upstream_files: u64,
    /// The keys of changes that need a restart.
    waiting: Vec<&'static str>,
}

impl ReloadParts {
    /// Builds the parts of a new configuration. On an error nothing has changed.
    pub(crate) fn prepare(&self, new: Config) -> Result<Prepared, String> {
        let (config, waiting) = held_back(&self.started, new);
        let text = |error: &dyn fmt::Display| error.to_string();
        let old = self.in_force.load_full();
        let rules = RouteTable::new(config.policy.clone()).map_err(|error| text(&error))?;
        let service = next_service(&self.service.load(), &old, &config);
        let service = Arc::new(service.map_err(|error| text(&error))?);
        let upstream_files = upstream_certificates::fingerprint(&config.proxy.upstream);
        let pipelines = self.pipelines(&config, &old, &service, Arc::new(rules))?;
        let certificates = match (&self.tls, &config.server.tls) {
            (Some(tls), Some(settings)) => {
                let wall = self.surroundings.clock.wall();
                let setup = Setup::read(settings.clone(), wall).map_err(|error| text(&error))?;
                Some((Arc::clone(tls), setup))
            }
            _ => None,
        };
        // Last, because the keys take effect at once.
        let now = self.surroundings.clock.now();
        let warnings = self.keys.reload(now, &*self.surroundings.random);
        for warning in warnings.map_err(|error| text(&error))? {
            tracing::warn!("{warning}");
        }
        Ok(Prepared {
            config,
            service,
            pipelines,
            certificates,
            upstream_files,
            waiting,
        })
    }

    /// The next pipeline of each worker that runs.
    fn pipelines(
        &self,
        config: &Config,
        old: &Config,
        service: &Arc<Service>,
        rules: Arc<RouteTable>,
    ) -> Result<Vec<(Arc<ExchangeablePipeline>, Pipeline)>, String> {
        let mut common = Common::new(
            config,
            Arc::clone(service),
            &self.keys,
            rules,
            &self.surroundings.random,
        );
        common.longest_life = self.started.tokens.access_ttl;
        let workers = self.workers.iter().filter_map(Weak::upgrade);
        let next = workers.map(|worker| {
            let next = common.next(&worker.load(), old);
            Ok((worker, next.map_err(|error| error.to_string())?))
        });
        next.collect()
    }

    /// Puts the new parts in force, which cannot fail. Returns the outcome as text for an operator.
    pub(crate) fn apply(&self, prepared: Prepared) -> String {
        let Prepared {
            config,
            service,
            pipelines,
            certificates,
            upstream_files,
            waiting,
        } = prepared;
        log_warnings(&config);
        self.log.set(&config.log);
        self.access_log.ask();
        self.redirect.store(Arc::new(Target::new(&config)));
        let server = &config.server;
        let max = descriptors::for_clients(descriptors::limit(), server.max_connections);
        (self.limiter).admit_at_most(max, server.max_connections_per_address);
        if let Some((tls, setup)) = certificates {
            tls.take(setup);
        }
        service.places().set(&config.geo);
        self.service.store(service);
        for (worker, pipeline) in pipelines {
            worker.store(Arc::new(pipeline));
        }
        self.upstream_certificates.were_read(upstream_files);
        self.in_force.store(Arc::new(config));
        self.reloaded.notify_one();
        if waiting.is_empty() {
            "the configuration is reloaded".to_owned()
        } else {
            let keys = waiting.join(", ");
            format!("the configuration is reloaded; a restart is needed for {keys}")
        }
    }

    /// Reads the files of certificates and keys that have changed, on both sides.
    pub(crate) fn check_certificates(&self) {
        if let Some(tls) = &self.tls {
            tls.look(self.surroundings.clock.wall());
        }
        let workers = self.workers.iter().filter_map(Weak::upgrade);
        let proxies = workers.map(|worker| Arc::clone(&worker.load().forwarder.proxy));
        let config = self.in_force.load();
        (self.upstream_certificates).check(&config.proxy.upstream, proxies);
    }
}

/// Logs what is unsafe or doubtful in a configuration.
pub(crate) fn log_warnings(config: &Config) {
    for danger in &config.dangers {
        tracing::warn!("{danger} is on: it weakens security");
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}

/// The service that replaces `before`. It shares its store, revocations, audit log and counters, and keeps
/// each part whose settings have not changed.
fn next_service(before: &Service, old: &Config, new: &Config) -> Result<Service, StartError> {
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
