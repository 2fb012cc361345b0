//! A place on a connection, and what the connection, its task and its streams know of each other.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::proxy::Core;
use crate::proxy::error::UpstreamError;

/// What a connection, its task and its streams know of each other.
#[derive(Debug)]
pub(super) struct Life {
    born: Instant,
    /// Places that are taken.
    streams: AtomicUsize,
    /// Since when none is.
    idle_since: Mutex<Instant>,
    /// Whether a request was ever sent on it.
    used: AtomicBool,
    /// Frames of answers that were heard.
    heard: AtomicU64,
    closed: AtomicBool,
}

impl Life {
    /// Of a connection that is made at this moment.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            born: now,
            streams: AtomicUsize::new(0),
            idle_since: Mutex::new(now),
            used: AtomicBool::new(false),
            heard: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Whether no request uses the connection.
    pub(super) fn is_idle(&self) -> bool {
        self.streams.load(Ordering::Relaxed) == 0
    }

    /// A frame of an answer came.
    pub(super) fn hear(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// How many frames came so far.
    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// The connection takes no further request.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// How many places are taken.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Whether a request may still begin at `now`, as far as age and idleness go.
    pub(super) fn is_fresh(&self, now: Instant, idle: Duration, age: Option<Duration>) -> bool {
        let lived = now.saturating_duration_since(self.born);
        let rested = now.saturating_duration_since(*lock(&self.idle_since));
        !self.closed.load(Ordering::Relaxed)
            && age.is_none_or(|limit| lived < limit)
            && (!self.is_idle() || rested < idle)
    }
}

#[cfg(test)]
impl Life {
    /// Of a connection that owes one answer.
    pub(super) fn busy() -> Self {
        let life = Self::new();
        life.streams.store(1, Ordering::Relaxed);
        life
    }

    /// It owes none any more.
    pub(super) fn rest(&self) {
        self.streams.store(0, Ordering::Relaxed);
    }
}

/// A place among the streams of one connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) core: Arc<Core>,
    sender: SendRequest<Bytes>,
    pub(super) life: Arc<Life>,
    freed: Arc<Notify>,
    /// Whether the connection served another request before.
    pub(super) reused: bool,
}

impl Ticket {
    /// One place more is taken.
    pub(super) fn new(
        core: &Arc<Core>,
        sender: &SendRequest<Bytes>,
        life: &Arc<Life>,
        freed: &Arc<Notify>,
    ) -> Self {
        life.streams.fetch_add(1, Ordering::Relaxed);
        let reused = life.used.swap(true, Ordering::Relaxed);
        if reused {
            core.pool.counters.reused.fetch_add(1, Ordering::Relaxed);
        }
        Self {
            core: Arc::clone(core),
            sender: sender.clone(),
            life: Arc::clone(life),
            freed: Arc::clone(freed),
            reused,
        }
    }

    /// Begins the stream with its head.
    ///
    /// # Errors
    ///
    /// When the connection takes no streams any more; it is not used again then.
    pub(super) async fn open(
        &mut self,
        head: Request<()>,
        empty: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), UpstreamError> {
        let opened = match self.sender.clone().ready().await {
            Ok(mut sender) => sender.send_request(head, empty),
            Err(error) => Err(error),
        };
        opened.map_err(|error| {
            self.life.close();
            UpstreamError::of_http2(error)
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.life.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            *lock(&self.life.idle_since) = Instant::now();
        }
        self.freed.notify_one();
    }
}

/// One worker thread uses what is locked here: the lock is never contended.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
