//! The HTTP/2 connections of one worker.
//!
//! The oldest connection with room gets the next request, so that spare ones run empty and go. When
//! none has room a further one is made, up to the settings' limit; one request dials and the others
//! wait for what it brings, also when that is a failure. When all are full a request waits in line
//! for at most its time. A connection that ended, was told to go away, or is old gets no further
//! request; what runs on it runs on.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::uri::Scheme;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::proxy::Core;
use crate::proxy::connect::Offer;
use crate::proxy::error::UpstreamError;
use crate::proxy::http2::connection;
use crate::proxy::http2::ticket::{Life, Ticket, lock};
use crate::proxy::places::{Place, Places};
use crate::proxy::pool::Line;
use crate::proxy::settings::{Address, Settings};
use crate::types::share::Claimant;

/// See the module.
#[derive(Debug)]
pub(in crate::proxy) struct Links {
    /// The oldest first. One worker thread uses them: the lock is never contended.
    usable: Mutex<Vec<Link>>,
    limit: usize,
    idle_timeout: Duration,
    max_age: Option<Duration>,
    line: Line,
    /// Streams on all of them together.
    places: Arc<Places>,
    /// Told when a place may have come free.
    freed: Arc<Notify>,
    dialling: tokio::sync::Mutex<()>,
    failures: Mutex<Failures>,
    scheme: Scheme,
    /// Whether the upstream chose HTTP/1.1 when it was asked last.
    http1: AtomicBool,
}

/// How a request goes.
pub(super) enum Way {
    /// On this place.
    Link(Ticket),
    /// Over HTTP/1.1.
    Http1,
}

/// One connection that takes requests.
#[derive(Debug)]
struct Link {
    sender: SendRequest<Bytes>,
    life: Arc<Life>,
}

/// What the dials of late came to.
#[derive(Debug, Default)]
struct Failures {
    count: u64,
    /// The last one's reason; none for a timeout.
    last: Option<(io::ErrorKind, String)>,
}

impl Links {
    /// For upstreams that speak HTTP/2, or may choose to.
    pub(in crate::proxy) fn of(settings: &Settings) -> Option<Self> {
        let scheme = match settings.upstream {
            Address::Tls { .. } => Scheme::HTTPS,
            Address::H2c { .. } => Scheme::HTTP,
            Address::Tcp { .. } | Address::Unix(_) => return None,
        };
        Some(Self {
            usable: Mutex::default(),
            limit: settings.max_connections.max(1),
            idle_timeout: settings.idle_timeout,
            max_age: Some(settings.max_age).filter(|age| !age.is_zero()),
            line: Line::new(settings.queue_timeout),
            places: Arc::new(Places::new(
                settings.max_connections.max(1).saturating_mul(MAX_STREAMS),
                settings.queue_timeout,
            )),
            freed: Arc::default(),
            dialling: tokio::sync::Mutex::default(),
            failures: Mutex::default(),
            scheme,
            http1: AtomicBool::new(false),
        })
    }

    /// What `:scheme` says.
    pub(super) const fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Whether the upstream chose HTTP/1.1 when it was asked last.
    pub(in crate::proxy) fn chose_http1(&self) -> bool {
        self.http1.load(Ordering::Relaxed)
    }

    /// Asks the upstream again what it speaks, with the next connection.
    pub(in crate::proxy) fn forget(&self) {
        self.http1.store(false, Ordering::Relaxed);
    }

    /// Closes connections past their time.
    pub(in crate::proxy) fn sweep(&self) {
        let mut links = lock(&self.usable);
        self.expire(&mut links, Instant::now());
    }

    /// Lets every connection go: one in use ends with its last stream.
    pub(in crate::proxy) fn retire(&self) {
        lock(&self.usable).clear();
    }

    /// Connections that no request uses.
    pub(in crate::proxy) fn idle(&self) -> u64 {
        let links = lock(&self.usable);
        links.iter().filter(|link| link.life.is_idle()).count() as u64
    }

    /// The right to one stream.
    ///
    /// # Errors
    ///
    /// `Overloaded` when too many wait or the time is over.
    pub(super) async fn place(&self, who: Claimant) -> Result<Place, UpstreamError> {
        let booked = self.places.take(who).await?;
        Ok(Place::new(&self.places, booked))
    }

    /// A place on a connection.
    pub(super) async fn take(&self, core: &Arc<Core>) -> Result<Way, UpstreamError> {
        if let Some(way) = self.find(core) {
            return Ok(way);
        }
        if self.may_grow()
            && let Some(way) = self.grow(core).await?
        {
            return Ok(way);
        }
        self.line.wait(self.turn(core)).await?
    }

    /// Waits until there is a way.
    async fn turn(&self, core: &Arc<Core>) -> Result<Way, UpstreamError> {
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            if let Some(way) = self.find(core) {
                return Ok(way);
            }
            if self.may_grow()
                && let Some(way) = self.grow(core).await?
            {
                return Ok(way);
            }
            freed.await;
        }
    }

    /// What is there already.
    fn find(&self, core: &Arc<Core>) -> Option<Way> {
        if self.chose_http1() {
            return Some(Way::Http1);
        }
        let mut links = lock(&self.usable);
        self.expire(&mut links, Instant::now());
        let link = links.iter().find(|link| link.has_room())?;
        let ticket = Ticket::new(core, &link.sender, &link.life, &self.freed);
        Some(Way::Link(ticket))
    }

    /// Lets go of connections that ended, are idle for too long, or are old. Those in use end with
    /// their last stream.
    fn expire(&self, links: &mut Vec<Link>, now: Instant) {
        let (idle, age) = (self.idle_timeout, self.max_age);
        links.retain(|link| link.life.is_fresh(now, idle, age));
    }

    fn may_grow(&self) -> bool {
        lock(&self.usable).len() < self.limit
    }

    /// One connection more; none when others were faster and took all its places.
    async fn grow(&self, core: &Arc<Core>) -> Result<Option<Way>, UpstreamError> {
        let before = lock(&self.failures).count;
        let deadline = core.pool.connector.deadline();
        let dialling = timeout_at(deadline, self.dialling.lock()).await;
        let _dialling = dialling.map_err(|_| UpstreamError::Timeout)?;
        if let Some(way) = self.find(core) {
            return Ok(Some(way));
        }
        if !self.may_grow() {
            return Ok(None);
        }
        lock(&self.failures).since(before)?;
        let dialled = self.dial(core).await;
        if let Err(error) = &dialled {
            lock(&self.failures).note(error);
        }
        dialled.map(Some)
    }

    async fn dial(&self, core: &Arc<Core>) -> Result<Way, UpstreamError> {
        let connector = &core.pool.connector;
        let deadline = connector.deadline();
        let stream = connector.dial(Offer::Both, deadline).await?;
        if self.scheme == Scheme::HTTPS && !stream.is_http2() {
            core.pool.adopt(stream);
            self.http1.store(true, Ordering::Relaxed);
            self.freed.notify_waiters();
            return Ok(Way::Http1);
        }
        let life = Arc::new(Life::new());
        let counters = Arc::clone(&core.pool.counters);
        let opening = connection::open(stream, &life, counters, &self.freed);
        let opened = timeout_at(deadline, opening).await;
        let sender = opened.map_err(|_| UpstreamError::Timeout)??;
        let streams = sender.current_max_send_streams().min(MAX_STREAMS);
        self.places.resize(self.limit.saturating_mul(streams));
        let ticket = Ticket::new(core, &sender, &life, &self.freed);
        lock(&self.usable).push(Link { sender, life });
        self.freed.notify_waiters();
        Ok(Way::Link(ticket))
    }
}

impl Link {
    /// Whether one request more may be sent: the peer's limit and ours.
    fn has_room(&self) -> bool {
        let limit = self.sender.current_max_send_streams().min(MAX_STREAMS);
        self.life.streams() < limit
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

    /// An error if a dial failed since `count` was read: whoever waited for it need not try again.
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
