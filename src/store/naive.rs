//! Does the contract suite detect an incorrect store? This one reads, computes and writes back, and it
//! publishes revocations separately from the log.
//!
//! It passes every case with one caller at a time, fails every race, and breaks every promise of the
//! revocation feed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::task::{JoinSet, yield_now};

use crate::model::revocation::{Revocation, RevocationEffect};
use crate::model::session::{EndReason, Generation, Session, SessionKey};
use crate::model::user::UserKey;
use crate::rules::rotation::{Decision, decide};
use crate::store::contract::REVOCATION_LIFE;
use crate::store::contract::feed::LosesEvents;
use crate::store::{
    Cap, Created, FeedEvent, FeedPosition, Freshness, LoginProof, RevocationFeed,
    RevocationSnapshot, RevocationSubscriber, RotatePolicy, Rotation, Route, Scope, Seen,
    SessionStore, StoreError,
};
use crate::types::ids::SessionId;
use crate::types::time::Clock;

/// The store.
pub(crate) struct Naive {
    sessions: Mutex<HashMap<SessionKey, Session>>,
    log: Mutex<Vec<Revocation>>,
    publisher: Arc<Publisher>,
    delivery: Delivery,
    deliveries: Mutex<JoinSet<()>>,
    clock: Arc<dyn Clock>,
}

/// When a revocation is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Before it is in the log.
    Early,
    /// By a task that the call does not wait for.
    Late,
}

/// Keeps the last subscriber only.
#[derive(Default)]
struct Publisher {
    subscriber: Mutex<Option<Arc<dyn RevocationSubscriber>>>,
    position: AtomicU64,
    loses: AtomicBool,
}

impl Publisher {
    fn publish(&self, revocation: Revocation) {
        let last = self.position.fetch_add(1, Ordering::Relaxed);
        let at = FeedPosition(u128::from(last) + 1);
        if self.loses.swap(false, Ordering::Relaxed) {
            return;
        }
        if let Some(subscriber) = &*self.subscriber.lock() {
            let revocations = &[revocation];
            subscriber.deliver(&FeedEvent::Revoked { at, revocations });
        }
    }
}

impl Naive {
    pub(crate) fn new(clock: Arc<dyn Clock>, delivery: Delivery) -> Self {
        Self {
            sessions: Mutex::default(),
            log: Mutex::default(),
            publisher: Arc::default(),
            delivery,
            deliveries: Mutex::default(),
            clock,
        }
    }

    /// Yields as a call over a network would, so that other callers run meanwhile.
    async fn read(&self, key: &SessionKey) -> Option<Session> {
        let found = self.sessions.lock().get(key).cloned();
        yield_now().await;
        found
    }

    async fn write(&self, session: Session) {
        yield_now().await;
        let mut sessions = self.sessions.lock();
        sessions.insert(session.key.clone(), session);
    }

    async fn remove(&self, key: &SessionKey) -> Revocation {
        self.sessions.lock().remove(key);
        let revocation = Revocation {
            session: key.id,
            effect: RevocationEffect::Ended,
            until: self.clock.now().plus(REVOCATION_LIFE),
        };
        if self.delivery == Delivery::Early {
            self.publisher.publish(revocation);
            yield_now().await;
        }
        let mut log = self.log.lock();
        log.push(revocation);
        if self.delivery == Delivery::Late {
            let publisher = Arc::clone(&self.publisher);
            // The delay of the network varies.
            let delay = if log.len().is_multiple_of(2) { 1 } else { 20 };
            self.deliveries.lock().spawn(async move {
                for _ in 0..delay {
                    yield_now().await;
                }
                publisher.publish(revocation);
            });
        }
        revocation
    }
}

impl SessionStore for Naive {
    async fn create(
        &self,
        session: Session,
        _cap: Cap,
        _proof: Option<LoginProof>,
    ) -> Result<Created, StoreError> {
        self.write(session).await;
        Ok(Created::Stored { evicted: vec![] })
    }

    async fn rotate(
        &self,
        key: &SessionKey,
        presented: Generation,
        policy: RotatePolicy,
        seen: Seen,
    ) -> Result<Rotation, StoreError> {
        let Some(mut session) = self.read(key).await else {
            return Ok(Rotation::Gone);
        };
        let now = self.clock.now();
        Ok(
            match decide(&session, presented, policy.grace, policy.max_ahead, now) {
                Decision::Repeat => Rotation::Replayed(session),
                Decision::Reuse => Rotation::Reused(self.remove(key).await),
                Decision::Expired => {
                    self.sessions.lock().remove(key);
                    Rotation::Expired
                }
                step @ (Decision::Advance | Decision::Ahead { .. }) => {
                    session.generation = presented.next();
                    session.rotated_at = now;
                    session.touch(now, seen.address);
                    self.write(session.clone()).await;
                    match step {
                        Decision::Ahead { lost } => Rotation::Ahead { session, lost },
                        _ => Rotation::Rotated(session),
                    }
                }
            },
        )
    }

    async fn session(&self, key: &SessionKey) -> Result<Option<Session>, StoreError> {
        let found = self.read(key).await;
        Ok(found.filter(|session| !session.is_expired(self.clock.now())))
    }

    async fn session_by_route(
        &self,
        route: Route,
        id: SessionId,
    ) -> Result<Option<Session>, StoreError> {
        let sessions = self.sessions.lock();
        let mut all = sessions.values();
        Ok(all
            .find(|s| s.key.id == id && Route::of(&s.key.owner) == route)
            .cloned())
    }

    async fn sessions(&self, user: &UserKey) -> Result<Vec<Session>, StoreError> {
        let sessions = self.sessions.lock();
        let mine = sessions
            .values()
            .filter(|session| session.key.owner == *user);
        Ok(mine.cloned().collect())
    }

    async fn touch(&self, key: &SessionKey, seen: Seen) -> Result<(), StoreError> {
        if let Some(mut session) = self.read(key).await {
            session.touch(self.clock.now(), seen.address);
            self.write(session).await;
        }
        Ok(())
    }

    async fn end(&self, scope: &Scope, _why: EndReason) -> Result<Vec<Revocation>, StoreError> {
        let keys = match scope {
            Scope::One(key) => self.read(key).await.map(|s| s.key).into_iter().collect(),
            Scope::AllOf(user) => self.keys_of(user),
            Scope::AllExcept(user, kept) => {
                let mut keys = self.keys_of(user);
                keys.retain(|key| key.id != *kept);
                keys
            }
        };
        let mut ended = Vec::new();
        for key in keys {
            ended.push(self.remove(&key).await);
        }
        Ok(ended)
    }

    async fn find_session(&self, id: SessionId) -> Result<Option<SessionKey>, StoreError> {
        let sessions = self.sessions.lock();
        Ok(sessions.keys().find(|key| key.id == id).cloned())
    }

    async fn all_sessions(
        &self,
        _after: Option<SessionKey>,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError> {
        let sessions = self.sessions.lock();
        Ok(sessions.values().take(limit).cloned().collect())
    }
}

impl Naive {
    fn keys_of(&self, user: &UserKey) -> Vec<SessionKey> {
        let sessions = self.sessions.lock();
        sessions
            .keys()
            .filter(|key| key.owner == *user)
            .cloned()
            .collect()
    }
}

impl RevocationFeed for Naive {
    async fn subscribe(&self, subscriber: Arc<dyn RevocationSubscriber>) -> Result<(), StoreError> {
        let snapshot = self.revocations().await?;
        subscriber.deliver(&FeedEvent::Snapshot(&snapshot));
        yield_now().await;
        *self.publisher.subscriber.lock() = Some(subscriber);
        Ok(())
    }

    async fn revocations(&self) -> Result<RevocationSnapshot, StoreError> {
        Ok(RevocationSnapshot {
            at: FeedPosition(self.publisher.position.load(Ordering::Relaxed).into()),
            revocations: self.log.lock().clone(),
            ended_through: None,
        })
    }

    fn freshness(&self) -> Freshness {
        Freshness::Current
    }
}

impl LosesEvents for Naive {
    fn lose_events(&self) {
        self.publisher.loses.store(true, Ordering::Relaxed);
    }
}
