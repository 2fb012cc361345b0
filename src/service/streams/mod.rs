//! Open streams and the sessions they belong to: switched connections, event streams, gRPC streams, any
//! answer that goes on for longer than its head.
//!
//! What always holds: a stream is in the books before the revocations are asked about its session,
//! and a revocation is in force before the books are searched. So a stream of an ended session is
//! told, whichever of the two came first. A refresh tells nobody.
//!
//! Each worker keeps books of its own ([`Desk`]); only ending sessions and counting their streams
//! look at all of them. A session whose time may have run out is looked up in the store, never
//! before the access token that opened its stream has expired: no session ends by time before that.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::{MissedTickBehavior, interval};

use crate::model::revocation::{Revocation, Verdict};
use crate::model::session::SessionKey;
use crate::model::user::AccountVersion;
use crate::service::Service;
use crate::service::liveness::Liveness;
use crate::store::SessionStore as _;
use crate::types::ids::SessionId;
use crate::types::time::Timestamp;

/// How often sessions are looked for whose time may have run out.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// All open streams of the process.
#[derive(Debug)]
pub struct Streams {
    liveness: Arc<Liveness>,
    desks: RwLock<Vec<Arc<Desk>>>,
}

/// The open streams of one worker.
#[derive(Debug)]
pub struct Desk {
    liveness: Arc<Liveness>,
    next: AtomicU64,
    sessions: Mutex<HashMap<SessionId, Seat>>,
}

/// The open streams of one session on one worker.
#[derive(Debug)]
struct Seat {
    key: SessionKey,
    /// Until then the session cannot have run out.
    look_at: Timestamp,
    streams: Vec<Told>,
}

/// How a stream is told that its session is over.
#[derive(Debug)]
struct Told {
    id: u64,
    version: Option<AccountVersion>,
    tell: oneshot::Sender<()>,
}

/// A stream that is in the books; dropping it takes it out.
#[derive(Debug)]
pub struct OpenStream {
    desk: Arc<Desk>,
    session: SessionId,
    id: u64,
    /// None once it was told.
    over: Option<oneshot::Receiver<()>>,
}

/// On whose behalf a stream is opened.
#[derive(Debug, Clone, Copy)]
pub struct Opener<'a> {
    /// The session.
    pub session: &'a SessionKey,
    /// The version of the account that the access token states, with whose roles the stream ends; none
    /// when it ends with its session only.
    pub version: Option<AccountVersion>,
    /// When that token expires.
    pub expires_at: Timestamp,
}

impl Streams {
    /// No streams, of sessions that `liveness` speaks of.
    pub fn new(liveness: Arc<Liveness>) -> Self {
        Self {
            liveness,
            desks: RwLock::default(),
        }
    }

    /// Books for one more worker.
    pub fn desk(&self) -> Arc<Desk> {
        let desk = Arc::new(Desk {
            liveness: Arc::clone(&self.liveness),
            next: AtomicU64::new(0),
            sessions: Mutex::default(),
        });
        let mut desks = self.desks.write().unwrap_or_else(PoisonError::into_inner);
        desks.push(Arc::clone(&desk));
        desk
    }

    /// Tells the streams that a revocation speaks of. The revocation must be in force already.
    pub fn apply(&self, revocation: &Revocation) {
        self.each(|desk| {
            desk.tell(revocation.session, |version| {
                ends(revocation.verdict, version)
            });
        });
    }

    /// Tells the streams of every session whose id was made up to this moment. That end must be in
    /// force already.
    pub fn end_through(&self, moment: Timestamp) {
        self.each(|desk| {
            let sessions: Vec<SessionId> = desk.sessions().keys().copied().collect();
            for session in sessions.into_iter().filter(|id| id.made_at() <= moment) {
                desk.tell(session, |_| true);
            }
        });
    }

    /// How many streams a session has open.
    pub fn count(&self, session: SessionId) -> u32 {
        let mut count = 0_usize;
        self.each(|desk| {
            count += desk
                .sessions()
                .get(&session)
                .map_or(0, |seat| seat.streams.len());
        });
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// How many streams are open.
    pub fn len(&self) -> usize {
        let mut count = 0;
        self.each(|desk| {
            let sessions = desk.sessions();
            count += sessions.values().map(|s| s.streams.len()).sum::<usize>();
        });
        count
    }

    /// Whether no stream is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sessions with open streams that may have run out at `now`.
    fn due(&self, now: Timestamp) -> Vec<SessionKey> {
        let mut due = Vec::new();
        self.each(|desk| {
            let sessions = desk.sessions();
            let late = sessions.values().filter(|seat| seat.look_at <= now);
            due.extend(late.map(|seat| seat.key.clone()));
        });
        due.sort_unstable_by_key(|key| key.id);
        due.dedup_by_key(|key| key.id);
        due
    }

    /// A session lives until `until` at least.
    fn look_again(&self, session: SessionId, until: Timestamp) {
        self.each(|desk| {
            if let Some(seat) = desk.sessions().get_mut(&session) {
                seat.look_at = until;
            }
        });
    }

    /// A session has run out.
    fn end(&self, session: SessionId) {
        self.each(|desk| desk.tell(session, |_| true));
    }

    fn each(&self, mut visit: impl FnMut(&Desk)) {
        let desks = self.desks.read().unwrap_or_else(PoisonError::into_inner);
        for desk in desks.iter() {
            visit(desk);
        }
    }
}

impl Desk {
    /// Puts a stream into the books. If its session is over already, it is told at once.
    pub fn open(self: &Arc<Self>, opener: Opener<'_>) -> OpenStream {
        let (tell, over) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let session = opener.session.id;
        let told = Told {
            id,
            version: opener.version,
            tell,
        };
        match self.sessions().entry(session) {
            Entry::Occupied(mut seat) => seat.get_mut().streams.push(told),
            Entry::Vacant(place) => {
                place.insert(Seat {
                    key: opener.session.clone(),
                    look_at: opener.expires_at,
                    streams: vec![told],
                });
            }
        }
        if let Some(verdict) = self.liveness.verdict(session) {
            self.tell(session, |version| ends(verdict, version));
        }
        OpenStream {
            desk: Arc::clone(self),
            session,
            id,
            over: Some(over),
        }
    }

    /// Who is no longer admitted.
    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    fn tell(&self, session: SessionId, is_over: impl Fn(Option<AccountVersion>) -> bool) {
        let mut sessions = self.sessions();
        let Some(seat) = sessions.get_mut(&session) else {
            return;
        };
        let over = seat.streams.extract_if(.., |told| is_over(told.version));
        for told in over {
            // A stream that is being dropped at this moment does not hear it, and need not.
            told.tell.send(()).ok();
        }
        if seat.streams.is_empty() {
            sessions.remove(&session);
        }
    }

    fn strike(&self, session: SessionId, id: u64) {
        let mut sessions = self.sessions();
        if let Some(seat) = sessions.get_mut(&session) {
            seat.streams.retain(|told| told.id != id);
            if seat.streams.is_empty() {
                sessions.remove(&session);
            }
        }
    }

    /// Entries are whole at any moment, so a poisoned lock still guards sound books.
    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Seat>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a verdict ends a stream that was opened with the roles of this version, or (none) with any.
fn ends(verdict: Verdict, version: Option<AccountVersion>) -> bool {
    match version {
        Some(_) => !verdict.admits(version),
        None => verdict == Verdict::Ended,
    }
}

impl OpenStream {
    /// Ready when the session is over, however often it is asked.
    pub fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(over) = &mut self.over {
            // An error means that the books are gone, and with them the process.
            ready!(Pin::new(over).poll(cx)).ok();
            self.over = None;
        }
        Poll::Ready(())
    }

    /// Whether the session is over. Leaves whoever waits for that to be woken.
    pub fn is_over(&mut self) -> bool {
        if let Some(over) = &mut self.over {
            if over.try_recv() == Err(TryRecvError::Empty) {
                return false;
            }
            self.over = None;
        }
        true
    }

    /// Waits until the session is over.
    pub async fn over(&mut self) {
        poll_fn(|cx| self.poll_over(cx)).await;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.desk.strike(self.session, self.id);
    }
}

impl Service {
    /// The open streams.
    pub fn streams(&self) -> &Arc<Streams> {
        &self.parts.streams
    }

    /// Ends the streams of sessions whose time runs out, until dropped.
    pub async fn watch_streams(&self) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            for key in self.parts.streams.due(self.now()) {
                match self.parts.store.session(&key).await {
                    Ok(Some(session)) => {
                        self.parts.streams.look_again(key.id, session.ends_at());
                    }
                    Ok(None) => self.parts.streams.end(key.id),
                    // Asked again at the next look; what was admitted goes on until then.
                    Err(error) => tracing::debug!(%error, "a stream's session was not found out"),
                }
            }
        }
    }
}
