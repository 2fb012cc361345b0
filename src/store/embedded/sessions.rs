//! How does an embedded store create, rotate, find and list sessions?

use std::cmp::Reverse;

use crate::model::revocation::{Revocation, RevocationEffect};
use crate::model::session::{EndReason, Generation, Session, SessionKey};
use crate::model::user::UserKey;
use crate::rules::rotation::{Decision, decide};
use crate::rules::session::evicted;
use crate::store::embedded::Embedded;
use crate::store::embedded::keys;
use crate::store::embedded::ledger::{Entry, KeyRange, Order};
use crate::store::embedded::records::{StoredRevocation, StoredSession};
use crate::store::embedded::touches::Touch;
use crate::store::embedded::transaction::Transaction;
use crate::store::{
    Cap, Created, LoginProof, RotatePolicy, Rotation, Route, Scope, Seen, SessionStore, StoreError,
    WhenFull, codec,
};
use crate::types::ids::SessionId;

/// The number of records that one step of a listing reads. Other operations wait for one step at most.
const STEP: usize = 512;

impl SessionStore for Embedded {
    async fn create(
        &self,
        session: Session,
        cap: Cap,
        proof: Option<LoginProof>,
    ) -> Result<Created, StoreError> {
        self.run(move |view| view.create_session(session, cap, proof.as_ref()))
            .await
    }

    async fn rotate(
        &self,
        key: &SessionKey,
        presented: Generation,
        policy: RotatePolicy,
        seen: Seen,
    ) -> Result<Rotation, StoreError> {
        let key = key.clone();
        self.run(move |view| view.rotate_session(&key, presented, policy, seen))
            .await
    }

    async fn session(&self, key: &SessionKey) -> Result<Option<Session>, StoreError> {
        let key = key.clone();
        self.run(move |view| {
            let found = view.live_session(&keys::session_of(&key))?;
            Ok(found.map(|s| s.session).filter(|s| s.key == key))
        })
        .await
    }

    async fn session_by_route(
        &self,
        route: Route,
        id: SessionId,
    ) -> Result<Option<Session>, StoreError> {
        self.run(move |view| {
            let found = view.live_session(&keys::session(route, id))?;
            Ok(found.map(|s| s.session))
        })
        .await
    }

    async fn sessions(&self, user: &UserKey) -> Result<Vec<Session>, StoreError> {
        let route = Route::of(user);
        self.run(move |view| {
            let over = view.over()?;
            let mut live: Vec<_> = view
                .sessions_of(route)?
                .into_iter()
                .map(|stored| stored.session)
                .filter(|session| !over.includes(session))
                .collect();
            live.sort_by_key(|session| Reverse((session.created_at, session.key.id)));
            Ok(live)
        })
        .await
    }

    async fn touch(&self, key: &SessionKey, seen: Seen) -> Result<(), StoreError> {
        let record = keys::session_of(key);
        self.run(move |view| {
            if view.live_session(&record)?.is_some() {
                let touch = Touch {
                    at: view.now,
                    address: seen.address,
                };
                view.touches.note(record, touch);
            }
            Ok(())
        })
        .await
    }

    async fn end(&self, scope: &Scope, why: EndReason) -> Result<Vec<Revocation>, StoreError> {
        let scope = scope.clone();
        self.run(move |view| match scope {
            Scope::One(key) => {
                let found = view.stored_session(&keys::session_of(&key))?;
                view.end_all(found.into_iter().collect(), None, Some(why), None)
            }
            Scope::AllOf(user) => view.end_user(&user, None, why),
            Scope::AllExcept(user, kept) => view.end_user(&user, Some(kept), why),
        })
        .await
    }

    async fn find_session(&self, id: SessionId) -> Result<Option<SessionKey>, StoreError> {
        self.run(move |view| {
            let entries = view.scan(&keys::session_index_of(id), Order::Ascending, 16)?;
            for entry in entries {
                let Some(record) = keys::indexed_session(&entry.key) else {
                    continue;
                };
                if let Some(found) = view.live_session(&record)? {
                    return Ok(Some(found.session.key));
                }
            }
            Ok(None)
        })
        .await
    }

    async fn all_sessions(
        &self,
        after: Option<SessionKey>,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError> {
        let mut rest = keys::sessions();
        if let Some(after) = after {
            rest = rest.after(&keys::session_of(&after));
        }
        let mut found = Vec::new();
        while found.len() < limit && !rest.is_empty() {
            let (range, wanted) = (rest, limit - found.len());
            let (page, next) = self
                .run(move |view| view.sessions_step(range, wanted))
                .await?;
            found.extend(page);
            rest = next;
        }
        Ok(found)
    }
}

impl Transaction<'_> {
    fn create_session(
        &mut self,
        session: Session,
        cap: Cap,
        proof: Option<&LoginProof>,
    ) -> Result<Created, StoreError> {
        let route = Route::of(&session.key.owner);
        let id = session.key.id;
        let record = keys::session(route, id);
        // A session that has ended was created before, too: it is not created again.
        if self.has(&record)? || self.was_ended(route, id)? {
            let evicted = self.evicted_by(route, id)?;
            return Ok(Created::Stored { evicted });
        }
        if self.over()?.is_ended(&session) {
            return Ok(Created::Overtaken);
        }
        let account = match proof {
            None => None,
            Some(proof) => match self.account(&keys::account(&session.key.owner))? {
                Some(account) if account.version == proof.version => Some(account),
                _ => return Ok(Created::AccountChanged),
            },
        };
        let (live, expired) = self.split_expired(route)?;
        let max = usize::try_from(cap.max).unwrap_or(usize::MAX).max(1);
        if cap.when_full == WhenFull::Refuse && live.len() >= max {
            return Ok(Created::Full);
        }
        for stored in &expired {
            // Sessions that ended with all others are removed, and counted, by the step that clears
            // them.
            if stored.session.is_expired(self.now) {
                self.remove_session(stored)?;
            }
        }
        let evicted = self.evict(live, max, id)?;
        if let Some(account) = account {
            self.forget_failures(&account)?;
            if let Some(device) = session.device_id {
                self.remember_device(&account.key, device)?;
            }
        }
        self.store_session(session)?;
        Ok(Created::Stored { evicted })
    }

    /// Ends the sessions that must make room for a new one.
    fn evict(
        &mut self,
        live: Vec<StoredSession>,
        max: usize,
        new: SessionId,
    ) -> Result<Vec<Revocation>, StoreError> {
        let sessions: Vec<_> = live.iter().map(|stored| stored.session.clone()).collect();
        let leaving = evicted(&sessions, max);
        let leaving = live
            .into_iter()
            .filter(|stored| leaving.contains(&stored.session.key.id))
            .collect();
        self.end_all(leaving, None, Some(EndReason::Evicted), Some(new))
    }

    /// Adds a session to every table.
    fn store_session(&mut self, session: Session) -> Result<(), StoreError> {
        let route = Route::of(&session.key.owner);
        let record = keys::session(route, session.key.id);
        let check_at = session.ends_at();
        self.expire_at(check_at, &record)?;
        self.put(keys::session_index(session.key.id, route), &())?;
        self.put(record, &StoredSession { session, check_at })?;
        self.count(|totals| totals.sessions = totals.sessions.saturating_add(1))?;
        Ok(())
    }

    fn rotate_session(
        &mut self,
        key: &SessionKey,
        presented: Generation,
        policy: RotatePolicy,
        seen: Seen,
    ) -> Result<Rotation, StoreError> {
        let record = keys::session_of(key);
        let found = self.stored_session(&record)?;
        let over = self.over()?;
        let found = found.filter(|stored| stored.session.key == *key);
        let Some(mut stored) = found.filter(|stored| !over.is_ended(&stored.session)) else {
            return Ok(Rotation::Gone);
        };
        let now = self.now;
        match decide(
            &stored.session,
            presented,
            policy.grace,
            policy.max_ahead,
            now,
        ) {
            Decision::Repeat => Ok(Rotation::Replayed(stored.session)),
            Decision::Expired => {
                self.remove_session(&stored)?;
                Ok(Rotation::Expired)
            }
            Decision::Reuse => {
                let revocation = self.end_session(&stored, Some(EndReason::Reused), None)?;
                Ok(Rotation::Reused(revocation))
            }
            step @ (Decision::Advance | Decision::Ahead { .. }) => {
                stored.session.generation = presented.next();
                stored.session.rotated_at = now;
                stored.session.touch(now, seen.address);
                self.put(record.clone(), &stored)?;
                self.touches.settle(&record);
                let session = stored.session;
                Ok(match step {
                    Decision::Ahead { lost } => Rotation::Ahead { session, lost },
                    _ => Rotation::Rotated(session),
                })
            }
        }
    }

    /// Up to `limit` live sessions of a range, and the rest of the range. One step reads a bounded
    /// number of records, however many of them belong to ended sessions.
    fn sessions_step(
        &mut self,
        range: KeyRange,
        limit: usize,
    ) -> Result<(Vec<Session>, KeyRange), StoreError> {
        let over = self.over()?;
        let page = self.scan(&range, Order::Ascending, STEP)?;
        let is_last = page.len() < STEP;
        let mut rest = range;
        let mut found = Vec::new();
        for Entry { key, value } in &page {
            if found.len() == limit {
                return Ok((found, rest));
            }
            rest = rest.after(key);
            let mut stored: StoredSession = codec::decode(key, value)?;
            self.add_touch(key, &mut stored);
            if !over.includes(&stored.session) {
                found.push(stored.session);
            }
        }
        if is_last {
            rest.from.clone_from(&rest.to);
        }
        Ok((found, rest))
    }

    /// The session with this key, also if it has expired, with its recorded activity.
    pub(crate) fn stored_session(
        &mut self,
        record: &[u8],
    ) -> Result<Option<StoredSession>, StoreError> {
        let mut found = self.get(record)?;
        if let Some(stored) = &mut found {
            self.add_touch(record, stored);
        }
        Ok(found)
    }

    /// The session with this key, unless it has ended or expired.
    pub(crate) fn live_session(
        &mut self,
        record: &[u8],
    ) -> Result<Option<StoredSession>, StoreError> {
        let over = self.over()?;
        let found = self.stored_session(record)?;
        Ok(found.filter(|stored| !over.includes(&stored.session)))
    }

    /// All sessions of a user, also expired ones.
    pub(crate) fn sessions_of(&mut self, route: Route) -> Result<Vec<StoredSession>, StoreError> {
        let mut found: Vec<StoredSession> = self.all(keys::sessions_of(route))?;
        for stored in &mut found {
            let record = keys::session(route, stored.session.key.id);
            self.add_touch(&record, stored);
        }
        Ok(found)
    }

    /// The sessions of a user: the live ones, and those that have ended or expired.
    fn split_expired(
        &mut self,
        route: Route,
    ) -> Result<(Vec<StoredSession>, Vec<StoredSession>), StoreError> {
        let over = self.over()?;
        let all = self.sessions_of(route)?;
        Ok(all
            .into_iter()
            .partition(|stored| !over.includes(&stored.session)))
    }

    /// Writes the recorded activity of a session, if the session still exists.
    pub(crate) fn write_touch(&mut self, record: &[u8]) -> Result<(), StoreError> {
        if let Some(stored) = self.stored_session(record)? {
            self.put(record.to_vec(), &stored)?;
        }
        Ok(())
    }

    fn add_touch(&self, record: &[u8], stored: &mut StoredSession) {
        if let Some(touch) = self.touches.of(record) {
            stored.session.touch(touch.at, touch.address);
        }
    }

    fn was_ended(&mut self, route: Route, id: SessionId) -> Result<bool, StoreError> {
        let found: Option<StoredRevocation> = self.get(&keys::revocation(route, id))?;
        Ok(found.is_some_and(|stored| stored.revocation.effect == RevocationEffect::Ended))
    }

    fn evicted_by(&mut self, route: Route, id: SessionId) -> Result<Vec<Revocation>, StoreError> {
        let all: Vec<StoredRevocation> = self.all(keys::revocations_of(route))?;
        Ok(all
            .into_iter()
            .filter(|stored| stored.evicted_by == Some(id))
            .map(|stored| stored.revocation)
            .collect())
    }
}
