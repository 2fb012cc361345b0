//! Which numbers of the store can other threads read at any time? The queue, the commits, the totals.
//!
//! They are read without a message to the thread of the store, so also while it is blocked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::model::user::HashCosts;
use crate::store::embedded::records::Totals;
use crate::store::{Stats, StoreError, codec};

/// The largest number of operations in the queue.
const QUEUE: usize = 4_096;

/// A commit that takes longer than this means that the disk does not respond.
const STUCK: Duration = Duration::from_secs(30);

/// Half of the time that counts as recent.
const WINDOW: Duration = Duration::from_secs(60);

/// The numbers. Times are on the monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    queued: AtomicUsize,
    /// The start of the running commit plus one millisecond. Zero while none runs.
    running_since: AtomicU64,
    commits: AtomicU64,
    operations: AtomicU64,
    window_from: AtomicU64,
    slowest: AtomicU64,
    slowest_before: AtomicU64,
    sessions: AtomicU64,
    users: AtomicU64,
    disk: AtomicU64,
    commit: AtomicU64,
    lost: AtomicBool,
    costs: ArcSwap<HashCosts>,
}

impl Numbers {
    /// Takes a place in the queue.
    pub(crate) fn enter(&self) -> Result<(), StoreError> {
        if self.queued.fetch_add(1, Ordering::AcqRel) >= QUEUE {
            self.taken(1);
            return Err(StoreError::Unavailable(format!(
                "{QUEUE} operations are waiting already"
            )));
        }
        Ok(())
    }

    /// Releases places in the queue.
    pub(crate) fn taken(&self, places: usize) {
        self.queued.fetch_sub(places, Ordering::AcqRel);
    }

    /// Records the start of a commit.
    pub(crate) fn commit_begins(&self, now: Duration) {
        let mark = millis(now).saturating_add(1);
        self.running_since.store(mark, Ordering::Release);
    }

    /// Records the end of a commit.
    pub(crate) fn commit_ends(&self, now: Duration, operations: usize, succeeded: bool) {
        let began = self
            .running_since
            .swap(0, Ordering::AcqRel)
            .saturating_sub(1);
        let took = millis(now).saturating_sub(began);
        let from = Duration::from_millis(self.window_from.load(Ordering::Relaxed));
        if now.saturating_sub(from) >= WINDOW {
            let last = self.slowest.swap(0, Ordering::Relaxed);
            self.slowest_before.store(last, Ordering::Relaxed);
            self.window_from.store(millis(now), Ordering::Relaxed);
        }
        self.slowest.fetch_max(took, Ordering::Relaxed);
        if succeeded {
            self.commits.fetch_add(1, Ordering::Relaxed);
            self.operations
                .fetch_add(operations as u64, Ordering::Relaxed);
        }
    }

    /// Fails while a commit has been running for too long.
    pub(crate) fn check(&self, now: Duration) -> Result<(), StoreError> {
        let mark = self.running_since.load(Ordering::Acquire);
        let running = now.saturating_sub(Duration::from_millis(mark.saturating_sub(1)));
        if mark != 0 && running > STUCK {
            return Err(StoreError::Unavailable(format!(
                "a commit has not returned for {} s: check the disk, then restart",
                running.as_secs()
            )));
        }
        Ok(())
    }

    /// Sets the totals to those of a durable record.
    pub(crate) fn totals(&self, key: &[u8], bytes: &[u8]) {
        let Ok(totals) = codec::decode::<Totals>(key, bytes) else {
            return;
        };
        self.sessions.store(totals.sessions, Ordering::Relaxed);
        self.users.store(totals.users, Ordering::Relaxed);
    }

    /// Sets the number of the last commit, counted from the creation of the store.
    pub(crate) fn commit(&self, number: u64) {
        self.commit.store(number, Ordering::Relaxed);
    }

    /// Records that the files of the store were removed.
    pub(crate) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// Whether the files of the store were removed.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// The number of the last commit.
    pub(crate) fn last_commit(&self) -> u64 {
        self.commit.load(Ordering::Relaxed)
    }

    /// Sets the numbers of accounts by parameter set to those of a durable record.
    pub(crate) fn costs(&self, key: &[u8], bytes: &[u8]) {
        if let Ok(costs) = codec::decode(key, bytes) {
            self.costs.store(Arc::new(costs));
        }
    }

    /// The numbers of accounts by parameter set.
    pub(crate) fn hash_costs(&self) -> Arc<HashCosts> {
        self.costs.load_full()
    }

    /// Sets the number of bytes on disk.
    pub(crate) fn disk(&self, bytes: u64) {
        self.disk.store(bytes, Ordering::Relaxed);
    }

    /// All numbers for the metrics page.
    pub(crate) fn stats(&self) -> Stats {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Stats {
            sessions: load(&self.sessions),
            users: load(&self.users),
            disk_bytes: load(&self.disk),
            commits: load(&self.commits),
            operations: load(&self.operations),
            slowest_commit_millis: load(&self.slowest).max(load(&self.slowest_before)),
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_bounded() {
        let numbers = Numbers::default();
        for _ in 0..QUEUE {
            assert_eq!(numbers.enter(), Ok(()));
        }
        assert!(matches!(numbers.enter(), Err(StoreError::Unavailable(_))));
        numbers.taken(1);
        assert_eq!(numbers.enter(), Ok(()));
    }

    #[test]
    fn a_commit_that_does_not_return_is_detected() {
        let numbers = Numbers::default();
        let began = Duration::from_secs(1_000);
        numbers.commit_begins(began);
        assert_eq!(numbers.check(began + STUCK), Ok(()));
        let late = began + STUCK + Duration::from_millis(1);
        assert!(matches!(
            numbers.check(late),
            Err(StoreError::Unavailable(_))
        ));
        numbers.commit_ends(late, 1, true);
        assert_eq!(numbers.check(late), Ok(()));
        assert_eq!(numbers.stats().slowest_commit_millis, 30_001);
    }

    #[test]
    fn a_slow_commit_expires_after_two_windows() {
        let numbers = Numbers::default();
        let mut now = Duration::from_secs(1_000);
        for took in [500, 1, 1] {
            numbers.commit_begins(now);
            numbers.commit_ends(now + Duration::from_millis(took), 1, true);
            now += WINDOW * 2;
        }
        assert_eq!(numbers.stats().slowest_commit_millis, 1);
    }
}
