//! How do sessions end in an embedded store? Removed from every table, with a revocation in the same step.

use crate::model::revocation::{Revocation, RevocationEffect};
use crate::model::session::EndReason;
use crate::model::user::UserKey;
use crate::store::embedded::keys;
use crate::store::embedded::records::StoredSession;
use crate::store::embedded::transaction::Transaction;
use crate::store::{Route, StoreError};
use crate::types::ids::SessionId;

impl Transaction<'_> {
    /// Ends the sessions of a user: all, or all except one.
    pub(crate) fn end_user(
        &mut self,
        user: &UserKey,
        kept: Option<SessionId>,
        why: EndReason,
    ) -> Result<Vec<Revocation>, StoreError> {
        let all = self.sessions_of(Route::of(user))?;
        self.end_all(all, kept, Some(why), None)
    }

    /// Ends these sessions except the kept one. Expired sessions are only removed.
    pub(crate) fn end_all(
        &mut self,
        sessions: Vec<StoredSession>,
        kept: Option<SessionId>,
        why: Option<EndReason>,
        evicted_by: Option<SessionId>,
    ) -> Result<Vec<Revocation>, StoreError> {
        let over = self.over()?;
        let mut revocations = Vec::new();
        for stored in sessions {
            if Some(stored.session.key.id) == kept {
                continue;
            }
            if stored.session.is_expired(self.now) {
                self.remove_session(&stored)?;
            } else if !over.is_ended(&stored.session) {
                revocations.push(self.end_session(&stored, why, evicted_by)?);
            }
        }
        Ok(revocations)
    }

    pub(crate) fn end_session(
        &mut self,
        stored: &StoredSession,
        why: Option<EndReason>,
        evicted_by: Option<SessionId>,
    ) -> Result<Revocation, StoreError> {
        self.remove_session(stored)?;
        let key = &stored.session.key;
        self.revoke(key, RevocationEffect::Ended, why, evicted_by)
    }

    /// Removes a session from every table.
    pub(crate) fn remove_session(&mut self, stored: &StoredSession) -> Result<(), StoreError> {
        let key = &stored.session.key;
        let route = Route::of(&key.owner);
        let record = keys::session(route, key.id);
        self.unexpire(stored.check_at, &record);
        self.delete(keys::session_index(key.id, route));
        self.touches.settle(&record);
        self.delete(record);
        self.count(|totals| totals.sessions = totals.sessions.saturating_sub(1))?;
        Ok(())
    }
}
