//! What do the admin pages answer?
//!
//! `/livez`, `/startupz`, `/readyz` and `/metrics` have a port of their own, which no client should reach.
//! While the store is down, `/readyz` reports `degraded` with 200: if every replica were removed from service
//! at once, an outage of the store would become an outage of everything. If the files of the store were removed
//! it answers 503, because only a restart helps.

pub(crate) mod health;
pub(crate) mod metrics;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};

use crate::net::accept;
use crate::net::lifecycle::{Lifecycle, Phase};
use crate::process::admin::health::Health;
use crate::telemetry::metrics::Metrics;

/// Connections at once; probes and a scraper need few. A new connection replaces a silent one.
const MAX_CONNECTIONS: usize = 64;

/// Time for a request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The content of the admin pages.
#[derive(Debug)]
pub(crate) struct Admin {
    /// The phase of the process.
    pub(crate) lifecycle: Lifecycle,
    /// The results of the checks.
    pub(crate) health: Arc<Health>,
    /// The metrics page.
    pub(crate) metrics: Metrics,
}

/// The body of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Readiness {
    /// `ready`, `degraded`, `lost`, `starting` or `draining`.
    pub(crate) status: &'static str,
    /// The failed checks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) reasons: Vec<&'static str>,
}

impl Admin {
    /// Whether new requests should be sent to this process, and why not.
    pub(crate) fn readiness(&self) -> Readiness {
        let reasons = self.health.troubles();
        let status = match self.lifecycle.phase() {
            Phase::Starting => "starting",
            Phase::Serving if self.health.has_lost_store() => "lost",
            Phase::Serving if reasons.is_empty() => "ready",
            Phase::Serving => "degraded",
            Phase::Draining | Phase::Ending | Phase::Closing | Phase::Stopped => "draining",
        };
        Readiness { status, reasons }
    }

    fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
            refused
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match request.uri().path() {
            "/livez" if self.health.is_alive() => text(StatusCode::OK, "alive\n"),
            "/livez" => text(StatusCode::SERVICE_UNAVAILABLE, "a worker is stuck\n"),
            "/startupz" if self.lifecycle.phase() > Phase::Starting => {
                text(StatusCode::OK, "started\n")
            }
            "/startupz" => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            "/readyz" => self.readyz(),
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

    fn readyz(&self) -> Response<Full<Bytes>> {
        let readiness = self.readiness();
        let serving = matches!(readiness.status, "ready" | "degraded");
        let status = if serving {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let body = serde_json::to_vec(&readiness).unwrap_or_default();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

fn text(status: StatusCode, words: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(words.as_bytes())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Serves the admin pages until dropped.
pub(crate) async fn serve(listener: std::net::TcpListener, admin: Arc<Admin>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let listener = &listener;
    let accept = || async move {
        let (stream, peer) = listener.accept().await?;
        Ok((stream, Some(peer.ip().to_canonical())))
    };
    let serve = |stream, _| serve_connection(stream, Arc::clone(&admin));
    accept::each("admin", MAX_CONNECTIONS, accept, serve).await;
    Ok(())
}

async fn serve_connection(stream: TcpStream, admin: Arc<Admin>) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let admin = Arc::clone(&admin);
        async move { Ok::<_, Infallible>(admin.respond(&request)) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder.max_headers(64).max_buf_size(16 * 1024);
    let io = TokioIo::new(stream);
    if let Err(error) = builder.serve_connection(io, service).await {
        tracing::debug!(%error, "an admin connection ended early");
    }
}
