//! The front page of a request: every phase in order, each under one name.
//!
//! Nothing is forwarded without a [`Permit`](crate::guard::Permit), which only the guard can make;
//! no error becomes a response anywhere but in phase 7; every request leaves one record, whatever
//! happened to it.

use std::sync::Arc;

use http::{HeaderName, Request, Response};
use hyper::body::Incoming;

use crate::api::Api;
use crate::api::wire::cors::Cors;
use crate::guard::Guard;
use crate::proxy::Proxy;
use crate::server::access_log::{AccessLog, Line};
use crate::server::connection::{Deadlines, Progress};
use crate::server::context::{Context, RequestIds};
use crate::server::handshake;
use crate::server::intake::{BadRequest, Host, Intake};
use crate::server::lifecycle::{Lifecycle, Phase};
use crate::server::original::gateways::UntrustedGateways;
use crate::server::own::Own;
use crate::server::peer::Peer;
use crate::server::problem::{Asked, Code, Refusal, problem};
use crate::server::record::{Body, Outgoing, Record};
use crate::server::renewal::{Head, Renewal};
use crate::server::tunnel::Tunnel;
use crate::service::activity::Activity;
use crate::service::streams::Desk;
use crate::telemetry::metrics::{RouteClass, WorkerMetrics};
use crate::types::net::{Scheme, TrustedProxies};
use crate::types::path::{Allowances, CleanPath};
use crate::types::random::Random;
use crate::types::time::Clock;

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
    /// Peers that ask like gateways and are not among them.
    pub untrusted_gateways: UntrustedGateways,
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
    /// Answers one request. Never fails: a refusal is an answer. `progress` says how long it has been
    /// under way.
    pub async fn handle(
        &self,
        request: Request<Incoming>,
        peer: &Arc<Peer>,
        progress: &Progress,
    ) -> Response<Outgoing> {
        let now = self.clock.now();
        let context = Context::of(request.headers(), peer.end(), &self.trusted, &self.ids, now); // 1 context
        let mut record = Record::begin(context, &request, &self.metrics, &self.log);
        let asked = Asked::of(&request, |path| self.own_route(path).is_some());
        let mut besides = Besides::default();
        let from = Source { peer, progress };
        let passed = self.pass(request, from, &mut record, &mut besides).await; // 2 to 6
        let mut response = match passed {
            Ok(response) => response,
            Err(refusal) => {
                let refusal = self.in_phase(refusal);
                let problem = problem(&refusal); // 7 answer
                record.refused(&problem, &refusal);
                problem
                    .respond(&asked, record.request_id())
                    .map(Body::Whole)
            }
        };
        if let Some(cors) = besides.cors {
            cors.write(response.headers_mut());
        }
        if let Some(renewal) = besides.renewal {
            Box::pin(self.settle(renewal, response.headers_mut())).await;
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

    /// A refusal as it looks in this phase of the process.
    fn in_phase(&self, refusal: Refusal) -> Refusal {
        if self.lifecycle.phase() >= Phase::Draining {
            refusal.while_draining()
        } else {
            refusal
        }
    }

    async fn pass(
        &self,
        mut request: Request<Incoming>,
        from: Source<'_>,
        record: &mut Record,
        besides: &mut Besides,
    ) -> Result<Response<Body>, Refusal> {
        let host = self.intake.admit(&mut request)?; // 2 admit
        let uri = request.uri().clone();
        let own = self.own_route(uri.path());
        if let Some(route) = own.and_then(Own::check) {
            if record.context().trusted {
                // A gateway asks about another request, whose path is cleaned in place of this one's.
                return Box::pin(self.check(route, &request, &host, record, besides)).await;
            }
            self.refuse_gateway(route, request.headers(), record)?;
        }
        let path = CleanPath::parse(uri.path(), &self.paths).map_err(BadRequest::Path)?; // 3 clean
        if let Some(target) = own {
            return Box::pin(self.answer(target, request, &host, record, besides)).await; // 4 route
        }
        let epoch = self.streams.liveness().epoch();
        let head = Head {
            method: handshake::judged_method(&request),
            headers: request.headers(),
            host: &host,
            path: &path,
        };
        let permit = self.judge(head, true, record, besides).await?; // 5 guard
        let arrival = Arrival {
            host: &host,
            peer: from.peer,
            progress: from.progress,
            epoch,
        };
        let Some(protocol) = handshake::asked(&request, self) else {
            return self.forward(permit, request, arrival, record).await; // 6 forward
        };
        let switching = self.switch(permit, protocol, request, arrival, record);
        let (answer, tunnel) = Box::pin(switching).await?;
        besides.tunnel = tunnel;
        Ok(answer)
    }
}

/// What an answer carries besides what was asked for, also when it is a refusal.
#[derive(Debug, Default)]
pub(super) struct Besides {
    pub(super) cors: Option<Cors>,
    pub(super) renewal: Option<Renewal>,
    tunnel: Option<Box<Tunnel>>,
}

/// Which connection a request came in by, and how long it has been under way.
#[derive(Debug, Clone, Copy)]
struct Source<'a> {
    peer: &'a Arc<Peer>,
    progress: &'a Progress,
}

/// Where a request came in, and what was known when it was judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival<'a> {
    /// The host it asked for.
    pub(super) host: &'a Host,
    /// Who made its connection.
    pub(super) peer: &'a Arc<Peer>,
    /// How long it has been under way.
    pub(super) progress: &'a Progress,
    /// The state of the revocations, read before the request was judged: whatever ends a session
    /// during or after that changes the number, and the answer looks again.
    pub(super) epoch: u64,
}
