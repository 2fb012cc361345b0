//! Which sessions' access tokens are no longer accepted? The set in memory that every request is
//! checked against, without a call to the store.
//!
//! Invariants: an entry is in the set before the epoch changes. A reader that sees the epoch of its
//! last check therefore need not check again. Entries only become stricter. An entry is removed after
//! its `until`, when every access token that it concerns has expired.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::model::revocation::{Revocation, RevocationEffect};
use crate::model::user::AccountVersion;
use crate::types::ids::SessionId;
use crate::types::time::Timestamp;

/// The revocations in force in this process.
#[derive(Debug, Default)]
pub struct Liveness {
    epoch: AtomicU64,
    is_complete: AtomicBool,
    /// Sessions whose ids were made before this millisecond have ended. Zero: none.
    ended_before: AtomicU64,
    entries: RwLock<HashMap<SessionId, Entry>>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    effect: RevocationEffect,
    until: Timestamp,
}

impl Liveness {
    /// An empty set that is not complete.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether the set holds every revocation that is in force: `true` once a snapshot was
    /// applied, `false` when revocations may be missing. What is in the set stays in force.
    pub fn set_complete(&self, is_complete: bool) {
        self.is_complete.store(is_complete, Ordering::Release);
        // Makes every reader check again. What was set before is visible to it.
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Whether the set holds every revocation that is in force. If not, no token may be accepted:
    /// the answer is 503.
    pub fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }

    /// Adds revocations. They are in force when this returns: every check that begins afterwards, on
    /// any thread, sees them.
    pub fn apply(&self, revocations: &[Revocation]) {
        if revocations.is_empty() {
            return;
        }
        let mut entries = self.write();
        for revocation in revocations {
            let entry = entries.entry(revocation.session).or_insert(Entry {
                effect: revocation.effect,
                until: revocation.until,
            });
            entry.effect = entry.effect.and(revocation.effect);
            entry.until = entry.until.max(revocation.until);
        }
        // While the lock is held: a reader that sees the new epoch also sees the entries.
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Ends every session whose id was made up to this moment. In force when this returns, like
    /// [`Self::apply`]. Entries of such sessions are removed, so the set stays small however many
    /// sessions end.
    pub fn end_through(&self, moment: Timestamp) {
        let before = moment.as_millis().saturating_add(1);
        let mut entries = self.write();
        if self.ended_before.fetch_max(before, Ordering::AcqRel) >= before {
            return;
        }
        entries.retain(|session, _| session.made_at() > moment);
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// The earliest moment for the id of a new session when the clock reads `now`: later than that of
    /// every session that ended with all others, also when the clock was set back.
    pub fn first_free(&self, now: Timestamp) -> Timestamp {
        now.max(Timestamp::from_millis(
            self.ended_before.load(Ordering::Acquire),
        ))
    }

    /// Counts the changes. A check that read this number holds until the number changes.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The revocation of a session, if there is one.
    pub fn effect(&self, session: SessionId) -> Option<RevocationEffect> {
        // In this order: `end_through` sets the number before it removes the entries that it covers.
        let held = self.read().get(&session).map(|entry| entry.effect);
        if session.made_at().as_millis() < self.ended_before.load(Ordering::Acquire) {
            return Some(RevocationEffect::Ended);
        }
        held
    }

    /// Whether an access token of this session, made from this version of the account, is accepted.
    pub fn admits(&self, session: SessionId, version: Option<AccountVersion>) -> bool {
        self.effect(session)
            .is_none_or(|effect| effect.admits(version))
    }

    /// Removes entries that can no longer matter. Returns their number.
    pub fn prune(&self, now: Timestamp) -> usize {
        let mut entries = self.write();
        let before = entries.len();
        entries.retain(|_, entry| now < entry.until);
        if entries.capacity() > 4 * entries.len().max(1024) {
            entries.shrink_to_fit();
        }
        before - entries.len()
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<SessionId, Entry>> {
        self.entries.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<SessionId, Entry>> {
        self.entries.write()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "a token may carry none")]
    fn version(n: u32) -> Option<AccountVersion> {
        Some(AccountVersion(n))
    }

    fn session(n: u8) -> SessionId {
        SessionId::from_bytes([n; 16])
    }

    fn revocation(n: u8, effect: RevocationEffect, until: u64) -> Revocation {
        Revocation {
            session: session(n),
            effect,
            until: Timestamp::from_secs(until),
        }
    }

    #[test]
    fn an_ended_session_is_refused_by_the_next_check() {
        let liveness = Liveness::new();
        let before = liveness.epoch();
        assert!(liveness.admits(session(1), version(0)));
        liveness.apply(&[revocation(1, RevocationEffect::Ended, 10)]);
        assert_ne!(liveness.epoch(), before);
        assert!(!liveness.admits(session(1), version(u32::MAX)));
        assert!(liveness.admits(session(2), version(0)));
    }

    #[test]
    fn a_thread_that_reads_the_new_epoch_also_reads_the_entry() {
        let liveness = Liveness::new();
        let before = liveness.epoch();
        std::thread::scope(|scope| {
            let judge = scope.spawn(|| {
                let deadline = Instant::now() + Duration::from_secs(60);
                while liveness.epoch() == before {
                    assert!(Instant::now() < deadline, "the epoch never moves");
                    std::thread::yield_now();
                }
                liveness.admits(session(1), version(0))
            });
            liveness.apply(&[revocation(1, RevocationEffect::Ended, 10)]);
            assert!(!judge.join().unwrap());
        });
    }

    #[test]
    fn entries_only_get_stricter() {
        let liveness = Liveness::new();
        liveness.apply(&[revocation(
            1,
            RevocationEffect::Stale(AccountVersion(4)),
            20,
        )]);
        liveness.apply(&[revocation(
            1,
            RevocationEffect::Stale(AccountVersion(2)),
            10,
        )]);
        assert!(!liveness.admits(session(1), version(3)));
        assert!(liveness.admits(session(1), version(4)));
        liveness.apply(&[revocation(1, RevocationEffect::Ended, 5)]);
        liveness.apply(&[revocation(
            1,
            RevocationEffect::Stale(AccountVersion(2)),
            10,
        )]);
        assert_eq!(liveness.effect(session(1)), Some(RevocationEffect::Ended));
        // The longest life of all counts.
        assert_eq!(liveness.prune(Timestamp::from_secs(19)), 0);
        assert_eq!(liveness.prune(Timestamp::from_secs(20)), 1);
        assert!(liveness.is_empty());
    }

    #[test]
    fn the_end_of_all_sessions_is_one_number_for_any_count() {
        let liveness = Liveness::new();
        let id = |millis: u64, n: u64| {
            let random = crate::types::random::SeededRandom::new(n);
            SessionId::generate(Timestamp::from_millis(millis), &random)
        };
        liveness.apply(&[
            Revocation {
                session: id(1_000, 1),
                effect: RevocationEffect::Ended,
                until: Timestamp::from_secs(99),
            },
            Revocation {
                session: id(3_000, 2),
                effect: RevocationEffect::Ended,
                until: Timestamp::from_secs(99),
            },
        ]);
        let before = liveness.epoch();
        liveness.end_through(Timestamp::from_millis(2_000));
        assert_ne!(liveness.epoch(), before, "every worker looks again");
        assert_eq!(liveness.len(), 1, "what the moment covers is dropped");
        assert!(!liveness.admits(id(1_000, 1), version(0)));
        assert!(!liveness.admits(id(2_000, 7), version(9)));
        assert!(liveness.admits(id(2_001, 7), version(0)));
        assert!(!liveness.admits(id(3_000, 2), version(0)));
        // An earlier moment, as after the clock was set back, changes nothing.
        let before = liveness.epoch();
        liveness.end_through(Timestamp::from_millis(1_500));
        assert_eq!(liveness.epoch(), before);
        let free = liveness.first_free(Timestamp::from_millis(1_500));
        assert!(liveness.admits(id(free.as_millis(), 5), version(0)));
        assert_eq!(
            liveness.first_free(Timestamp::from_millis(9_000)),
            Timestamp::from_millis(9_000)
        );
    }

    #[test]
    fn a_set_is_complete_from_a_snapshot_to_a_gap_and_each_change_moves_the_epoch() {
        let liveness = Liveness::new();
        liveness.apply(&[revocation(1, RevocationEffect::Ended, 10)]);
        assert!(!liveness.is_complete());
        for complete in [true, false, true] {
            let before = liveness.epoch();
            liveness.set_complete(complete);
            assert_eq!(liveness.is_complete(), complete);
            assert_ne!(liveness.epoch(), before);
            assert!(
                !liveness.admits(session(1), version(0)),
                "it stays in force"
            );
        }
    }

    #[test]
    fn an_empty_change_leaves_the_epoch_unchanged() {
        let liveness = Liveness::new();
        liveness.apply(&[]);
        assert_eq!(liveness.epoch(), Liveness::new().epoch());
    }
}
