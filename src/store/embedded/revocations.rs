//! The revocation log on the ledger: one entry a session, kept until no access token of it can be
//! alive.

use crate::model::revocation::{Revocation, Verdict};
use crate::model::session::{EndReason, SessionKey};
use crate::store::embedded::Embedded;
use crate::store::embedded::keys;
use crate::store::embedded::records::StoredRevocation;
use crate::store::embedded::transaction::Transaction;
use crate::store::{RevocationLog, Route, StoreError};
use crate::types::ids::SessionId;

impl RevocationLog for Embedded {
    async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        self.run(|view| {
            let now = view.now;
            let all: Vec<StoredRevocation> = view.all(keys::revocations())?;
            Ok(all
                .into_iter()
                .map(|stored| stored.revocation)
                .filter(|revocation| now < revocation.until)
                .collect())
        })
        .await
    }
}

impl Transaction<'_> {
    /// Logs that a session's tokens are worth less from this moment on. An entry that is there
    /// already is merged: an end is final and the later moment counts.
    pub(crate) fn revoke(
        &mut self,
        key: &SessionKey,
        verdict: Verdict,
        why: Option<EndReason>,
        evicted_by: Option<SessionId>,
    ) -> Result<Revocation, StoreError> {
        let record = keys::revocation(Route::of(&key.owner), key.id);
        let until = self.now.plus(self.lives.revocation);
        let mut stored = StoredRevocation {
            revocation: Revocation {
                session: key.id,
                verdict,
                until,
            },
            why,
            evicted_by,
        };
        let before: Option<StoredRevocation> = self.get(&record)?;
        if let Some(before) = before {
            let merged = &mut stored.revocation;
            merged.verdict = before.revocation.verdict.and(verdict);
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
