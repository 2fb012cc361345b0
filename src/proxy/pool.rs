//! Which HTTP/1.1 connection does a request get, and how many are there at most?
//!
//! A request first acquires a [`PoolPermit`], the right to hold one connection; the semaphore decides who
//! waits and who is refused. With it the request takes an idle connection, the one that became idle last
//! first, so that surplus connections reach their idle timeout. A fresh connection is made only if none is
//! idle, so connections in use and idle together never exceed the permits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::proxy::connect::Offer;
use crate::proxy::connection::{Buffers, Connection, Replay};
use crate::proxy::error::UpstreamError;
use crate::proxy::semaphore::{Charged, FairSemaphore};
use crate::proxy::settings::Settings;
use crate::proxy::stats::Stats;
use crate::proxy::stream::Stream;
use crate::proxy::upstream::Upstream;
use crate::types::share::Claimant;

/// The HTTP/1.1 connections of one worker.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) upstream: Upstream,
    idle_timeout: Duration,
    max_age: Option<Duration>,
    permits: FairSemaphore,
    /// Connections that become idle are closed from now on.
    retired: AtomicBool,
    /// One worker thread uses it: the lock is never contended, it only makes the futures `Send`.
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    /// The connection that is idle for longest is first.
    connections: VecDeque<(Box<Connection>, Instant)>,
    /// Buffers of connections that became idle: an idle connection holds none.
    buffers: Vec<Buffers>,
}

impl Pool {
    pub(super) fn new(upstream: Upstream, settings: &Settings) -> Self {
        Self {
            upstream,
            idle_timeout: settings.idle_timeout,
            max_age: Some(settings.max_age).filter(|age| !age.is_zero()),
            permits: FairSemaphore::new(settings.max_connections, settings.queue_timeout),
            retired: AtomicBool::new(false),
            idle: Mutex::default(),
        }
    }

    /// Closes idle connections. From now on a connection is closed when its exchange is over.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        let idle = std::mem::take(&mut *self.idle.lock());
        drop(idle);
    }

    pub(super) fn stats(&self) -> Stats {
        let idle = self.idle.lock().connections.len();
        self.upstream.counters.read(idle as u64)
    }

    /// Closes connections past their idle timeout.
    pub(super) fn sweep(&self) {
        self.idle.lock().expire(Instant::now(), self.idle_timeout);
    }

    /// Adds a connection that was made to learn which version the upstream speaks.
    pub(super) fn adopt(&self, stream: Stream) {
        self.put(Box::new(self.connection(stream)));
    }

    /// The usable connection that became idle last, with buffers.
    fn reuse(&self, replay: Replay) -> Option<Box<Connection>> {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        idle.expire(now, self.idle_timeout);
        while let Some((mut connection, _)) = idle.connections.pop_back() {
            if connection.is_quiet(replay) && !self.is_old(&connection, now) {
                (connection.input, connection.output) = idle.buffers.pop().unwrap_or_else(buffers);
                let counters = &self.upstream.counters;
                counters.reused.fetch_add(1, Ordering::Relaxed);
                return Some(connection);
            }
        }
        None
    }

    async fn dial(&self) -> Result<Box<Connection>, UpstreamError> {
        let connector = &self.upstream.connector;
        let stream = connector.dial(Offer::Http1, connector.deadline()).await?;
        Ok(Box::new(self.connection(stream)))
    }

    fn connection(&self, stream: Stream) -> Connection {
        let buffers = self.idle.lock().buffers.pop().unwrap_or_else(buffers);
        Connection::new(stream, buffers, &self.upstream.counters)
    }

    fn is_old(&self, connection: &Connection, now: Instant) -> bool {
        let age = now.saturating_duration_since(connection.created);
        self.max_age.is_some_and(|limit| age >= limit)
    }

    /// Keeps a connection whose exchange is over, unless it is too old.
    fn put(&self, mut connection: Box<Connection>) {
        let now = Instant::now();
        let is_surplus = self.idle_timeout.is_zero() || self.retired.load(Ordering::Relaxed);
        if is_surplus || self.is_old(&connection, now) {
            return;
        }
        connection.spare = BytesMut::new();
        let input = std::mem::take(&mut connection.input);
        let mut output = std::mem::take(&mut connection.output);
        output.clear();
        let mut idle = self.idle.lock();
        idle.expire(now, self.idle_timeout);
        let small = input.capacity() <= MAX_SPARE && output.capacity() <= MAX_SPARE;
        if small && idle.buffers.len() < MAX_SPARES {
            idle.buffers.push((input, output));
        }
        idle.connections.push_back((connection, now));
    }
}

impl Idle {
    fn expire(&mut self, now: Instant, limit: Duration) {
        while let Some((_, since)) = self.connections.front()
            && now.saturating_duration_since(*since) >= limit
        {
            self.connections.pop_front();
        }
    }
}

/// The right to hold one connection; released when dropped.
#[derive(Debug)]
pub(super) struct PoolPermit {
    pool: Arc<Pool>,
    charged: Charged,
}

impl PoolPermit {
    /// Waits for a free permit, at most for the queue timeout.
    ///
    /// # Errors
    ///
    /// `Overloaded` when too many requests wait, or none came free in time.
    pub(super) async fn acquire(pool: &Arc<Pool>, who: Claimant) -> Result<Self, UpstreamError> {
        let charged = pool.permits.acquire(who).await?;
        Ok(Self {
            pool: Arc::clone(pool),
            charged,
        })
    }

    /// A connection for this permit, idle or fresh.
    pub(super) async fn connection(self, replay: Replay) -> Result<Lease, UpstreamError> {
        match self.pool.reuse(replay) {
            Some(connection) => Ok(Lease {
                connection,
                reused: true,
                permit: self,
            }),
            None => self.fresh().await,
        }
    }

    /// A connection on which nothing was sent. After a failure the next connection offers HTTP/2 again.
    pub(super) async fn fresh(self) -> Result<Lease, UpstreamError> {
        let dialled = Box::pin(self.pool.dial()).await;
        if dialled.is_err() {
            self.pool.upstream.set_chose_http1(false);
        }
        Ok(Lease {
            connection: dialled?,
            reused: false,
            permit: self,
        })
    }
}

impl Drop for PoolPermit {
    fn drop(&mut self) {
        self.pool.permits.release(self.charged.take());
    }
}

/// A connection in use. Dropping it closes the connection. (The fields drop in this order: the
/// connection is closed before its permit is released.)
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Box<Connection>,
    /// Whether the connection served another request before.
    pub(super) reused: bool,
    permit: PoolPermit,
}

impl Lease {
    pub(super) fn upstream(&self) -> &Upstream {
        &self.permit.pool.upstream
    }

    /// Takes the connection out for good. Its permit is released; it still counts as open.
    pub(super) fn detach(self) -> Box<Connection> {
        self.connection
    }

    /// Returns the connection to the pool for the next request.
    pub(super) fn put(self) {
        self.permit.pool.put(self.connection);
    }

    /// Replaces a dead connection with a fresh one; the head to send is kept.
    pub(super) async fn replace(&mut self) -> Result<(), UpstreamError> {
        let pool = &self.permit.pool;
        let mut fresh = Box::pin(pool.dial()).await?;
        std::mem::swap(&mut fresh.output, &mut self.connection.output);
        let counters = &pool.upstream.counters;
        counters.retried.fetch_add(1, Ordering::Relaxed);
        self.connection = fresh;
        self.reused = false;
        Ok(())
    }
}

fn buffers() -> Buffers {
    (BytesMut::new(), Vec::with_capacity(OUTPUT))
}

/// How many pairs of buffers are kept for later connections, and the capacity up to which one is kept.
const MAX_SPARES: usize = 64;
const MAX_SPARE: usize = 16 * 1024;

/// Room for an ordinary request head.
const OUTPUT: usize = 2048;
