//! How is an open stream closed when its session ends? Through a registry of streams by session.
//!
//! A stream is a switched connection, an event stream, a gRPC stream, or any answer that continues after its
//! head.
//!
//! Invariants: a stream is in the registry before the revocations of its session are read, and a revocation
//! is in force before the registry is searched. A stream of an ended session is therefore notified,
//! whichever of the two came first. A refresh notifies no stream.
//!
//! Each worker has a registry of its own ([`StreamRegistry`]). Only the end of sessions and the count of
//! their streams read all of them. A session that may have expired is read from the store, but not before
//! the access token that opened its stream has expired: no session expires before that.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::{MissedTickBehavior, interval};

use crate::model::revocation::{Revocation, RevocationEffect};
use crate::model::session::SessionKey;
use crate::model::user::AccountVersion;
use crate::service::Service;
use crate::service::liveness::Liveness;
use crate::store::SessionStore as _;
use crate::types::ids::SessionId;
use crate::types::time::Timestamp;

/// How often sessions are checked that may have expired.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// All open streams of the process.
#[derive(Debug)]
pub struct Streams {
    liveness: Arc<Liveness>,
    registries: RwLock<Vec<Arc<StreamRegistry>>>,
}

/// The open streams of one worker.
#[derive(Debug)]
pub struct StreamRegistry {
    liveness: Arc<Liveness>,
    next: AtomicU64,
    sessions: Mutex<HashMap<SessionId, SessionStreams>>,
}

/// The open streams of one session on one worker.
#[derive(Debug)]
struct SessionStreams {
    key: SessionKey,
    /// The session cannot have expired before this time.
    check_at: Timestamp,
    streams: Vec<Waiter>,
}

/// The notification of a stream.
#[derive(Debug)]
struct Waiter {
    id: u64,
    version: Option<AccountVersion>,
    notify: oneshot::Sender<()>,
}

/// A stream in the registry. Dropping it removes it.
#[derive(Debug)]
pub struct OpenStream {
    registry: Arc<StreamRegistry>,
    session: SessionId,
    id: u64,
    /// None once it was notified.
    over: Option<oneshot::Receiver<()>>,
}

/// The session and the token with which a stream is opened.
#[derive(Debug, Clone, Copy)]
pub struct Opener<'a> {
    /// The session.
    pub session: &'a SessionKey,
    /// The version of the account in the access token, if the stream ends when its roles change. None if it
    /// ends with its session only.
    pub version: Option<AccountVersion>,
    /// When the token expires.
    pub expires_at: Timestamp,
}

impl Streams {
    /// No streams. `liveness` has the revocations of their sessions.
    pub fn new(liveness: Arc<Liveness>) -> Self {
        Self {
            liveness,
            registries: RwLock::default(),
        }
    }

    /// The registry of one more worker.
    pub fn registry(&self) -> Arc<StreamRegistry> {
        let registry = Arc::new(StreamRegistry {
            liveness: Arc::clone(&self.liveness),
            next: AtomicU64::new(0),
            sessions: Mutex::default(),
        });
        let mut registries = self.registries.write();
        registries.push(Arc::clone(&registry));
        registry
    }

    /// Notifies the streams that a revocation ends. The revocation must be in force already.
    pub fn apply(&self, revocation: &Revocation) {
        self.each(|registry| {
            registry.notify(revocation.session, |version| {
                ends(revocation.effect, version)
            });
        });
    }

    /// Notifies the streams of every session whose id was made up to this moment. This end must be in force
    /// already.
    pub fn end_through(&self, moment: Timestamp) {
        self.each(|registry| {
            let sessions: Vec<SessionId> = registry.sessions().keys().copied().collect();
            for session in sessions.into_iter().filter(|id| id.made_at() <= moment) {
                registry.notify(session, |_| true);
            }
        });
    }

    /// The number of open streams of a session.
    pub fn count(&self, session: SessionId) -> u32 {
        let mut count = 0_usize;
        self.each(|registry| {
            count += registry
                .sessions()
                .get(&session)
                .map_or(0, |streams_of| streams_of.streams.len());
        });
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The number of open streams.
    pub fn len(&self) -> usize {
        let mut count = 0;
        self.each(|registry| {
            let sessions = registry.sessions();
            count += sessions.values().map(|s| s.streams.len()).sum::<usize>();
        });
        count
    }

    /// Whether no stream is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sessions with open streams that may have expired at `now`.
    fn due(&self, now: Timestamp) -> Vec<SessionKey> {
        let mut due = Vec::new();
        self.each(|registry| {
            let sessions = registry.sessions();
            let late = sessions
                .values()
                .filter(|streams_of| streams_of.check_at <= now);
            due.extend(late.map(|streams_of| streams_of.key.clone()));
        });
        due.sort_unstable_by_key(|key| key.id);
        due.dedup_by_key(|key| key.id);
        due
    }

    /// Records that a session cannot expire before `until`.
    fn check_again(&self, session: SessionId, until: Timestamp) {
        self.each(|registry| {
            if let Some(streams_of) = registry.sessions().get_mut(&session) {
                streams_of.check_at = until;
            }
        });
    }

    /// Notifies the streams of a session that has expired.
    fn end(&self, session: SessionId) {
        self.each(|registry| registry.notify(session, |_| true));
    }

    fn each(&self, mut visit: impl FnMut(&StreamRegistry)) {
        let registries = self.registries.read();
        for registry in registries.iter() {
            visit(registry);
        }
    }
}

impl StreamRegistry {
    /// Adds a stream. If its session has ended already, the stream is notified at once.
    pub fn open(self: &Arc<Self>, opener: Opener<'_>) -> OpenStream {
        let (notify, over) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let session = opener.session.id;
        let waiter = Waiter {
            id,
            version: opener.version,
            notify,
        };
        match self.sessions().entry(session) {
            Entry::Occupied(mut streams_of) => streams_of.get_mut().streams.push(waiter),
            Entry::Vacant(place) => {
                place.insert(SessionStreams {
                    key: opener.session.clone(),
                    check_at: opener.expires_at,
                    streams: vec![waiter],
                });
            }
        }
        if let Some(effect) = self.liveness.effect(session) {
            self.notify(session, |version| ends(effect, version));
        }
        OpenStream {
            registry: Arc::clone(self),
            session,
            id,
            over: Some(over),
        }
    }

    /// The revocations in force.
    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    fn notify(&self, session: SessionId, is_over: impl Fn(Option<AccountVersion>) -> bool) {
        let mut sessions = self.sessions();
        let Some(streams_of) = sessions.get_mut(&session) else {
            return;
        };
        let over = streams_of
            .streams
            .extract_if(.., |waiter| is_over(waiter.version));
        for waiter in over {
            // A stream that is being dropped at this moment needs no notification.
            waiter.notify.send(()).ok();
        }
        if streams_of.streams.is_empty() {
            sessions.remove(&session);
        }
    }

    fn remove(&self, session: SessionId, id: u64) {
        let mut sessions = self.sessions();
        if let Some(streams_of) = sessions.get_mut(&session) {
            streams_of.streams.retain(|waiter| waiter.id != id);
            if streams_of.streams.is_empty() {
                sessions.remove(&session);
            }
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, SessionStreams>> {
        self.sessions.lock()
    }
}

/// Whether a revocation ends a stream that was opened with the roles of this version, or with any (none).
fn ends(effect: RevocationEffect, version: Option<AccountVersion>) -> bool {
    match version {
        Some(_) => !effect.admits(version),
        None => effect == RevocationEffect::Ended,
    }
}

impl OpenStream {
    /// Ready when the session has ended, also when polled again.
    pub fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(over) = &mut self.over {
            // An error means that the registry was dropped, at the end of the process.
            ready!(Pin::new(over).poll(cx)).ok();
            self.over = None;
        }
        Poll::Ready(())
    }

    /// Whether the session has ended. A task that waits for the end is still woken.
    pub fn is_over(&mut self) -> bool {
        if let Some(over) = &mut self.over {
            if over.try_recv() == Err(TryRecvError::Empty) {
                return false;
            }
            self.over = None;
        }
        true
    }

    /// Waits until the session has ended.
    pub async fn over(&mut self) {
        poll_fn(|cx| self.poll_over(cx)).await;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.registry.remove(self.session, self.id);
    }
}

impl Service {
    /// The open streams.
    pub fn streams(&self) -> &Arc<Streams> {
        &self.parts.streams
    }

    /// Ends the streams of sessions that expire, until dropped.
    pub async fn watch_streams(&self) {
        let mut checks = interval(CHECK_EVERY);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            checks.tick().await;
            for key in self.parts.streams.due(self.now()) {
                match self.parts.store.session(&key).await {
                    Ok(Some(session)) => {
                        self.parts.streams.check_again(key.id, session.ends_at());
                    }
                    Ok(None) => self.parts.streams.end(key.id),
                    // Checked again at the next interval. The stream continues until then.
                    Err(error) => {
                        tracing::debug!(%error, "the session of a stream could not be checked");
                    }
                }
            }
        }
    }
}
