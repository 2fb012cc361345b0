//! The revocations in force, held in memory, so that every request is judged by them without a
//! look at the store.
//!
//! What always holds: an entry is in the set before the epoch moves, so whoever sees the same epoch
//! as at the last judgement needs not look again. Entries only ever get stricter; one is forgotten
//! after its `until`, when no access token it speaks of can be alive.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::model::revocation::{Revocation, Verdict};
use crate::model::user::AccountVersion;
use crate::types::ids::SessionId;
use crate::types::time::Timestamp;

/// Which sessions' access tokens no longer pass.
#[derive(Debug, Default)]
pub struct Liveness {
    epoch: AtomicU64,
    is_loaded: AtomicBool,
    /// Sessions whose ids were made before this millisecond are over; zero: none are for that.
    ended_before: AtomicU64,
    entries: RwLock<HashMap<SessionId, Entry>>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    verdict: Verdict,
    until: Timestamp,
}

impl Liveness {
    /// An empty set that has not been loaded.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the store's whole log at start, or again after a gap. Entries that are known
    /// already stay; only from here on can the set be called complete.
    pub fn load(&self, snapshot: &[Revocation]) {
        self.apply(snapshot);
        self.is_loaded.store(true, Ordering::Release);
    }

    /// Whether a complete snapshot has been taken in. Before that nothing may be judged.
    pub fn is_loaded(&self) -> bool {
        self.is_loaded.load(Ordering::Acquire)
    }

    /// Takes in revocations. In force when this returns: every judgement that begins afterwards, on
    /// any thread, sees them.
    pub fn apply(&self, revocations: &[Revocation]) {
        if revocations.is_empty() {
            return;
        }
        let mut entries = self.write();
        for revocation in revocations {
            let entry = entries.entry(revocation.session).or_insert(Entry {
                verdict: revocation.verdict,
                until: revocation.until,
            });
            entry.verdict = entry.verdict.and(revocation.verdict);
            entry.until = entry.until.max(revocation.until);
        }
        // Moved while the lock is held: who sees the number also sees the entries.
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Ends every session whose id was made up to this moment. In force when this returns, like
    /// [`Self::apply`]. Entries about such sessions are dropped, so that the set stays small however
    /// many sessions end.
    pub fn end_through(&self, moment: Timestamp) {
        let before = moment.as_millis().saturating_add(1);
        let mut entries = self.write();
        if self.ended_before.fetch_max(before, Ordering::AcqRel) >= before {
            return;
        }
        entries.retain(|session, _| session.made_at() > moment);
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// The earliest moment a new session's id may be made at, where the clock says `now`: later than
    /// that of every session that ended with all others, also when the clock was set back.
    pub fn first_free(&self, now: Timestamp) -> Timestamp {
        now.max(Timestamp::from_millis(
            self.ended_before.load(Ordering::Acquire),
        ))
    }

    /// Counts the changes. A judgement stamped with this number holds until the number moves.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// What is held against a session, if anything.
    pub fn verdict(&self, session: SessionId) -> Option<Verdict> {
        // In this order: an entry that `end_through` has dropped is covered by the number that it set before.
        let held = self.read().get(&session).map(|entry| entry.verdict);
        if session.made_at().as_millis() < self.ended_before.load(Ordering::Acquire) {
            return Some(Verdict::Ended);
        }
        held
    }

    /// Whether an access token of this session, made from this version of the account, may pass.
    pub fn admits(&self, session: SessionId, version: Option<AccountVersion>) -> bool {
        self.verdict(session)
            .is_none_or(|verdict| verdict.admits(version))
    }

    /// Forgets what can no longer matter. Returns how many entries went.
    pub fn prune(&self, now: Timestamp) -> usize {
        let mut entries = self.write();
        let before = entries.len();
        entries.retain(|_, entry| now < entry.until);
        if entries.capacity() > 4 * entries.len().max(1024) {
            entries.shrink_to_fit();
        }
        before - entries.len()
    }

    /// How many entries are held.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each entry is whole at any moment, so a poisoned lock still guards a sound set.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<SessionId, Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<SessionId, Entry>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
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

    fn revocation(n: u8, verdict: Verdict, until: u64) -> Revocation {
        Revocation {
            session: session(n),
            verdict,
            until: Timestamp::from_secs(until),
        }
    }

    #[test]
    fn an_ended_session_is_refused_by_the_next_judgement() {
        let liveness = Liveness::new();
        let before = liveness.epoch();
        assert!(liveness.admits(session(1), version(0)));
        liveness.apply(&[revocation(1, Verdict::Ended, 10)]);
        assert_ne!(liveness.epoch(), before);
        assert!(!liveness.admits(session(1), version(u32::MAX)));
        assert!(liveness.admits(session(2), version(0)));
    }

    #[test]
    fn whoever_sees_the_epoch_move_sees_the_entry_from_any_thread() {
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
            liveness.apply(&[revocation(1, Verdict::Ended, 10)]);
            assert!(!judge.join().unwrap());
        });
    }

    #[test]
    fn entries_only_get_stricter() {
        let liveness = Liveness::new();
        liveness.apply(&[revocation(1, Verdict::Stale(AccountVersion(4)), 20)]);
        liveness.apply(&[revocation(1, Verdict::Stale(AccountVersion(2)), 10)]);
        assert!(!liveness.admits(session(1), version(3)));
        assert!(liveness.admits(session(1), version(4)));
        liveness.apply(&[revocation(1, Verdict::Ended, 5)]);
        liveness.apply(&[revocation(1, Verdict::Stale(AccountVersion(2)), 10)]);
        assert_eq!(liveness.verdict(session(1)), Some(Verdict::Ended));
        // The longest life of all counts.
        assert_eq!(liveness.prune(Timestamp::from_secs(19)), 0);
        assert_eq!(liveness.prune(Timestamp::from_secs(20)), 1);
        assert!(liveness.is_empty());
    }

    #[test]
    fn the_end_of_all_sessions_is_one_number_however_many_there_were() {
        let liveness = Liveness::new();
        let id = |millis: u64, n: u64| {
            let random = crate::types::random::SeededRandom::new(n);
            SessionId::generate(Timestamp::from_millis(millis), &random)
        };
        liveness.apply(&[
            Revocation {
                session: id(1_000, 1),
                verdict: Verdict::Ended,
                until: Timestamp::from_secs(99),
            },
            Revocation {
                session: id(3_000, 2),
                verdict: Verdict::Ended,
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
    fn nothing_is_complete_before_the_first_snapshot() {
        let liveness = Liveness::new();
        liveness.apply(&[revocation(1, Verdict::Ended, 10)]);
        assert!(!liveness.is_loaded());
        liveness.load(&[revocation(2, Verdict::Ended, 10)]);
        assert!(liveness.is_loaded());
        assert_eq!(liveness.len(), 2);
    }

    #[test]
    fn applying_nothing_moves_nothing() {
        let liveness = Liveness::new();
        liveness.apply(&[]);
        assert_eq!(liveness.epoch(), Liveness::new().epoch());
    }
}
