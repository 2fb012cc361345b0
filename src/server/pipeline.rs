//! The front page of a request: every phase in order, each one line and one name.
//!
//! Nothing is forwarded without a [`Permit`], which only the guard can make;
//! no error becomes a response anywhere but in phase 7; every request leaves one record, whatever
//! happened to it.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version, header};
use hyper::body::Incoming;

use crate::api::settings::Mount;
use crate::api::wire::cors::Cors;
use crate::api::{Answer, Api, ApiError, Call};
use crate::guard::{Denial, Guard, Identity, Permit, Verdict, extract};
use crate::proxy::grpc::is_call;
use crate::proxy::{Proxy, UpstreamError, Via};
use crate::server::access_log::{AccessLog, Line};
use crate::server::connection::{Deadlines, Paced};
use crate::server::context::{Context, RequestIds};
use crate::server::handshake;
use crate::server::intake::{BadRequest, Host, Intake};
use crate::server::leash::opener;
use crate::server::lifecycle::{Lifecycle, Phase};
use crate::server::peer::Peer;
use crate::server::problem::{Asked, Code, Fault, problem};
use crate::server::record::{Body, Outgoing, Record};
use crate::server::renewal::{self, Head, Renewal};
use crate::server::tasks;
use crate::server::tunnel::Tunnel;
use crate::service::activity::{self, Activity};
use crate::service::streams::{Desk, OpenStream};
use crate::service::{AuthError, Caller};
use crate::telemetry::metrics::{RouteClass, WorkerMetrics};
use crate::types::device::MAX_USER_AGENT;
use crate::types::net::{Scheme, TrustedProxies};
use crate::types::path::{Allowances, CleanPath};
use crate::types::random::Random;
use crate::types::time::{Clock, Stopwatch};

/// One worker's way of answering requests.
#[derive(Debug)]
pub struct Pipeline {
    /// What Sidegate answers itself.
    pub api: Arc<Api>,
    /// May it pass?
    pub guard: Arc<Guard>,
    /// Carry it.
    pub proxy: Arc<Proxy>,
    /// What a request must be like.
    pub intake: Intake,
    /// Which odd paths are admitted.
    pub paths: Allowances,
    /// Peers whose forwarding headers are believed.
    pub trusted: TrustedProxies,
    /// The scheme of the public address, when one is configured.
    pub public_scheme: Option<Scheme>,
    /// How long things may take.
    pub deadlines: Deadlines,
    /// The header that tells the subject of a client's certificate.
    pub subject_header: Option<HeaderName>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Request ids.
    pub ids: Arc<RequestIds>,
    /// What was counted.
    pub metrics: Arc<WorkerMetrics>,
    /// What was logged.
    pub log: Arc<AccessLog>,
    /// Who was active.
    pub activity: Activity,
    /// Which streams are open.
    pub streams: Arc<Desk>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// What the process is doing with its life.
    pub lifecycle: Lifecycle,
}

impl Pipeline {
    /// Answers one request. Never fails: a refusal is an answer.
    pub async fn handle(&self, request: Request<Incoming>, peer: &Arc<Peer>) -> Response<Outgoing> {
        let now = self.clock.now();
        let context = Context::of(request.headers(), peer.end(), &self.trusted, &self.ids, now); // 1 context
        let mut record = Record::begin(context, &request, &self.metrics, &self.log);
        let asked = Asked::of(&request, |path| self.own_route(path).is_some());
        let mut besides = Besides::default();
        let passed = self.pass(request, peer, &mut record, &mut besides).await; // 2 to 6
        let mut response = match passed {
            Ok(response) => response,
            Err(fault) => {
                let fault = self.in_phase(fault);
                let problem = problem(&fault); // 7 answer
                record.refused(&problem, &fault);
                problem
                    .respond(&asked, record.request_id())
                    .map(Body::Whole)
            }
        };
        if let Some(cors) = besides.cors {
            cors.write(response.headers_mut());
        }
        if let Some(renewal) = besides.renewal {
            self.settle(renewal, response.headers_mut()).await;
        }
        match besides.tunnel {
            None => record.finish(response), // 8 record
            Some(tunnel) => tunnel.begin(record, response),
        }
    }

    /// Counts and logs a head that could not be read as a request: hyper has answered it.
    pub fn unreadable(&self, peer: &Peer, status: u16) {
        self.metrics.request(RouteClass::Refused, status);
        self.metrics.refusal(Code::BadRequest as usize);
        self.log.write(&Line {
            at: self.clock.now(),
            request_id: self.ids.next().to_str().unwrap_or("-"),
            client: peer.address,
            method: "-",
            path: "-",
            status,
            bytes: 0,
            micros: 0,
            route: RouteClass::Refused.as_str(),
            refusal: Some(Code::BadRequest.as_str()),
            user: None,
            session: None,
            complete: true,
        });
    }

    /// A fault as it looks in this phase of the process.
    fn in_phase(&self, fault: Fault) -> Fault {
        if self.lifecycle.phase() >= Phase::Draining {
            fault.while_draining()
        } else {
            fault
        }
    }

    async fn pass(
        &self,
        mut request: Request<Incoming>,
        peer: &Arc<Peer>,
        record: &mut Record,
        besides: &mut Besides,
    ) -> Result<Response<Body>, Fault> {
        let host = self.intake.admit(&mut request)?; // 2 admit
        let uri = request.uri().clone();
        if record.context().trusted
            && let Some(route) = self.api.check(uri.path())
        {
            // A gateway asks about another request, whose path is cleaned in place of this one's.
            return Box::pin(self.check(route, &request, &host, record, besides)).await;
        }
        let path = CleanPath::parse(uri.path(), &self.paths).map_err(BadRequest::Path)?; // 3 clean
        if let Some(target) = self.own_route(uri.path()) {
            return self.answer(target, request, &host, record, besides).await; // 4 route
        }
        let (method, headers) = (handshake::judged_method(&request), request.headers());
        let now = record.context().at;
        let epoch = self.streams.liveness().epoch();
        let mut verdict = self
            .guard
            .judge(method, headers, host.name.as_str(), &path, now); // 5 guard
        if renewal::could_help(&verdict) {
            let head = Head {
                method,
                headers,
                host: &host,
                path: &path,
            };
            if let Some((renewed, renewal)) = self.renew(head, record).await? {
                verdict = renewed;
                besides.renewal = Some(renewal);
            }
        }
        let permit = match verdict {
            Verdict::Allow(permit) => permit,
            Verdict::Deny(denial) => return Err(Fault::Denied(denial)),
        };
        let place = (&host, peer, epoch);
        let Some(protocol) = handshake::asked(&request, self) else {
            return self.forward(permit, request, place, record).await; // 6 forward
        };
        let switching = self.switch(permit, protocol, request, place, record);
        let (answer, tunnel) = Box::pin(switching).await?;
        besides.tunnel = tunnel;
        Ok(answer)
    }

    /// What of ours lives at a path.
    fn own_route<'a>(&'a self, path: &'a str) -> Option<Own<'a>> {
        if path == "/.well-known/jwks.json" {
            return Some(Own::Jwks);
        }
        self.api
            .mount(path)
            .map(|(mount, path)| Own::Mount { mount, path })
    }

    async fn answer(
        &self,
        own: Own<'_>,
        request: Request<Incoming>,
        host: &Host,
        record: &mut Record,
        besides: &mut Besides,
    ) -> Result<Response<Body>, Fault> {
        record.routed(RouteClass::Api);
        let (mount, path) = match own {
            Own::Jwks => {
                let answer = self.api.well_known_jwks(request.method())?;
                return Ok(answer.map(Body::Whole));
            }
            Own::Mount { mount, path } => (mount, path),
        };
        let call = Call {
            mount: mount.clone(),
            path: path.to_owned(),
            caller: self.caller(request.headers(), record.context()),
            scheme: self.scheme(record.context()),
            host: host.value.to_str().unwrap_or_default().to_owned(),
        };
        besides.cors = Some(Cors::of(&call, request.headers()));
        let answer = if request.method().is_safe() {
            self.api.handle(&self.guard, call, request).await?
        } else {
            self.finish_call(call, request).await?
        };
        Ok(answer.map(Body::Whole))
    }

    /// Answers a call that changes something, to its end also when the caller hangs up: what is
    /// durable by then must be in the audit log as well.
    async fn finish_call(
        &self,
        call: Call,
        request: Request<Incoming>,
    ) -> Result<Answer, ApiError> {
        let (api, guard) = (Arc::clone(&self.api), Arc::clone(&self.guard));
        let answering = tasks::spawn(async move { api.handle(&guard, call, request).await });
        let panicked = |_| ApiError::Auth(AuthError::Internal("a call panicked".to_owned()));
        answering.await.map_err(panicked)?
    }

    async fn forward(
        &self,
        permit: Permit,
        request: Request<Incoming>,
        (host, peer, epoch): (&Host, &Arc<Peer>, u64),
        record: &mut Record,
    ) -> Result<Response<Body>, Fault> {
        record.routed(RouteClass::Upstream);
        if request.method() == Method::CONNECT {
            return Err(BadRequest::Method.into());
        }
        if let Some(identity) = permit.shared() {
            self.note(identity, record);
        }
        let via = self.via(host, peer, record);
        let watch = Stopwatch::start();
        let caller = record.caller().filter(|_| is_call(request.headers()));
        let call = caller.map(|caller| self.streams.open(opener(caller)));
        let answer = self.proxy.forward(permit, self.paced(request, peer), &via);
        let answered = match call {
            None => answer.await.map_err(Fault::from),
            Some(stream) => Box::pin(forward_call(answer, stream)).await,
        };
        record.upstream_took(watch.elapsed());
        let answer = answered?;
        record.leash(&answer, self, epoch);
        Ok(answer.map(Body::Upstream))
    }

    /// Holds the body to its pace, unless it is a gRPC stream over HTTP/2.
    fn paced(&self, request: Request<Incoming>, peer: &Arc<Peer>) -> Request<Paced<Incoming>> {
        let is_stream = request.version() == Version::HTTP_2 && is_call(request.headers());
        request.map(|body| {
            if is_stream {
                Paced::stream(body, peer, &self.proxy)
            } else {
                Paced::new(body, peer)
            }
        })
    }

    /// What the proxy writes its headers about the connection from.
    pub(super) fn via(&self, host: &Host, peer: &Peer, record: &mut Record) -> Via {
        let mut via = record
            .context_mut()
            .via(Some(host.value.clone()), self.public_scheme);
        if let (Some(name), Some(subject)) = (&self.subject_header, &peer.subject) {
            via.subject = Some(Box::new((name.clone(), subject.clone())));
        }
        via
    }

    /// Tells the record who is calling, and now and then the session that it is in use.
    pub(super) fn note(&self, identity: &Arc<Identity>, record: &mut Record) {
        record.identified(identity);
        if identity.is_due(record.context().at, activity::EVERY) {
            let address = Some(record.context().client);
            let session = identity.session.clone();
            self.activity.note(activity::Note { session, address });
        }
    }

    pub(super) fn caller(&self, headers: &HeaderMap, context: &Context) -> Caller {
        let agent = headers
            .get(header::USER_AGENT)
            .map(HeaderValue::as_bytes)
            .unwrap_or_default();
        let agent = agent
            .get(..agent.len().min(MAX_USER_AGENT))
            .unwrap_or_default();
        let device = extract::cookie(headers, &self.api.settings().cookies.device);
        Caller {
            address: Some(context.client),
            agent: String::from_utf8_lossy(agent).into_owned(),
            request_id: context.request_id().to_owned(),
            device: device.ok().flatten().and_then(|id| id.parse().ok()),
        }
    }

    /// What the client speaks: the configured public address knows best.
    pub(super) fn scheme(&self, context: &Context) -> Scheme {
        self.public_scheme.unwrap_or(context.scheme)
    }
}

/// What an answer carries besides what was asked for, also when it is a refusal.
#[derive(Debug, Default)]
pub(super) struct Besides {
    cors: Option<Cors>,
    pub(super) renewal: Option<Renewal>,
    tunnel: Option<Box<Tunnel>>,
}

/// Waits for the head of a gRPC answer, which may be as far away as the end of the call, for as long
/// as the caller's session lives.
async fn forward_call<T>(
    answer: impl Future<Output = Result<T, UpstreamError>>,
    mut stream: OpenStream,
) -> Result<T, Fault> {
    tokio::select! {
        biased;
        () = stream.over() => Err(Fault::Denied(Denial::ended())),
        answer = answer => Ok(answer?),
    }
}

/// What of ours lives at a path.
#[derive(Debug, Clone, Copy)]
enum Own<'a> {
    Jwks,
    Mount { mount: &'a Mount, path: &'a str },
}
