//! A store as it is often written: read, think, write back. It passes everything that one caller
//! at a time can ask, and loses every race. The contract is only worth something if it notices.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::task::yield_now;

use crate::model::revocation::{Revocation, Verdict};
use crate::model::session::{EndReason, Generation, Session, SessionKey};
use crate::model::user::UserKey;
use crate::rules::rotation::{Decision, decide};
use crate::store::contract::REVOCATION_LIFE;
use crate::store::{
    Cap, Created, LoginProof, RevocationLog, RotatePolicy, Rotation, Route, Scope, Seen,
    SessionStore, StoreError,
};
use crate::types::ids::SessionId;
use crate::types::time::Clock;

/// The store.
#[derive(Debug)]
pub(crate) struct Naive {
    sessions: Mutex<HashMap<SessionKey, Session>>,
    log: Mutex<Vec<Revocation>>,
    clock: Arc<dyn Clock>,
}

impl Naive {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            sessions: Mutex::default(),
            log: Mutex::default(),
            clock,
        }
    }

    /// As over a network: others run meanwhile.
    async fn read(&self, key: &SessionKey) -> Option<Session> {
        let found = self.sessions.lock().unwrap().get(key).cloned();
        yield_now().await;
        found
    }

    async fn write(&self, session: Session) {
        yield_now().await;
        let mut sessions = self.sessions.lock().unwrap();
        sessions.insert(session.key.clone(), session);
    }

    fn remove(&self, key: &SessionKey) -> Revocation {
        self.sessions.lock().unwrap().remove(key);
        let revocation = Revocation {
            session: key.id,
            verdict: Verdict::Ended,
            until: self.clock.now().plus(REVOCATION_LIFE),
        };
        self.log.lock().unwrap().push(revocation);
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
                Decision::Reuse => Rotation::Reused(self.remove(key)),
                Decision::Expired => {
                    self.sessions.lock().unwrap().remove(key);
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
        let sessions = self.sessions.lock().unwrap();
        let mut all = sessions.values();
        Ok(all
            .find(|s| s.key.id == id && Route::of(&s.key.owner) == route)
            .cloned())
    }

    async fn sessions(&self, user: &UserKey) -> Result<Vec<Session>, StoreError> {
        let sessions = self.sessions.lock().unwrap();
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
        Ok(keys.iter().map(|key| self.remove(key)).collect())
    }

    async fn find_session(&self, id: SessionId) -> Result<Option<SessionKey>, StoreError> {
        let sessions = self.sessions.lock().unwrap();
        Ok(sessions.keys().find(|key| key.id == id).cloned())
    }

    async fn all_sessions(
        &self,
        _after: Option<SessionKey>,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError> {
        let sessions = self.sessions.lock().unwrap();
        Ok(sessions.values().take(limit).cloned().collect())
    }
}

impl Naive {
    fn keys_of(&self, user: &UserKey) -> Vec<SessionKey> {
        let sessions = self.sessions.lock().unwrap();
        sessions
            .keys()
            .filter(|key| key.owner == *user)
            .cloned()
            .collect()
    }
}

impl RevocationLog for Naive {
    async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        Ok(self.log.lock().unwrap().clone())
    }
}
