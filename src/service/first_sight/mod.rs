//! Does the store agree with an access token? They are compared once, before a worker first accepts the token.
//!
//! Afterwards the revocations in memory are enough. A check by one worker applies to all workers, so a
//! token in use stays accepted on every worker while the store is not available. Parallel requests with
//! one token share one read. Ended sessions are cached for a moment, so that a token that is sent
//! repeatedly does not cost a read each time. If the store does not answer, the caller gets an error; no
//! token is accepted without the check.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::OnceCell;

use crate::crypto::digest::sha256;
use crate::model::session::SessionKey;
use crate::rules::first_sight::compare;
use crate::store::{AccountStore as _, AnyStore};
use crate::telemetry::metrics::{Event, Events};
use crate::types::time::{Clock, Timestamp};

pub use crate::rules::first_sight::{FirstSight, Stated};

/// How long an ended session is cached.
const REMEMBERED: Duration = Duration::from_secs(10);

/// The largest number of cached ended sessions. Above it the cache is cleared, which costs a read for
/// each.
const MOST_REMEMBERED: usize = 4_096;

/// The largest number of checked tokens in the cache. Above it the cache is cleared, which costs a read
/// for each token that another worker sees for the first time.
const MOST_COMPARED: usize = 32_768;

/// Compares tokens with the store, for all workers.
#[derive(Debug)]
pub struct FirstSights {
    store: Arc<AnyStore>,
    clock: Arc<dyn Clock>,
    events: Arc<Events>,
    max_ahead: u32,
    reads: Mutex<HashMap<Digest, Arc<Read>>>,
    /// Tokens that agreed with the store, until they expire.
    compared: Mutex<HashMap<Digest, Timestamp>>,
    ended: Mutex<HashMap<SessionKey, Timestamp>>,
}

/// The SHA-256 of a token.
type Digest = [u8; 32];

/// One read and its outcome, for all callers that wait for it.
type Read = OnceCell<Result<FirstSight, Unanswered>>;

/// The store gave no outcome, so it is unknown whether the session is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store has no answer")]
pub struct Unanswered;

impl FirstSights {
    /// Comparisons with this store. `max_ahead` is the number of generations that a failover of the
    /// store may lose.
    pub fn new(
        store: Arc<AnyStore>,
        clock: Arc<dyn Clock>,
        events: Arc<Events>,
        max_ahead: u32,
    ) -> Self {
        Self {
            store,
            clock,
            events,
            max_ahead,
            reads: Mutex::default(),
            compared: Mutex::default(),
            ended: Mutex::default(),
        }
    }

    /// Whether the store agrees with a verified token with these claims and this expiry. Waits at most
    /// for the deadline of the store.
    ///
    /// The outcome is that of a read that began after the token was made. A caller that gets
    /// [`FirstSight::Alive`] must check the revocations afterwards: the session may have ended since the
    /// read.
    pub async fn of(
        &self,
        token: &[u8],
        expires_at: Timestamp,
        stated: Stated<'_>,
    ) -> Result<FirstSight, Unanswered> {
        let digest = sha256(&[token]);
        if self.was_compared(&digest) {
            return Ok(FirstSight::Alive);
        }
        if self.is_known_to_be_over(stated.session) {
            return Ok(FirstSight::Ended);
        }
        let shared = Shared::join(self, digest);
        let outcome = *shared.read.get_or_init(|| self.read(stated)).await;
        if outcome == Ok(FirstSight::Alive) {
            self.remember_compared(digest, expires_at);
        }
        outcome
    }

    async fn read(&self, stated: Stated<'_>) -> Result<FirstSight, Unanswered> {
        let held = match self.store.session_with_user(stated.session).await {
            Ok(held) => held,
            Err(error) => {
                tracing::debug!(%error, "a token could not be compared with the store");
                self.events.count(Event::FirstSightUnanswered);
                return Err(Unanswered);
            }
        };
        let held = held.as_ref().map(|(session, user)| (session, user));
        let outcome = compare(stated, held, self.max_ahead);
        self.events.count(match outcome {
            FirstSight::Alive => Event::FirstSightAlive,
            FirstSight::Ended => Event::FirstSightEnded,
            FirstSight::Stale => Event::FirstSightStale,
        });
        // Only sessions that have ended for good: an account that is enabled again has new sessions.
        if outcome == FirstSight::Ended && held.is_none() {
            self.remember_end(stated.session);
        }
        Ok(outcome)
    }

    fn is_known_to_be_over(&self, session: &SessionKey) -> bool {
        let now = self.clock.now();
        lock(&self.ended)
            .get(session)
            .is_some_and(|until| now < *until)
    }

    /// Removes expired entries.
    pub(super) fn housekeep(&self) {
        let now = self.clock.now();
        keep_live(&mut lock(&self.compared), now);
        keep_live(&mut lock(&self.ended), now);
    }

    fn was_compared(&self, token: &Digest) -> bool {
        lock(&self.compared).contains_key(token)
    }

    fn remember_compared(&self, token: Digest, expires_at: Timestamp) {
        let mut compared = lock(&self.compared);
        self.make_room(&mut compared, MOST_COMPARED);
        compared.insert(token, expires_at);
    }

    fn remember_end(&self, session: &SessionKey) {
        let mut ended = lock(&self.ended);
        self.make_room(&mut ended, MOST_REMEMBERED);
        ended.insert(session.clone(), self.clock.now().plus(REMEMBERED));
    }

    /// Removes expired entries, or all entries if that is not enough.
    fn make_room<K: Eq + Hash>(&self, table: &mut HashMap<K, Timestamp>, most: usize) {
        if table.len() >= most {
            let now = self.clock.now();
            keep_live(table, now);
        }
        if table.len() >= most {
            table.clear();
        }
    }
}

/// A part in a read. The read is removed when its last part is dropped.
struct Shared<'a> {
    sights: &'a FirstSights,
    of: Digest,
    read: Arc<Read>,
}

impl<'a> Shared<'a> {
    fn join(sights: &'a FirstSights, of: Digest) -> Self {
        let read = Arc::clone(lock(&sights.reads).entry(of).or_default());
        Self { sights, of, read }
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        // A finished read is not shared: the token is compared again. An unfinished one has callers that
        // wait.
        let mut reads = lock(&self.sights.reads);
        let is_mine = reads
            .get(&self.of)
            .is_some_and(|read| Arc::ptr_eq(read, &self.read));
        // Two references: that of the table and this one. All are created and dropped under the lock.
        if is_mine && (self.read.initialized() || Arc::strong_count(&self.read) <= 2) {
            reads.remove(&self.of);
        }
        self.read = Arc::default();
    }
}

/// Keeps the entries that have not expired.
fn keep_live<K: Eq + Hash>(table: &mut HashMap<K, Timestamp>, now: Timestamp) {
    table.retain(|_, until| now < *until);
    if table.capacity() > 4 * table.len().max(64) {
        table.shrink_to_fit();
    }
}

fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock()
}
