//! How does an embedded store end all sessions? It stores one moment, and removes the records in steps.

use crate::model::session::{EndReason, Session};
use crate::store::embedded::Embedded;
use crate::store::embedded::keys::{self, META_END_ALL, META_TOTALS};
use crate::store::embedded::ledger::{Entry, Order};
use crate::store::embedded::records::{StoredEndAll, StoredSession, Totals};
use crate::store::embedded::transaction::Transaction;
use crate::store::{BulkStore, EndAll, StoreError, codec};
use crate::types::time::Timestamp;

/// The largest number of records that one step removes. Other operations wait for one step at most.
const STEP: usize = 1_000;

impl BulkStore for Embedded {
    async fn end_all(&self, why: EndReason) -> Result<EndAll, StoreError> {
        self.run(move |view| view.end_all_sessions(why)).await
    }

    async fn clear_ended(&self, limit: usize) -> Result<Option<EndAll>, StoreError> {
        let limit = limit.min(STEP);
        self.run(move |view| view.clear_ended(limit)).await
    }
}

impl Embedded {
    /// Continues an end of all sessions that is not complete, for up to `limit` records. Returns how
    /// many records were due; fewer than `limit` means that none is left.
    pub(crate) async fn clear_leftovers(&self, limit: usize) -> Result<usize, StoreError> {
        let mut due = 0;
        while due < limit {
            let step = STEP.min(limit - due);
            let is_left = self
                .run(move |view| match view.end_all_record()? {
                    Some(all) if !all.is_complete => {
                        let all = view.clear_ended(step)?;
                        Ok(all.is_some_and(|all| !all.is_complete))
                    }
                    _ => Ok(false),
                })
                .await?;
            if !is_left {
                break;
            }
            due += step;
        }
        Ok(due)
    }
}

/// The sessions that have ended although their records still exist.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Over {
    through: Option<Timestamp>,
    now: Timestamp,
}

impl Over {
    /// The moment up to which all sessions have ended, if there is one.
    pub(crate) fn through(&self) -> Option<Timestamp> {
        self.through
    }

    /// Whether the session ended with all others.
    pub(crate) fn is_ended(&self, session: &Session) -> bool {
        self.through
            .is_some_and(|through| session.key.id.made_at() <= through)
    }

    /// Whether the session ended with all others, or has expired.
    pub(crate) fn includes(&self, session: &Session) -> bool {
        session.is_expired(self.now) || self.is_ended(session)
    }
}

impl Transaction<'_> {
    /// The sessions that have ended at this moment.
    pub(crate) fn over(&mut self) -> Result<Over, StoreError> {
        let through = self.end_all_record()?.map(|stored| stored.through);
        let now = self.now;
        Ok(Over { through, now })
    }

    fn end_all_record(&mut self) -> Result<Option<StoredEndAll>, StoreError> {
        self.get(META_END_ALL)
    }

    fn end_all_sessions(&mut self, why: EndReason) -> Result<EndAll, StoreError> {
        let before = self.end_all_record()?;
        let totals: Totals = self.get(META_TOTALS)?.unwrap_or_default();
        let now = self.now;
        // Ids are never older than the moment before (see `first_free` of the liveness). So this moment
        // must be later than the last one, also when the clock was set back.
        let last = before.as_ref().map(|before| before.through);
        let through = last.map_or(now, |last| now.max(next_millisecond(last)));
        // An interrupted removal continues to count.
        let (seen, ended) = before
            .filter(|before| !before.is_complete)
            .map_or((0, 0), |before| (before.seen, before.ended));
        let stored = StoredEndAll {
            through,
            at: now,
            why,
            found: totals.sessions.saturating_add(seen),
            seen,
            ended,
            after: None,
            is_complete: totals.sessions == 0,
        };
        self.put(META_END_ALL.to_vec(), &stored)?;
        Ok(shown(&stored))
    }

    fn clear_ended(&mut self, limit: usize) -> Result<Option<EndAll>, StoreError> {
        let Some(mut stored) = self.end_all_record()? else {
            return Ok(None);
        };
        if stored.is_complete {
            return Ok(Some(shown(&stored)));
        }
        let mut rest = keys::sessions();
        if let Some(after) = &stored.after {
            rest = rest.after(after);
        }
        let page = self.scan(&rest, Order::Ascending, limit)?;
        let before = stored.ended;
        for Entry { key, value } in &page {
            let found: StoredSession = codec::decode(key, value)?;
            if found.session.key.id.made_at() > stored.through {
                continue;
            }
            stored.seen = stored.seen.saturating_add(1);
            if !found.session.is_expired(stored.at) {
                stored.ended = stored.ended.saturating_add(1);
            }
            self.remove_session(&found)?;
        }
        stored.is_complete = page.len() < limit;
        stored.after = page.last().map(|entry| entry.key.clone()).or(stored.after);
        self.put(META_END_ALL.to_vec(), &stored)?;
        let added = stored.ended.saturating_sub(before);
        Ok(Some(EndAll {
            added,
            ..shown(&stored)
        }))
    }
}

fn next_millisecond(moment: Timestamp) -> Timestamp {
    Timestamp::from_millis(moment.as_millis().saturating_add(1))
}

fn shown(stored: &StoredEndAll) -> EndAll {
    EndAll {
        through: stored.through,
        found: stored.found,
        seen: stored.seen,
        ended: stored.ended,
        added: 0,
        is_complete: stored.is_complete,
    }
}
