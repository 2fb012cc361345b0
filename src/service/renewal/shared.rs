//! How do parallel requests share one renewal? By the session and the generation that they present.
//!
//! A browser with an expired access cookie sends all its requests with one refresh cookie. They need one
//! access token, count once against the limit, and lead to one rotation. Each request still presents its
//! own refresh token to the store first; only the result for a valid token is shared.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::OnceCell;

use crate::limits::Exceeded;
use crate::model::session::Generation;
use crate::model::user::AccountVersion;
use crate::service::error::AuthError;
use crate::service::grant::Grant;
use crate::types::ids::SessionId;
use crate::types::secret::SecretText;
use crate::types::time::Timestamp;

/// How long requests of one generation share a renewal at most.
const SHARED_FOR: Duration = Duration::from_secs(60);

/// The largest number of shared renewals. Further renewals are not shared.
const MOST: usize = 16_384;

/// The number of requests of one generation that count as one against the limit: more than a browser
/// sends at once, and few enough that one refresh token does not allow unlimited requests.
const COUNTED_AS_ONE: u32 = 1_000;

/// The renewals that are running or were made a moment ago.
#[derive(Debug, Default)]
pub struct Renewals(Mutex<HashMap<Of, Arc<Renewal>>>);

/// A session, and the generation that its requests present.
pub(super) type Of = (SessionId, Generation);

/// The part that requests of one generation share.
#[derive(Debug)]
pub(super) struct Renewal {
    until: Timestamp,
    /// The number of requests that share it.
    requests: AtomicU32,
    /// The access token for the requests.
    pub(super) access: OnceCell<Result<Fresh, AuthError>>,
    /// The tokens for the answers; none when there are none to send.
    pub(super) grant: OnceCell<Option<Arc<Grant>>>,
}

/// An access token and the time for which it may be shared.
#[derive(Debug, Clone)]
pub(super) struct Fresh {
    pub(super) access: SecretText,
    pub(super) expires_at: Timestamp,
    pub(super) version: AccountVersion,
}

impl Renewals {
    /// The renewal for one more request: the existing one, if `is_good` accepts its result, or a new
    /// one. The first of [`COUNTED_AS_ONE`] requests is counted by `limit`; if that refuses, the renewal
    /// is not shared.
    pub(super) fn join(
        &self,
        of: Of,
        now: Timestamp,
        is_good: impl FnOnce(&Fresh) -> bool,
        limit: impl FnOnce() -> Result<(), Exceeded>,
    ) -> Result<Arc<Renewal>, Exceeded> {
        let mut table = self.table();
        let renewal = match table.get(&of) {
            Some(renewal) if renewal.is_shared(now, is_good) => Arc::clone(renewal),
            Some(_) | None => Arc::new(Renewal::new(now)),
        };
        // Counted while the table is locked, so that no request joins a renewal that the limit refuses.
        if renewal.requests.fetch_add(1, Ordering::Relaxed) % COUNTED_AS_ONE == 0
            && let Err(exceeded) = limit()
        {
            table.remove(&of);
            return Err(exceeded);
        }
        if table.len() >= MOST {
            table.retain(|_, renewal| now < renewal.until);
        }
        if table.len() < MOST || table.contains_key(&of) {
            table.insert(of, Arc::clone(&renewal));
        }
        Ok(renewal)
    }

    /// The renewal of these requests, if it is still shared.
    pub(super) fn of(&self, of: Of, now: Timestamp) -> Option<Arc<Renewal>> {
        let table = self.table();
        let found = table.get(&of).filter(|renewal| now < renewal.until);
        found.map(Arc::clone)
    }

    /// Stops sharing this renewal.
    pub(super) fn forget(&self, of: Of, renewal: &Arc<Renewal>) {
        let mut table = self.table();
        if table
            .get(&of)
            .is_some_and(|found| Arc::ptr_eq(found, renewal))
        {
            table.remove(&of);
        }
    }

    /// Removes renewals that are no longer shared.
    pub(in crate::service) fn housekeep(&self, now: Timestamp) {
        let mut table = self.table();
        table.retain(|_, renewal| now < renewal.until);
        table.shrink_to_fit();
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Of, Arc<Renewal>>> {
        self.0.lock()
    }
}

impl Renewal {
    fn new(now: Timestamp) -> Self {
        Self {
            until: now.plus(SHARED_FOR),
            requests: AtomicU32::new(0),
            access: OnceCell::new(),
            grant: OnceCell::new(),
        }
    }

    fn is_shared(&self, now: Timestamp, is_good: impl FnOnce(&Fresh) -> bool) -> bool {
        now < self.until
            && match self.access.get() {
                None => true,
                Some(Ok(fresh)) => is_good(fresh),
                Some(Err(_)) => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::limits::Quota;

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

    /// Joins. Returns whether the request was counted.
    fn join(renewals: &Renewals, n: u32, now: Timestamp, is_good: bool) -> (Arc<Renewal>, bool) {
        let mut counted = false;
        let limit = || {
            counted = true;
            Ok(())
        };
        let renewal = renewals.join(of(n), now, |_| is_good, limit).unwrap();
        (renewal, counted)
    }

    #[test]
    fn requests_of_one_generation_share_a_renewal_that_counts_once() {
        let renewals = Renewals::default();
        let (first, counted) = join(&renewals, 1, NOW, true);
        assert!(counted);
        let (second, counted) = join(&renewals, 1, NOW, true);
        assert!(Arc::ptr_eq(&first, &second) && !counted);
        let (other, counted) = join(&renewals, 2, NOW, true);
        assert!(!Arc::ptr_eq(&first, &other) && counted);
        let many = 0..10 * COUNTED_AS_ONE;
        let counted = many.filter(|_| join(&renewals, 1, NOW, true).1).count();
        assert_eq!(counted, 10, "it is no leave to ask for ever");
    }

    #[test]
    fn a_renewal_refused_by_the_limit_is_not_shared() {
        let renewals = Renewals::default();
        let quota = Quota {
            count: NonZeroU32::MIN,
            period: SHARED_FOR,
        };
        let exceeded = Exceeded {
            retry_after: SHARED_FOR,
            quota,
        };
        for _ in 0..3 {
            let refused = renewals.join(of(1), NOW, |_| true, || Err(exceeded));
            assert_eq!(refused.map(|_| ()), Err(exceeded));
        }
        assert!(join(&renewals, 1, NOW, true).1);
    }

    #[test]
    fn a_failed_ended_or_old_renewal_is_not_reused() {
        let renewals = Renewals::default();
        let (failed, _) = join(&renewals, 1, NOW, true);
        failed.access.set(Err(AuthError::InvalidRefreshToken)).ok();
        let (good, _) = join(&renewals, 1, NOW, true);
        assert!(!Arc::ptr_eq(&failed, &good));
        good.access.set(Ok(fresh())).ok();
        assert!(Arc::ptr_eq(&good, &join(&renewals, 1, NOW, true).0));
        let (anew, _) = join(&renewals, 1, NOW, false);
        assert!(!Arc::ptr_eq(&good, &anew));
        let later = NOW.plus(SHARED_FOR);
        assert!(renewals.of(of(1), later).is_none());
        assert!(!Arc::ptr_eq(&anew, &join(&renewals, 1, later, true).0));
    }

    #[test]
    fn shared_renewals_are_bounded_and_expire() {
        let renewals = Renewals::default();
        for n in 0..2 * u32::try_from(MOST).unwrap() {
            assert!(join(&renewals, n, NOW, true).1);
        }
        assert_eq!(renewals.table().len(), MOST);
        renewals.housekeep(NOW.plus(SHARED_FOR));
        assert!(renewals.table().is_empty());
    }
}
