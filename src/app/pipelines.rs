//! The workers' pipelines: the first ones, and those that take their place at a reload.
//!
//! A pipeline is made of three kinds of parts: what one configuration gives to all workers
//! ([`Common`]), what a worker keeps for life (its numbers, its log, its request ids), and what a
//! worker has to itself but a configuration shapes (guard and proxy). A guard or proxy is taken over
//! when nothing that shapes it has changed, with its cache or its connections; else the next pipeline
//! begins with empty ones, so nothing made by an old configuration is ever used by a new one.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};

use crate::api::Api;
use crate::app::error::StartError;
use crate::config::Config;
use crate::guard::Guard;
use crate::policy::RouteTable;
use crate::proxy::{self, Proxy};
use crate::server::access_log::AccessLog;
use crate::server::connection::Deadlines;
use crate::server::context::RequestIds;
use crate::server::intake::{Hosts, Intake};
use crate::server::lifecycle::Lifecycle;
use crate::server::original::gateways::UntrustedGateways;
use crate::server::pipeline::Pipeline;
use crate::service::Service;
use crate::service::activity::Activity;
use crate::service::first_sight::FirstSights;
use crate::service::liveness::Liveness;
use crate::service::streams::Desk;
use crate::telemetry::metrics::WorkerMetrics;
use crate::tokens::keys::Keys;
use crate::tokens::settings::Settings as TokenSettings;
use crate::tokens::verify::Verifier;
use crate::types::descriptors;
use crate::types::net::Scheme;
use crate::types::random::Random;
use crate::types::time::Clock;

/// What one configuration gives to the pipelines of all workers.
pub(super) struct Common<'a> {
    pub(super) config: &'a Config,
    pub(super) api: Arc<Api>,
    pub(super) rules: Arc<RouteTable>,
    pub(super) keys: &'a Arc<Keys>,
    pub(super) liveness: &'a Arc<Liveness>,
    pub(super) random: &'a dyn Random,
    /// The longest life a token in use may have: that of the start, which no reload exceeds.
    pub(super) longest_life: Duration,
    first_sights: Arc<FirstSights>,
}

/// What a worker keeps for life.
pub(super) struct Lasting {
    pub(super) metrics: Arc<WorkerMetrics>,
    pub(super) log: Arc<AccessLog>,
    pub(super) ids: Arc<RequestIds>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) activity: Activity,
    pub(super) streams: Arc<Desk>,
    pub(super) random: Arc<dyn Random>,
    pub(super) lifecycle: Lifecycle,
}

impl Lasting {
    fn of(pipeline: &Pipeline) -> Self {
        Self {
            metrics: Arc::clone(&pipeline.metrics),
            log: Arc::clone(&pipeline.log),
            ids: Arc::clone(&pipeline.ids),
            clock: Arc::clone(&pipeline.clock),
            activity: pipeline.activity.clone(),
            streams: Arc::clone(&pipeline.streams),
            random: Arc::clone(&pipeline.random),
            lifecycle: pipeline.lifecycle.clone(),
        }
    }
}

impl<'a> Common<'a> {
    /// The parts that this configuration gives, over this service.
    pub(super) fn new(
        config: &'a Config,
        service: Arc<Service>,
        keys: &'a Arc<Keys>,
        liveness: &'a Arc<Liveness>,
        rules: Arc<RouteTable>,
        random: &'a dyn Random,
    ) -> Self {
        Self {
            first_sights: Arc::clone(service.first_sights()),
            api: Arc::new(Api::new(service, Arc::clone(keys), config.api.clone())),
            longest_life: config.tokens.access_ttl,
            config,
            rules,
            keys,
            liveness,
            random,
        }
    }

    /// A worker's first pipeline.
    pub(super) fn first(&self, lasting: Lasting) -> Result<Pipeline, StartError> {
        let guard = self.guard()?;
        let proxy = Proxy::new(self.carried(&guard)?)?;
        Ok(self.assemble(lasting, guard, Arc::new(proxy)))
    }

    /// The pipeline that follows `before`, which worked by `old`.
    pub(super) fn next(&self, before: &Pipeline, old: &Config) -> Result<Pipeline, StartError> {
        let new = self.config;
        let guard = if old.guard == new.guard && old.tokens == new.tokens {
            before.guard.with_rules(Arc::clone(&self.rules))
        } else {
            self.guard()?
        };
        let is_same = old.proxy == new.proxy
            && old.guard.headers == new.guard.headers
            && old.server.client_subject_header == new.server.client_subject_header
            // The files that it names are read again.
            && !new.proxy.upstream.is_secure();
        let proxy = if is_same {
            Arc::clone(&before.proxy)
        } else {
            Arc::new(before.proxy.followed_by(self.carried(&guard)?)?)
        };
        Ok(self.assemble(Lasting::of(before), guard, proxy))
    }

    fn guard(&self) -> Result<Guard, StartError> {
        // What was issued before a shorter life was configured stays good for its own.
        let tokens = TokenSettings {
            access_ttl: self.longest_life,
            ..self.config.tokens.clone()
        };
        let verifier = Verifier::new(Arc::clone(self.keys), &tokens);
        let guard = Guard::new(
            &self.config.guard,
            Arc::new(verifier),
            Arc::clone(self.liveness),
            Arc::clone(&self.first_sights),
            Arc::clone(&self.rules),
            self.random,
        )?;
        Ok(guard.sharing(self.api.notice()))
    }

    /// The proxy's settings; which header names are ours to set, the guard knows.
    fn carried(&self, guard: &Guard) -> Result<proxy::Settings, StartError> {
        let mut managed = guard.identity_headers().managed();
        if let Some(subject) = &self.config.server.client_subject_header {
            let odd = |letter: char| !letter.is_ascii_alphanumeric();
            let folded = |name: &HeaderName| name.as_str().replace(odd, "_");
            if managed.iter().any(|name| folded(name) == folded(subject)) {
                return Err(StartError::SubjectHeader(subject.clone()));
            }
            managed.push(subject.clone());
        }
        let server = &self.config.server;
        let max_connections = descriptors::for_upstream(
            descriptors::limit(),
            server.max_connections,
            server.threads,
            self.config.proxy.max_connections,
        );
        Ok(proxy::Settings {
            managed,
            max_connections,
            ..self.config.proxy.clone()
        })
    }

    fn assemble(&self, lasting: Lasting, guard: Guard, proxy: Arc<Proxy>) -> Pipeline {
        let server = &self.config.server;
        Pipeline {
            api: Arc::clone(&self.api),
            guard: Arc::new(guard),
            proxy,
            intake: Intake {
                hosts: Hosts::new(server.hosts.clone()),
                methods: methods(),
            },
            paths: server.paths.clone(),
            trusted: server.trusted_proxies.clone(),
            untrusted_gateways: UntrustedGateways::default(),
            public_scheme: public_scheme(self.config),
            subject_header: server.client_subject_header.clone(),
            deadlines: Deadlines {
                header: server.header_timeout,
                handshake: server.handshake_timeout,
                body_rate: server.body_rate,
            },
            clock: lasting.clock,
            ids: lasting.ids,
            metrics: lasting.metrics,
            log: lasting.log,
            activity: lasting
                .activity
                .for_idle_limit(self.config.service.sessions.idle),
            streams: lasting.streams,
            random: lasting.random,
            lifecycle: lasting.lifecycle,
        }
    }
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
