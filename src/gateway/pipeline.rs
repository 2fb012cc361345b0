//! In which order do the phases of a request run? This is the front page of the request path.
//!
//! ```text
//! 1 context ─→ 2 admit ─→ 3 route ─→ 4 clean ─→ 5 guard ─→ 6 forward ─→ 7 answer ─→ 8 record
//! ```
//!
//! Nothing is forwarded without a [`Permit`], which only the guard can make. A refusal becomes a response in
//! phase 7 and nowhere else. Every request leaves one log line.

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response};

use crate::api::CheckRoute;
use crate::api::dialect::Scope;
use crate::api::problem::Code;
use crate::gateway::access_log::AccessLog;
use crate::gateway::admit::{Admission, Admitted};
use crate::gateway::answer::{Refusal, ReplyFormat, problem, respond};
use crate::gateway::api_call::{ApiCalls, MountedCall};
use crate::gateway::bad_request::BadRequest;
use crate::gateway::body::{Body, LoggedBody};
use crate::gateway::check;
use crate::gateway::context::{Context, RequestIds};
use crate::gateway::forward::{Arrival, Forwarder};
use crate::gateway::guard::{Authorization, Authorizer, Head};
use crate::gateway::host::Host;
use crate::gateway::original::gateways::UntrustedGateways;
use crate::gateway::record::RequestLog;
use crate::gateway::reply::{Refused, Reply, ResponseExtras, with_renewal};
use crate::gateway::route::Route;
use crate::gateway::upgrade::{self, Upgrader};
use crate::gateway::via::ConnectionHeaders;
use crate::guard::{Identity, Permit};
use crate::net::body::Incoming;
use crate::net::connection::deadlines::Deadlines;
use crate::net::connection::handle::Connection;
use crate::net::connection::request_age::RequestAge;
use crate::net::handler::Handler;
use crate::net::lifecycle::{Lifecycle, Phase};
use crate::net::peer::Peer;
use crate::service::activity;
use crate::telemetry::metrics::{PoolNumber, RouteClass, WorkerMetrics};
use crate::types::path::CleanPath;
use crate::types::time::{Clock, Stopwatch};
use crate::types::trusted_proxies::TrustedProxies;

/// The request path of one worker: one part a phase, and what they share.
#[derive(Debug)]
pub struct Pipeline {
    /// Phase 1: the peers whose forwarding headers are read.
    pub trusted: TrustedProxies,
    /// Phase 1: request ids.
    pub ids: Arc<RequestIds>,
    /// Phases 2 and 4.
    pub admission: Admission,
    /// Phase 3: Sidegate's own routes.
    pub api_calls: ApiCalls,
    /// Phase 3: untrusted peers that send forward-auth requests.
    pub untrusted_gateways: UntrustedGateways,
    /// Phase 5.
    pub authorizer: Authorizer,
    /// Phase 6.
    pub forwarder: Forwarder,
    /// Phase 6, for requests that switch protocols.
    pub upgrader: Upgrader,
    /// The facts about the connection for the upstream.
    pub connection_headers: ConnectionHeaders,
    /// Phase 8: the counters.
    pub metrics: Arc<WorkerMetrics>,
    /// Phase 8: the access log.
    pub log: Arc<AccessLog>,
    /// The deadlines of connections.
    pub deadlines: Deadlines,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The phase of the process.
    pub lifecycle: Lifecycle,
}

impl Pipeline {
    /// Answers one request. Never fails: a refusal is a response.
    async fn answer(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
        age: &RequestAge,
    ) -> Response<LoggedBody> {
        let now = self.clock.now();
        let peer = connection.peer();
        let context = Context::of(request.headers(), peer, &self.trusted, &self.ids, now); // 1 context
        let mut log = RequestLog::begin(context, &request, &self.metrics, &self.log);
        // The request is moved below, and a refusal needs to know what its client accepts.
        let format = ReplyFormat::of(&request, |path| self.route(path).is_own());
        let arrival = Arrival {
            connection,
            age,
            epoch: self.forwarder.streams.liveness().epoch(),
        };
        let (response, extras) = match self.reply(request, arrival, &mut log).await {
            Ok(Reply { response, extras }) => (response, extras),
            Err(Refused { refusal, extras }) => {
                (self.refuse(refusal, &format, &mut log), extras) // 7 answer
            }
        };
        match extras {
            None => LoggedBody::respond(log, response), // 8 record
            Some(extras) => Box::pin(self.finish_with(*extras, response, log)).await,
        }
    }

    /// Completes a response with extras: CORS, the renewed tokens, the start of a tunnel. Then phase 8.
    async fn finish_with(
        &self,
        extras: ResponseExtras,
        mut response: Response<Body>,
        log: Box<RequestLog>,
    ) -> Response<LoggedBody> {
        if let Some(cors) = extras.cors {
            cors.write(response.headers_mut());
        }
        if let Some(renewal) = extras.renewal {
            self.authorizer
                .complete(*renewal, response.headers_mut())
                .await;
        }
        match extras.tunnel {
            None => LoggedBody::respond(log, response),
            Some(tunnel) => tunnel.begin(log, response),
        }
    }

    /// Phases 2 to 6.
    async fn reply(
        &self,
        mut request: Request<Incoming>,
        arrival: Arrival<'_>,
        log: &mut RequestLog,
    ) -> Result<Reply, Refused> {
        let Admitted { host, uri } = self.admission.admit(&mut request)?; // 2 admit
        let route = self.route(uri.path()); // 3 route
        if let Some(check) = route.check() {
            if log.context().trusted {
                // The path of the original request is cleaned in place of this one's.
                return Box::pin(self.check(check, &request, &host, log)).await;
            }
            log.routed(RouteClass::Api);
            let gateways = &self.untrusted_gateways;
            check::refuse_untrusted(gateways, check, request.headers(), log.context())?;
        }
        let path = self.admission.clean(&uri)?; // 4 clean
        match route {
            Route::Jwks => {
                log.routed(RouteClass::Api);
                Ok(Reply::plain(self.api_calls.jwks(&request)?))
            }
            Route::Mount { mounted, path } => {
                log.routed(RouteClass::Api);
                let called = MountedCall {
                    mounted,
                    path,
                    host: &host,
                    scheme: self.connection_headers.scheme(log.context()),
                };
                let calls = &self.api_calls;
                Box::pin(calls.answer(called, request, log.context())).await
            }
            Route::Upstream => {
                let head = Head {
                    method: upgrade::rule_method(&request),
                    headers: request.headers(),
                    host: &host,
                    path: &path,
                };
                let Authorization { outcome, renewal } =
                    self.authorizer.authorize(head, true, log.context()).await?; // 5 guard
                let permit = match outcome {
                    Ok(permit) => permit,
                    Err(denial) => return with_renewal(Err(Refusal::Denied(denial)), renewal),
                };
                let reply = self.forward(permit, request, &host, arrival, log).await; // 6 forward
                with_renewal(reply, renewal)
            }
        }
    }

    /// Phase 6.
    async fn forward(
        &self,
        permit: Permit,
        request: Request<Incoming>,
        host: &Host,
        arrival: Arrival<'_>,
        log: &mut RequestLog,
    ) -> Result<Reply, Refusal> {
        log.routed(RouteClass::Upstream);
        let protocol = upgrade::requested(&request, &self.forwarder.proxy);
        if protocol.is_none() && request.method() == Method::CONNECT {
            return Err(BadRequest::Method.into());
        }
        if let Some(identity) = permit.shared() {
            if protocol.is_some() {
                self.require_own_origin(&request, host, log.context())?;
            }
            self.identified(identity, log);
        }
        let peer = arrival.connection.peer();
        let via = self.connection_headers.via(log.context_mut(), host, peer);
        let watch = Stopwatch::start();
        let forwarder = &self.forwarder;
        let forwarded = match protocol {
            None => forwarder.forward(permit, request, &via, arrival).await,
            Some(protocol) => {
                let upgrader = &self.upgrader;
                let switching =
                    upgrader.switch(forwarder, permit, protocol, request, &via, arrival);
                Box::pin(switching).await
            }
        };
        log.upstream_took(watch.elapsed());
        forwarded
    }

    /// A forward-auth request: a gateway asks whether the original request may pass.
    async fn check(
        &self,
        check: CheckRoute<'_>,
        request: &Request<Incoming>,
        host: &Host,
        log: &mut RequestLog,
    ) -> Result<Reply, Refused> {
        log.routed(RouteClass::Api);
        let reply = self.check_original(check, request, host, log).await;
        reply.map_err(|refused| Refused {
            refusal: check::for_gateway(refused.refusal),
            ..refused
        })
    }

    async fn check_original(
        &self,
        check: CheckRoute<'_>,
        request: &Request<Incoming>,
        host: &Host,
        log: &mut RequestLog,
    ) -> Result<Reply, Refused> {
        let original = check::original(&self.admission, check, request, host)?;
        log.about(&original.method, &original.target);
        let target = original.target.as_str();
        let (path, _) =
            CleanPath::parse_target(target, &self.admission.paths).map_err(BadRequest::Path)?;
        let head = Head {
            method: &original.method,
            headers: request.headers(),
            host: &original.host,
            path: &path,
        };
        let context = log.context();
        let Authorization { outcome, renewal } = self
            .authorizer
            .authorize(head, check.renews, context)
            .await?;
        let permit = match outcome {
            Ok(permit) => permit,
            Err(denial) => return with_renewal(Err(Refusal::Denied(denial)), renewal),
        };
        if let Some(identity) = permit.shared() {
            if upgrade::is_websocket_question(request.headers())
                && let Err(refusal) = self.require_own_origin(request, &original.host, context)
            {
                return with_renewal(Err(refusal), renewal);
            }
            self.identified(identity, log);
        }
        with_renewal(Ok(Reply::plain(check::permitted(&permit))), renewal)
    }

    /// Phase 7: the one place where a refusal becomes a response. The dialect of the path gives it its shape; for
    /// a gateway's question, that is the path of the original request.
    fn refuse(
        &self,
        refusal: Refusal,
        format: &ReplyFormat,
        log: &mut RequestLog,
    ) -> Response<Body> {
        let refusal = if self.lifecycle.phase() >= Phase::Draining {
            refusal.while_draining()
        } else {
            refusal
        };
        let problem = problem(&refusal);
        log.refused(&problem, &refusal);
        let (dialect, scope) = self.api_calls.api.dialect_of(log.path());
        let scope = match refusal {
            Refusal::Check(_) => Scope::Check,
            _ => scope,
        };
        respond(&problem, format, dialect, scope, log.request_id()).map(Body::Whole)
    }

    fn route<'a>(&'a self, path: &'a str) -> Route<'a> {
        Route::of(&self.api_calls.api, path)
    }

    fn require_own_origin(
        &self,
        request: &Request<Incoming>,
        host: &Host,
        context: &Context,
    ) -> Result<(), Refusal> {
        let scheme = self.connection_headers.scheme(context);
        let settings = self.api_calls.api.settings();
        upgrade::require_own_origin(request.headers(), scheme, host, settings)?;
        Ok(())
    }

    /// Puts the caller into the log line, and reports from time to time that its session is in use.
    fn identified(&self, identity: &Arc<Identity>, log: &mut RequestLog) {
        log.identified(identity);
        let activity = &self.api_calls.activity;
        if identity.is_due(log.context().at, activity.every()) {
            let address = Some(log.context().client);
            let session = identity.session.clone();
            activity.note(activity::Note { session, address });
        }
    }
}

impl Handler for Pipeline {
    type Body = LoggedBody;

    fn handle(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
        age: &RequestAge,
    ) -> impl Future<Output = Response<LoggedBody>> + Send {
        self.answer(request, connection, age)
    }

    fn unreadable(&self, peer: &Peer, status: u16) {
        self.metrics.request(RouteClass::Refused, status);
        self.metrics.refusal(Code::BadRequest as usize);
        let id = self.ids.next();
        let id = id.to_str().unwrap_or("-");
        self.log
            .unreadable(self.clock.now(), id, peer.address, status);
    }

    fn deadlines(&self) -> Deadlines {
        self.deadlines
    }

    fn date(&self) -> HeaderValue {
        let date = self.clock.wall().http_date();
        HeaderValue::try_from(date).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    fn trusts(&self, address: std::net::IpAddr) -> bool {
        self.trusted.trust(address)
    }

    fn tick(&self) {
        self.forwarder.proxy.sweep();
        let pool = self.forwarder.proxy.stats();
        self.metrics.pool(PoolNumber::Open, pool.open);
        self.metrics.pool(PoolNumber::Idle, pool.idle);
        self.metrics.pool(PoolNumber::Created, pool.created);
        self.metrics.pool(PoolNumber::Reused, pool.reused);
        self.metrics.pool(PoolNumber::Retried, pool.retried);
        self.log.flush();
    }

    fn finish(&self) {
        self.log.flush();
    }
}
