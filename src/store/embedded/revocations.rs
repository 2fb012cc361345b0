//! How is a revocation logged? As one record for each session, until every access token of it has
//! expired.

use crate::model::revocation::{Revocation, RevocationEffect};
use crate::model::session::{EndReason, SessionKey};
use crate::store::embedded::keys;
use crate::store::embedded::records::StoredRevocation;
use crate::store::embedded::transaction::Transaction;
use crate::store::{Route, StoreError};
use crate::types::ids::SessionId;

impl Transaction<'_> {
    /// Logs that access tokens of a session are no longer accepted, or must be refreshed. An existing
    /// entry is merged: an end is final, and the later moment applies.
    pub(crate) fn revoke(
        &mut self,
        key: &SessionKey,
        effect: RevocationEffect,
        why: Option<EndReason>,
        evicted_by: Option<SessionId>,
    ) -> Result<Revocation, StoreError> {
        let record = keys::revocation(Route::of(&key.owner), key.id);
        let until = self.now.plus(self.lives.revocation);
        let mut stored = StoredRevocation {
            revocation: Revocation {
                session: key.id,
                effect,
                until,
            },
            why,
            evicted_by,
        };
        let before: Option<StoredRevocation> = self.get(&record)?;
        if let Some(before) = before {
            let merged = &mut stored.revocation;
            merged.effect = before.revocation.effect.and(effect);
            merged.until = before.revocation.until.max(until);
            stored.why = why.or(before.why);
            stored.evicted_by = evicted_by.or(before.evicted_by);
            self.unexpire(before.revocation.until, &record);
        }
        self.expire_at(stored.revocation.until, &record)?;
        self.put(record, &stored)?;
        Ok(stored.revocation)
    }
}
