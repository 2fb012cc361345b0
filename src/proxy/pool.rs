//! The connections of one worker: idle ones on a stack, the youngest used first, so that spare
//! ones grow old and go; and never more in all than the settings allow.
//!
//! A request first takes a *slot*, which stands for the right to hold one connection, then an idle
//! connection or a fresh one. A fresh one is dialled only when none is idle, so connections in use
//! and idle together never exceed the slots.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::{Instant, timeout};

use crate::proxy::Core;
use crate::proxy::connect::{Connector, Offer};
use crate::proxy::error::UpstreamError;
use crate::proxy::places::{Booked, MAX_WAITING, Places, overloaded};
use crate::proxy::settings::Settings;
use crate::proxy::stream::Stream;
use crate::proxy::timer::Alarm;
use crate::tls::client::BadClient;
use crate::types::share::Claimant;

/// See the module.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) connector: Connector,
    idle_timeout: Duration,
    max_age: Option<Duration>,
    places: Places,
    /// Nothing idle is kept any more.
    retired: AtomicBool,
    /// One worker thread uses it: the lock is never contended, it only makes the futures `Send`.
    idle: Mutex<Idle>,
    pub(super) counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Idle {
    /// The longest idle in front.
    connections: VecDeque<(Box<Connection>, Instant)>,
    /// Buffers of connections that went idle, so that an idle connection holds none.
    buffers: Vec<(BytesMut, Vec<u8>)>,
}

/// One connection with what an exchange on it needs.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    /// Bytes read and not yet understood.
    pub(super) input: BytesMut,
    /// Memory of `input` that the client was still to be sent when more was read.
    spare: BytesMut,
    /// The request's head, later the frames around the pieces of its body.
    pub(super) output: Vec<u8>,
    pub(super) alarm: Alarm,
    born: Instant,
    counters: Arc<Counters>,
}

impl Connection {
    /// Makes room for so many bytes in `input`. Memory that the client has been sent is used again, that
    /// of this buffer or of the one before: a body that flows takes no fresh memory, whose pages the
    /// kernel would have to clear over and over.
    pub(super) fn make_room(&mut self, bytes: usize) {
        if self.input.try_reclaim(bytes) {
            return;
        }
        if self.input.is_empty() {
            std::mem::swap(&mut self.input, &mut self.spare);
        }
        self.input.reserve(bytes);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.counters.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the pool of one worker has done; counts since the start, save the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Connections that are open.
    pub open: u64,
    /// Those of them that no request uses.
    pub idle: u64,
    /// Connections that were made.
    pub created: u64,
    /// Requests that were sent on a connection made before.
    pub reused: u64,
    /// Requests that were sent a second time, because their connection was dead.
    pub retried: u64,
}

/// What is behind [`Stats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) open: AtomicU64,
    pub(super) created: AtomicU64,
    pub(super) reused: AtomicU64,
    pub(super) retried: AtomicU64,
}

impl Pool {
    pub(super) fn new(settings: Settings) -> Result<Self, BadClient> {
        Ok(Self {
            connector: Connector::new(settings.upstream, settings.connect_timeout)?,
            idle_timeout: settings.idle_timeout,
            max_age: Some(settings.max_age).filter(|age| !age.is_zero()),
            places: Places::new(settings.max_connections, settings.queue_timeout),
            retired: AtomicBool::new(false),
            idle: Mutex::default(),
            counters: Arc::default(),
        })
    }

    /// Goes on counting where another pool is.
    pub(super) fn count_on(&mut self, before: &Self) {
        self.counters = Arc::clone(&before.counters);
    }

    /// Closes what is idle, and keeps nothing from here on.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        let idle = std::mem::take(&mut *self.lock());
        drop(idle);
    }

    pub(super) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            open: read(&self.counters.open),
            idle: self.lock().connections.len() as u64,
            created: read(&self.counters.created),
            reused: read(&self.counters.reused),
            retried: read(&self.counters.retried),
        }
    }

    /// Closes what has been idle for too long.
    pub(super) fn sweep(&self) {
        self.lock().expire(Instant::now(), self.idle_timeout);
    }

    /// The youngest idle connection that is still good, with buffers.
    fn reuse(&self, again: Again) -> Option<Box<Connection>> {
        let now = Instant::now();
        let mut idle = self.lock();
        idle.expire(now, self.idle_timeout);
        while let Some((mut connection, _)) = idle.connections.pop_back() {
            let quiet = match again {
                Again::Possible => connection.stream.is_quiet(),
                Again::Impossible => {
                    connection.stream.is_quiet() && connection.stream.is_quiet_for_certain()
                }
            };
            if quiet && !self.is_old(&connection, now) {
                (connection.input, connection.output) = idle.buffers.pop().unwrap_or_else(buffers);
                self.counters.reused.fetch_add(1, Ordering::Relaxed);
                return Some(connection);
            }
        }
        None
    }

    async fn dial(&self) -> Result<Box<Connection>, UpstreamError> {
        let deadline = self.connector.deadline();
        let stream = self.connector.dial(Offer::Http1, deadline).await?;
        Ok(Box::new(self.connection(stream)))
    }

    /// What an exchange needs around a fresh stream.
    fn connection(&self, stream: Stream) -> Connection {
        let (input, output) = self.lock().buffers.pop().unwrap_or_else(buffers);
        self.counters.created.fetch_add(1, Ordering::Relaxed);
        self.counters.open.fetch_add(1, Ordering::Relaxed);
        Connection {
            stream,
            input,
            spare: BytesMut::new(),
            output,
            alarm: Alarm::default(),
            born: Instant::now(),
            counters: Arc::clone(&self.counters),
        }
    }

    /// Takes a stream in that was made to see what the upstream speaks.
    pub(super) fn adopt(&self, stream: Stream) {
        self.put(Box::new(self.connection(stream)));
    }

    fn is_old(&self, connection: &Connection, now: Instant) -> bool {
        let age = now.saturating_duration_since(connection.born);
        self.max_age.is_some_and(|limit| age >= limit)
    }

    /// Takes a connection back whose exchange is over.
    fn put(&self, mut connection: Box<Connection>) {
        let now = Instant::now();
        let is_spare = self.idle_timeout.is_zero() || self.retired.load(Ordering::Relaxed);
        if is_spare || self.is_old(&connection, now) {
            return;
        }
        connection.spare = BytesMut::new();
        let input = std::mem::take(&mut connection.input);
        let mut output = std::mem::take(&mut connection.output);
        output.clear();
        let mut idle = self.lock();
        idle.expire(now, self.idle_timeout);
        let small = input.capacity() <= MAX_SPARE && output.capacity() <= MAX_SPARE;
        if small && idle.buffers.len() < MAX_SPARES {
            idle.buffers.push((input, output));
        }
        idle.connections.push_back((connection, now));
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Whether a request could be sent again if its connection turned out dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It could, so a cheap look at the connection is enough.
    Possible,
    /// It could not, so the kernel is asked as well.
    Impossible,
}

/// The right to hold one connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    core: Arc<Core>,
    booked: Booked,
}

impl Slot {
    /// A free slot, or one that comes free in time.
    ///
    /// # Errors
    ///
    /// `Overloaded` when too many wait or the time is over.
    pub(super) async fn take(core: &Arc<Core>, who: Claimant) -> Result<Self, UpstreamError> {
        let booked = core.pool.places.take(who).await?;
        Ok(Self {
            core: Arc::clone(core),
            booked,
        })
    }

    /// A connection for this slot, idle or fresh.
    pub(super) async fn connection(self, again: Again) -> Result<Lease, UpstreamError> {
        match self.core.pool.reuse(again) {
            Some(connection) => Ok(Lease {
                connection,
                reused: true,
                slot: self,
            }),
            None => self.fresh().await,
        }
    }

    /// A connection that nothing was sent on.
    pub(super) async fn fresh(self) -> Result<Lease, UpstreamError> {
        let dialled = Box::pin(self.core.pool.dial()).await;
        if let (Err(_), Some(links)) = (&dialled, &self.core.links) {
            links.forget();
        }
        let connection = dialled?;
        Ok(Lease {
            connection,
            reused: false,
            slot: self,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.core.pool.places.give(self.booked.take());
    }
}

/// A connection in use. Dropping it closes the connection. (The fields drop in this order: the
/// connection is closed before the slot is free.)
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Box<Connection>,
    /// Whether the connection served another request before.
    pub(super) reused: bool,
    slot: Slot,
}

impl Lease {
    /// What all exchanges share.
    pub(super) fn core(&self) -> &Core {
        &self.slot.core
    }

    /// The connection for good. Its slot is free for requests; it still counts as open.
    pub(super) fn detach(self) -> Box<Connection> {
        self.connection
    }

    /// Puts the connection back for the next request.
    pub(super) fn put(self) {
        self.slot.core.pool.put(self.connection);
    }

    /// A fresh connection in place of one that died; the head to send moves over.
    pub(super) async fn replace(&mut self) -> Result<(), UpstreamError> {
        let pool = &self.slot.core.pool;
        let mut fresh = Box::pin(pool.dial()).await?;
        std::mem::swap(&mut fresh.output, &mut self.connection.output);
        pool.counters.retried.fetch_add(1, Ordering::Relaxed);
        self.connection = fresh;
        self.reused = false;
        Ok(())
    }
}

/// The line of those who wait for a connection: not longer than [`MAX_WAITING`], and nobody stands in
/// it beyond their time.
#[derive(Debug)]
pub(super) struct Line {
    waiting: AtomicUsize,
    limit: Duration,
}

impl Line {
    pub(super) const fn new(limit: Duration) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            limit,
        }
    }

    /// Waits for what is waited for.
    pub(super) async fn wait<F: Future>(&self, turn: F) -> Result<F::Output, UpstreamError> {
        let _place = Place::take(&self.waiting)?;
        timeout(self.limit, turn).await.map_err(|_| overloaded())
    }
}

/// A place in the line; left when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Result<Self, UpstreamError> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            return Err(overloaded());
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn buffers() -> (BytesMut, Vec<u8>) {
    (BytesMut::new(), Vec::with_capacity(OUTPUT))
}

/// How many pairs of buffers are kept for connections to come, and how large one may have grown.
const MAX_SPARES: usize = 64;
const MAX_SPARE: usize = 16 * 1024;

/// Room for an ordinary request head.
const OUTPUT: usize = 2048;
