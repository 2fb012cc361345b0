//! Renewals that parallel requests share. A browser whose access cookie has run out sends all its
//! requests with one refresh cookie: they need one access token, count once against the limit, and
//! lead to one rotation.
//!
//! Each request still presents its own refresh token to the store first. What is shared is what
//! follows from a token that is good.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::model::session::Generation;
use crate::model::user::AccountVersion;
use crate::service::error::AuthError;
use crate::service::grant::Grant;
use crate::types::ids::SessionId;
use crate::types::secret::SecretText;
use crate::types::time::Timestamp;

/// How long requests of one generation share a renewal at most.
const SHARED_FOR: Duration = Duration::from_secs(60);

/// How many renewals are shared at once at most. Further ones are made for one request each.
const MOST: usize = 1_024;

/// The renewals that are under way or were made a moment ago.
#[derive(Debug, Default)]
pub struct Renewals(Mutex<HashMap<Of, Arc<Renewal>>>);

/// A session, and the generation that its requests present.
pub(super) type Of = (SessionId, Generation);

/// What the requests of one generation share.
#[derive(Debug)]
pub(super) struct Renewal {
    until: Timestamp,
    /// Whether the limit has counted it.
    counted: AtomicBool,
    /// What the requests pass with.
    pub(super) access: OnceCell<Result<Fresh, AuthError>>,
    /// What the answers hand over; none when there is nothing to hand over.
    pub(super) grant: OnceCell<Option<Arc<Grant>>>,
}

/// An access token and for how long it may be shared.
#[derive(Debug, Clone)]
pub(super) struct Fresh {
    pub(super) access: SecretText,
    pub(super) expires_at: Timestamp,
    pub(super) version: AccountVersion,
}

impl Renewals {
    /// The renewal of these requests: the one that is there, if `is_good` says so of what came of it,
    /// or a new one.
    pub(super) fn join(
        &self,
        of: Of,
        now: Timestamp,
        is_good: impl FnOnce(&Fresh) -> bool,
    ) -> Arc<Renewal> {
        let mut table = self.table();
        if let Some(renewal) = table.get(&of).filter(|renewal| now < renewal.until) {
            match renewal.access.get() {
                None => return Arc::clone(renewal),
                Some(Ok(fresh)) if is_good(fresh) => return Arc::clone(renewal),
                Some(_) => {}
            }
        }
        let renewal = Arc::new(Renewal {
            until: now.plus(SHARED_FOR),
            counted: AtomicBool::new(false),
            access: OnceCell::new(),
            grant: OnceCell::new(),
        });
        if table.len() >= MOST {
            table.retain(|_, renewal| now < renewal.until);
        }
        if table.len() < MOST || table.contains_key(&of) {
            table.insert(of, Arc::clone(&renewal));
        }
        renewal
    }

    /// The renewal of these requests, if it is still shared.
    pub(super) fn of(&self, of: Of, now: Timestamp) -> Option<Arc<Renewal>> {
        let table = self.table();
        let found = table.get(&of).filter(|renewal| now < renewal.until);
        found.map(Arc::clone)
    }

    /// Shares this one no longer.
    pub(super) fn forget(&self, of: Of, renewal: &Arc<Renewal>) {
        let mut table = self.table();
        if table
            .get(&of)
            .is_some_and(|found| Arc::ptr_eq(found, renewal))
        {
            table.remove(&of);
        }
    }

    /// Forgets what is not shared any more.
    pub(in crate::service) fn housekeep(&self, now: Timestamp) {
        let mut table = self.table();
        table.retain(|_, renewal| now < renewal.until);
        table.shrink_to_fit();
    }

    /// Entries are whole at any moment, so a poisoned lock still guards a sound table.
    fn table(&self) -> MutexGuard<'_, HashMap<Of, Arc<Renewal>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Renewal {
    /// Whether it is to be counted: true once.
    pub(super) fn is_uncounted(&self) -> bool {
        !self.counted.swap(true, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn of(n: u32) -> Of {
        let id = (u128::from(n) << 1).to_be_bytes();
        (SessionId::from_bytes(id), Generation(n))
    }

    fn fresh() -> Fresh {
        Fresh {
            access: SecretText::new("x"),
            expires_at: NOW.plus(SHARED_FOR),
            version: AccountVersion(0),
        }
    }

    #[test]
    fn requests_of_one_generation_share_a_renewal_that_counts_once() {
        let renewals = Renewals::default();
        let first = renewals.join(of(1), NOW, |_| true);
        let second = renewals.join(of(1), NOW, |_| true);
        assert!(Arc::ptr_eq(&first, &second));
        assert!(first.is_uncounted() && !second.is_uncounted());
        let other = renewals.join(of(2), NOW, |_| true);
        assert!(!Arc::ptr_eq(&first, &other) && other.is_uncounted());
    }

    #[test]
    fn what_failed_is_no_longer_good_or_is_old_is_made_anew() {
        let renewals = Renewals::default();
        let failed = renewals.join(of(1), NOW, |_| true);
        failed.access.set(Err(AuthError::InvalidRefreshToken)).ok();
        let good = renewals.join(of(1), NOW, |_| true);
        assert!(!Arc::ptr_eq(&failed, &good));
        good.access.set(Ok(fresh())).ok();
        assert!(Arc::ptr_eq(&good, &renewals.join(of(1), NOW, |_| true)));
        let anew = renewals.join(of(1), NOW, |_| false);
        assert!(!Arc::ptr_eq(&good, &anew));
        let later = NOW.plus(SHARED_FOR);
        assert!(renewals.of(of(1), later).is_none());
        assert!(!Arc::ptr_eq(&anew, &renewals.join(of(1), later, |_| true)));
    }

    #[test]
    fn shared_renewals_are_bounded_and_forgotten() {
        let renewals = Renewals::default();
        for n in 0..2 * u32::try_from(MOST).unwrap() {
            assert!(renewals.join(of(n), NOW, |_| true).is_uncounted());
        }
        assert_eq!(renewals.table().len(), MOST);
        renewals.housekeep(NOW.plus(SHARED_FOR));
        assert!(renewals.table().is_empty());
    }
}
