//! Which HTTP/2 connection does a request get a stream on, and how many connections are there at most?
//!
//! The oldest connection with room for a stream gets the next request, so that surplus connections become
//! idle and are closed. If none has room, a further connection is made, up to the limit of the settings. One
//! request makes it; the others wait for the result, also if it is a failure. If all connections are full, a
//! request waits for the queue timeout at most. A connection that has ended, for which the peer has sent
//! GOAWAY, or that is too old gets no further request; its open streams continue.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::uri::Scheme;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::proxy::connect::Offer;
use crate::proxy::error::UpstreamError;
use crate::proxy::http2::connection;
use crate::proxy::http2::status::ConnectionStatus;
use crate::proxy::http2::stream::ReservedStream;
use crate::proxy::http2::wait_queue::WaitQueue;
use crate::proxy::pool::Pool;
use crate::proxy::semaphore::FairSemaphore;
use crate::proxy::settings::{Address, Settings};
use crate::proxy::upstream::Upstream;

/// The HTTP/2 connections of one worker.
#[derive(Debug)]
pub(in crate::proxy) struct StreamPool {
    /// Receives connections of which the upstream chose HTTP/1.1.
    pool: Arc<Pool>,
    /// The oldest first. One worker thread uses them: the lock is never contended.
    connections: Mutex<Vec<PooledConnection>>,
    limit: usize,
    idle_timeout: Duration,
    max_age: Option<Duration>,
    queue: WaitQueue,
    /// One for each stream of all connections together.
    pub(super) permits: Arc<FairSemaphore>,
    /// Notified when a stream may be available.
    released: Arc<Notify>,
    dialling: tokio::sync::Mutex<()>,
    failures: Mutex<Failures>,
    scheme: Scheme,
}

/// The version of HTTP for one request.
pub(super) enum Negotiated {
    /// HTTP/2, on this stream.
    Http2(ReservedStream),
    /// HTTP/1.1, which the upstream chose.
    Http1,
}

/// One connection that takes requests.
#[derive(Debug)]
struct PooledConnection {
    sender: SendRequest<Bytes>,
    status: Arc<ConnectionStatus>,
}

/// The recent failures to connect.
#[derive(Debug, Default)]
struct Failures {
    count: u64,
    /// The reason of the last one; `None` for a timeout.
    last: Option<(io::ErrorKind, String)>,
}

impl StreamPool {
    /// For upstreams that speak HTTP/2 or may choose it; `None` for others.
    pub(in crate::proxy) fn of(settings: &Settings, pool: &Arc<Pool>) -> Option<Self> {
        let scheme = match settings.upstream {
            Address::Tls { .. } => Scheme::HTTPS,
            Address::H2c { .. } => Scheme::HTTP,
            Address::Tcp { .. } | Address::Unix(_) => return None,
        };
        let limit = settings.max_connections.max(1);
        Some(Self {
            pool: Arc::clone(pool),
            connections: Mutex::default(),
            limit,
            idle_timeout: settings.idle_timeout,
            max_age: Some(settings.max_age).filter(|age| !age.is_zero()),
            queue: WaitQueue::new(settings.queue_timeout),
            permits: Arc::new(FairSemaphore::new(
                limit.saturating_mul(MAX_STREAMS),
                settings.queue_timeout,
            )),
            released: Arc::default(),
            dialling: tokio::sync::Mutex::default(),
            failures: Mutex::default(),
            scheme,
        })
    }

    pub(super) fn upstream(&self) -> &Upstream {
        &self.pool.upstream
    }

    /// The value of `:scheme`.
    pub(super) const fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Closes connections past their idle timeout or age.
    pub(in crate::proxy) fn sweep(&self) {
        let mut connections = self.connections.lock();
        self.expire(&mut connections, Instant::now());
    }

    /// Closes every connection once its last stream has ended.
    pub(in crate::proxy) fn retire(&self) {
        self.connections.lock().clear();
    }

    /// The number of connections that no request uses.
    pub(in crate::proxy) fn idle(&self) -> u64 {
        let connections = self.connections.lock();
        let idle = |connection: &&PooledConnection| connection.status.is_idle();
        connections.iter().filter(idle).count() as u64
    }

    /// Reserves a stream on a connection. The caller holds one of the permits.
    pub(super) async fn reserve(&self) -> Result<Negotiated, UpstreamError> {
        if let Some(found) = self.find() {
            return Ok(found);
        }
        if self.may_grow()
            && let Some(found) = self.grow().await?
        {
            return Ok(found);
        }
        self.queue.wait(self.next_stream()).await?
    }

    /// Waits until a stream is available.
    async fn next_stream(&self) -> Result<Negotiated, UpstreamError> {
        loop {
            let mut released = pin!(self.released.notified());
            released.as_mut().enable();
            if let Some(found) = self.find() {
                return Ok(found);
            }
            if self.may_grow()
                && let Some(found) = self.grow().await?
            {
                return Ok(found);
            }
            released.await;
        }
    }

    /// A stream on an existing connection.
    fn find(&self) -> Option<Negotiated> {
        if self.upstream().chose_http1() {
            return Some(Negotiated::Http1);
        }
        let mut connections = self.connections.lock();
        self.expire(&mut connections, Instant::now());
        let found = connections.iter().find(|found| found.has_room())?;
        let stream = ReservedStream::new(&self.pool, &found.sender, &found.status, &self.released);
        Some(Negotiated::Http2(stream))
    }

    /// Removes connections that have ended, are idle for too long, or are too old. Open streams continue.
    fn expire(&self, connections: &mut Vec<PooledConnection>, now: Instant) {
        let (idle, age) = (self.idle_timeout, self.max_age);
        connections.retain(|connection| connection.status.is_fresh(now, idle, age));
    }

    fn may_grow(&self) -> bool {
        self.connections.lock().len() < self.limit
    }

    /// Makes one more connection; `None` when other requests have taken all its streams.
    async fn grow(&self) -> Result<Option<Negotiated>, UpstreamError> {
        let before = self.failures.lock().count;
        let deadline = self.upstream().connector.deadline();
        let dialling = timeout_at(deadline, self.dialling.lock()).await;
        let _dialling = dialling.map_err(|_| UpstreamError::Timeout)?;
        if let Some(found) = self.find() {
            return Ok(Some(found));
        }
        if !self.may_grow() {
            return Ok(None);
        }
        self.failures.lock().since(before)?;
        let dialled = self.dial().await;
        if let Err(error) = &dialled {
            self.failures.lock().note(error);
        }
        dialled.map(Some)
    }

    async fn dial(&self) -> Result<Negotiated, UpstreamError> {
        let upstream = self.upstream();
        let deadline = upstream.connector.deadline();
        let stream = upstream.connector.dial(Offer::Both, deadline).await?;
        if self.scheme == Scheme::HTTPS && !stream.is_http2() {
            self.pool.adopt(stream);
            upstream.set_chose_http1(true);
            self.released.notify_waiters();
            return Ok(Negotiated::Http1);
        }
        let status = Arc::new(ConnectionStatus::new());
        let counters = Arc::clone(&upstream.counters);
        let opening = connection::open(stream, &status, counters, &self.released);
        let opened = timeout_at(deadline, opening).await;
        let sender = opened.map_err(|_| UpstreamError::Timeout)??;
        let streams = sender.current_max_send_streams().min(MAX_STREAMS);
        self.permits.resize(self.limit.saturating_mul(streams));
        let stream = ReservedStream::new(&self.pool, &sender, &status, &self.released);
        self.connections
            .lock()
            .push(PooledConnection { sender, status });
        self.released.notify_waiters();
        Ok(Negotiated::Http2(stream))
    }
}

impl PooledConnection {
    /// Whether one more stream is within the peer's limit and ours.
    fn has_room(&self) -> bool {
        let limit = self.sender.current_max_send_streams().min(MAX_STREAMS);
        self.status.streams() < limit
    }
}

impl Failures {
    fn note(&mut self, error: &UpstreamError) {
        self.count += 1;
        self.last = match error {
            UpstreamError::Timeout => None,
            UpstreamError::Unreachable(error) => Some((error.kind(), error.to_string())),
            UpstreamError::Http2(error) => {
                Some((io::ErrorKind::InvalidData, error.cause().to_string()))
            }
            UpstreamError::BadResponse(_)
            | UpstreamError::Overloaded { .. }
            | UpstreamError::ClientBody(_) => {
                Some((io::ErrorKind::Other, "the dial failed".to_owned()))
            }
        };
    }

    /// An error if connecting has failed since `count` was read: a request that waited for it does not try
    /// again.
    fn since(&self, count: u64) -> Result<(), UpstreamError> {
        match &self.last {
            _ if self.count == count => Ok(()),
            None => Err(UpstreamError::Timeout),
            Some((kind, text)) => Err(UpstreamError::Unreachable(io::Error::new(
                *kind,
                text.clone(),
            ))),
        }
    }
}

/// The most requests on one connection, whatever the peer allows.
const MAX_STREAMS: usize = 100;
