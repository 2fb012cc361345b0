//! The admin listener: `/livez`, `/startupz`, `/readyz`, `/metrics`, on a port of its own that no
//! stranger should reach. A store outage makes `/readyz` say `degraded` and stays 200: if every
//! replica left at once, an outage of the store would become an outage of everything. A store whose
//! files are gone is 503, because only a restart helps.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};

use crate::server::accept;
use crate::server::lifecycle::{Lifecycle, Phase};
use crate::telemetry::metrics::Metrics;

/// How long a worker may go without a tick before it counts as stuck.
pub const STUCK: Duration = Duration::from_secs(5);

/// Connections at once; probes and a scraper need few. Silent ones make room for new ones.
const MAX_CONNECTIONS: usize = 64;

/// Time for a request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the parts are well; kept up to date by [`Pulse::look`].
#[derive(Debug)]
pub struct Pulse {
    ticks: Vec<Arc<AtomicU64>>,
    stuck: AtomicBool,
    store_fails: AtomicBool,
    store_lost: AtomicBool,
    clock_differs: AtomicBool,
}

impl Pulse {
    /// Over the workers' tick counters.
    pub fn new(ticks: Vec<Arc<AtomicU64>>) -> Self {
        Self {
            ticks,
            stuck: AtomicBool::new(false),
            store_fails: AtomicBool::new(false),
            store_lost: AtomicBool::new(false),
            clock_differs: AtomicBool::new(false),
        }
    }

    /// How often each worker has ticked.
    pub fn ticks(&self) -> Vec<u64> {
        let read = |ticks: &Arc<AtomicU64>| ticks.load(Ordering::Relaxed);
        self.ticks.iter().map(read).collect()
    }

    /// Watches the workers until dropped.
    pub async fn look(&self) {
        let mut before = self.ticks();
        let mut every = tokio::time::interval(STUCK);
        every.tick().await;
        loop {
            every.tick().await;
            let now = self.ticks();
            let stuck = now.iter().zip(&before).any(|(now, before)| now == before);
            self.stuck.store(stuck, Ordering::Relaxed);
            before = now;
        }
    }

    /// Notes whether the store answers.
    pub fn store(&self, answers: bool) {
        self.store_fails.store(!answers, Ordering::Relaxed);
    }

    /// Notes whether time and the wall clock agree.
    pub fn clock(&self, agrees: bool) {
        self.clock_differs.store(!agrees, Ordering::Relaxed);
    }

    /// Notes that the files of the store are gone: only a restart helps.
    pub fn lose_store(&self) {
        self.store_lost.store(true, Ordering::Relaxed);
    }

    /// Whether the files of the store are gone.
    pub fn has_lost_store(&self) -> bool {
        self.store_lost.load(Ordering::Relaxed)
    }

    /// Whether the process does its work.
    pub fn is_alive(&self) -> bool {
        !self.stuck.load(Ordering::Relaxed)
    }

    /// What is not as it should be, in words.
    pub fn troubles(&self) -> Vec<&'static str> {
        let store = if self.has_lost_store() {
            Some("store lost")
        } else {
            self.store_fails.load(Ordering::Relaxed).then_some("store")
        };
        let workers = (!self.is_alive()).then_some("worker");
        let clock = self
            .clock_differs
            .load(Ordering::Relaxed)
            .then_some("clock");
        store.into_iter().chain(workers).chain(clock).collect()
    }
}

/// What the admin pages are made from.
#[derive(Debug)]
pub struct Admin {
    /// The process's phase.
    pub lifecycle: Lifecycle,
    /// Whether the parts are well.
    pub pulse: Arc<Pulse>,
    /// The numbers.
    pub metrics: Metrics,
}

/// What `/readyz` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// `ready`, `degraded`, `lost`, `starting` or `draining`.
    pub status: &'static str,
    /// What is not as it should be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<&'static str>,
}

impl Admin {
    /// Whether new requests should come here, and why not.
    pub fn readiness(&self) -> Readiness {
        let reasons = self.pulse.troubles();
        let status = match self.lifecycle.phase() {
            Phase::Starting => "starting",
            Phase::Serving if self.pulse.has_lost_store() => "lost",
            Phase::Serving if reasons.is_empty() => "ready",
            Phase::Serving => "degraded",
            Phase::Draining | Phase::Ending | Phase::Closing | Phase::Stopped => "draining",
        };
        Readiness { status, reasons }
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
            refused
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match request.uri().path() {
            "/livez" if self.pulse.is_alive() => text(StatusCode::OK, "alive\n"),
            "/livez" => text(StatusCode::SERVICE_UNAVAILABLE, "a worker is stuck\n"),
            "/startupz" if self.lifecycle.phase() > Phase::Starting => {
                text(StatusCode::OK, "started\n")
            }
            "/startupz" => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            "/readyz" => self.ready(),
            "/metrics" => {
                let mut page = Response::new(Full::new(Bytes::from(self.metrics.render())));
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                let kind = HeaderValue::from_static(kind);
                page.headers_mut().insert(header::CONTENT_TYPE, kind);
                page
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "here are /livez /startupz /readyz and /metrics\n",
            ),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let readiness = self.readiness();
        let serving = matches!(readiness.status, "ready" | "degraded");
        let status = if serving {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let body = serde_json::to_vec(&readiness).unwrap_or_default();
        let mut answer = Response::new(Full::new(Bytes::from(body)));
        *answer.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        answer
    }
}

fn text(status: StatusCode, words: &'static str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from_static(words.as_bytes())));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// Serves the admin pages until dropped.
pub async fn serve(listener: std::net::TcpListener, admin: Arc<Admin>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let listener = &listener;
    let accept = || async move {
        let (stream, peer) = listener.accept().await?;
        Ok((stream, Some(peer.ip().to_canonical())))
    };
    let converse = |stream, _| converse(stream, Arc::clone(&admin));
    accept::each("admin", MAX_CONNECTIONS, accept, converse).await;
    Ok(())
}

async fn converse(stream: TcpStream, admin: Arc<Admin>) {
    let answering = service_fn(move |request: Request<hyper::body::Incoming>| {
        let admin = Arc::clone(&admin);
        async move { Ok::<_, Infallible>(admin.answer(&request)) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder.max_headers(64).max_buf_size(16 * 1024);
    let io = TokioIo::new(stream);
    if let Err(error) = builder.serve_connection(io, answering).await {
        tracing::debug!(%error, "an admin connection ended early");
    }
}
