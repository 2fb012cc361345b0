//! How does the redirect listener answer, and when does it end?
//!
//! Every request is answered 308 with the same path on https, and the connection is closed. The host is that of
//! the request, if it is one of `server.hosts`, or that of `server.public_url`: no client is sent to any other.
//! The listener has a thread and limits of its own, so an attack on it does not affect other requests.

pub(crate) mod target;

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::net::accept;
use crate::net::connection_limiter::ConnectionLimiter;
use crate::net::lifecycle::{Lifecycle, Phase};
use crate::net::tasks;
use crate::process::redirect::target::Target;

/// Connections at once, in all and from one address.
const MAX_CONNECTIONS: usize = 512;
const MAX_PER_ADDRESS: usize = 64;

/// Time for a request head, and for the whole of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Time for connections that were accepted before the listener closed.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves on a thread of its own, until the listeners close and every accepted connection has its response.
pub(crate) fn start(
    listener: StdTcpListener,
    target: Arc<ArcSwap<Target>>,
    lifecycle: Lifecycle,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let thread = std::thread::Builder::new().name("redirect".to_owned());
    thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(run(listener, &target, &lifecycle))
    })
}

async fn run(
    listener: StdTcpListener,
    target: &ArcSwap<Target>,
    lifecycle: &Lifecycle,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let connections = TaskTracker::new();
    tokio::select! {
        () = serve(listener, target, &connections) => {}
        () = lifecycle.reached(Phase::Closing) => {}
    }
    connections.close();
    tokio::select! {
        _ = timeout(DRAIN, connections.wait()) => {}
        () = lifecycle.reached(Phase::Stopped) => {}
    }
    Ok(())
}

async fn serve(listener: TcpListener, target: &ArcSwap<Target>, connections: &TaskTracker) {
    let limiter = Arc::new(ConnectionLimiter::new(MAX_CONNECTIONS, MAX_PER_ADDRESS));
    loop {
        let (stream, peer) = accept::next("redirect", || listener.accept()).await;
        let target = target.load_full();
        let is_one_client = !target.trusted.trust(peer.ip());
        let Ok(permit) = limiter.enter(is_one_client.then(|| peer.ip())) else {
            continue;
        };
        tasks::spawn(connections.track_future(async move {
            serve_connection(stream, target).await;
            drop(permit);
        }));
    }
}

async fn serve_connection(stream: TcpStream, target: Arc<Target>) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = target.respond(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder.keep_alive(false).max_buf_size(16 * 1024);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = timeout(TIMEOUT, serving).await {
        tracing::debug!(%error, "a connection to the redirect listener ended early");
    }
}
