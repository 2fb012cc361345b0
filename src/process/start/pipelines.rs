//! How are the workers' pipelines built, at the start and at a reload?
//!
//! A pipeline has three kinds of parts: those that one configuration gives to all workers ([`Common`]); those
//! that a worker keeps until it ends (counters, log, request ids); and the guard and the proxy, which belong to
//! one worker and depend on the configuration. If no setting that a guard or proxy depends on has changed, the
//! next pipeline uses the same one, with its cache or its connections. Otherwise it begins with an empty one,
//! so nothing that was made under an old configuration is used under a new one.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use crate::api::{Api, dialects};
use crate::config::Config;
use crate::gateway::access_log::AccessLog;
use crate::gateway::admit::Admission;
use crate::gateway::api_call::ApiCalls;
use crate::gateway::context::RequestIds;
use crate::gateway::forward::Forwarder;
use crate::gateway::guard::Authorizer;
use crate::gateway::host::Hosts;
use crate::gateway::original::gateways::UntrustedGateways;
use crate::gateway::pipeline::Pipeline;
use crate::gateway::upgrade::Upgrader;
use crate::gateway::via::ConnectionHeaders;
use crate::guard::{Assertions, Guard};
use crate::net::connection::deadlines::Deadlines;
use crate::net::lifecycle::Lifecycle;
use crate::policy::RouteTable;
use crate::process::start::error::StartError;
use crate::proxy::{self, Proxy};
use crate::service::Service;
use crate::service::activity::Activity;
use crate::service::first_sight::FirstSights;
use crate::service::liveness::Liveness;
use crate::service::streams::StreamRegistry;
use crate::telemetry::metrics::WorkerMetrics;
use crate::tokens::Asserter;
use crate::tokens::keys::Keys;
use crate::tokens::settings::{Algorithm, Settings as TokenSettings};
use crate::tokens::verify::Verifier;
use crate::types::descriptors;
use crate::types::header;
use crate::types::net::Scheme;
use crate::types::origin::Origin;
use crate::types::random::Random;
use crate::types::time::Clock;

/// The parts that the pipelines of all workers have in common under one configuration.
pub(crate) struct Common<'a> {
    pub(crate) config: &'a Config,
    pub(crate) api: Arc<Api>,
    pub(crate) rules: Arc<RouteTable>,
    pub(crate) keys: &'a Arc<Keys>,
    liveness: Arc<Liveness>,
    pub(crate) random: &'a Arc<dyn Random>,
    /// The longest life a token in use may have: that of the start, which no reload exceeds.
    pub(crate) longest_life: Duration,
    first_sights: Arc<FirstSights>,
}

/// The parts that a worker keeps until it ends.
pub(crate) struct Lasting {
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) log: Arc<AccessLog>,
    pub(crate) ids: Arc<RequestIds>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) activity: Activity,
    pub(crate) streams: Arc<StreamRegistry>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) lifecycle: Lifecycle,
}

impl Lasting {
    fn of(pipeline: &Pipeline) -> Self {
        Self {
            metrics: Arc::clone(&pipeline.metrics),
            log: Arc::clone(&pipeline.log),
            ids: Arc::clone(&pipeline.ids),
            clock: Arc::clone(&pipeline.clock),
            activity: pipeline.api_calls.activity.clone(),
            streams: Arc::clone(&pipeline.forwarder.streams),
            random: Arc::clone(&pipeline.upgrader.random),
            lifecycle: pipeline.lifecycle.clone(),
        }
    }
}

impl<'a> Common<'a> {
    /// The common parts of this configuration, with this service.
    pub(crate) fn new(
        config: &'a Config,
        service: Arc<Service>,
        keys: &'a Arc<Keys>,
        rules: Arc<RouteTable>,
        random: &'a Arc<dyn Random>,
    ) -> Self {
        Self {
            first_sights: Arc::clone(service.first_sights()),
            liveness: Arc::clone(service.liveness()),
            api: Arc::new(Api::new(
                service,
                Arc::clone(keys),
                config.api.clone(),
                dialects::of,
            )),
            longest_life: config.tokens.access_ttl,
            config,
            rules,
            keys,
            random,
        }
    }

    /// A worker's first pipeline.
    pub(crate) fn first(&self, lasting: Lasting) -> Result<Pipeline, StartError> {
        let guard = self.guard()?;
        let proxy = Proxy::new(&self.carried(&guard)?)?;
        Ok(self.assemble(lasting, guard, Arc::new(proxy)))
    }

    /// The pipeline that replaces `before`, which was built from `old`.
    pub(crate) fn next(&self, before: &Pipeline, old: &Config) -> Result<Pipeline, StartError> {
        let new = self.config;
        let guard = if old.guard == new.guard && old.tokens == new.tokens {
            before.authorizer.guard.with_rules(Arc::clone(&self.rules))
        } else {
            self.guard()?
        };
        let is_same = old.proxy == new.proxy
            && old.guard.headers == new.guard.headers
            && old.server.client_subject_header == new.server.client_subject_header
            // The files that it names are read again.
            && !new.proxy.upstream.is_secure();
        let proxy = if is_same {
            Arc::clone(&before.forwarder.proxy)
        } else {
            Arc::new(before.forwarder.proxy.followed_by(&self.carried(&guard)?)?)
        };
        Ok(self.assemble(Lasting::of(before), guard, proxy))
    }

    fn guard(&self) -> Result<Guard, StartError> {
        // A token that was issued before a shorter life was configured stays valid for its own life.
        let tokens = TokenSettings {
            access_ttl: self.longest_life,
            ..self.config.tokens.clone()
        };
        let verifier = Verifier::new(Arc::clone(self.keys), &tokens);
        let guard = Guard::new(
            &self.config.guard,
            Arc::new(verifier),
            Arc::clone(&self.liveness),
            Arc::clone(&self.first_sights),
            Arc::clone(&self.rules),
            &**self.random,
        )?;
        let guard = guard.sharing(self.api.notice());
        let Some(audience) = &self.config.guard.assertion else {
            return Ok(guard);
        };
        // A reload keeps the algorithm of the start, which need not be that of the file.
        if tokens.algorithm == Algorithm::HS256 {
            return Err(StartError::Assertion);
        }
        let (keys, random) = (Arc::clone(self.keys), Arc::clone(self.random));
        let asserter = Asserter::new(keys, &tokens.issuer, audience, random);
        Ok(guard.asserting(Assertions::new(asserter, &self.config.guard.headers)))
    }

    /// The proxy's settings, with the header names that the guard manages.
    fn carried(&self, guard: &Guard) -> Result<proxy::Settings, StartError> {
        let mut managed = guard.identity_headers().managed();
        if let Some(subject) = &self.config.server.client_subject_header {
            if managed.iter().any(|name| header::is_same(name, subject)) {
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
        let guard = Arc::new(guard);
        let idle = self.config.service.sessions.idle;
        let activity = lasting.activity.for_idle_limit(idle);
        Pipeline {
            trusted: server.trusted_proxies.clone(),
            ids: lasting.ids,
            admission: Admission {
                hosts: Hosts::new(server.hosts.clone()),
                methods: methods(),
                paths: server.paths.clone(),
            },
            api_calls: ApiCalls {
                api: Arc::clone(&self.api),
                guard: Arc::clone(&guard),
                activity: activity.clone(),
            },
            untrusted_gateways: UntrustedGateways::default(),
            authorizer: Authorizer {
                guard,
                api: Arc::clone(&self.api),
                clock: Arc::clone(&lasting.clock),
            },
            forwarder: Forwarder {
                proxy,
                streams: lasting.streams,
                lifecycle: lasting.lifecycle.clone(),
                body_rate: server.body_rate,
            },
            upgrader: Upgrader {
                activity,
                clock: Arc::clone(&lasting.clock),
                random: lasting.random,
            },
            connection_headers: ConnectionHeaders {
                public_scheme: public_scheme(self.config),
                subject_header: server.client_subject_header.clone(),
            },
            metrics: lasting.metrics,
            log: lasting.log,
            deadlines: Deadlines {
                header: server.header_timeout,
                handshake: server.handshake_timeout,
            },
            clock: lasting.clock,
            lifecycle: lasting.lifecycle,
        }
    }
}

/// The scheme of `server.public_url`, if it is set.
fn public_scheme(config: &Config) -> Option<Scheme> {
    config.api.public_origin.as_ref().map(Origin::scheme)
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
