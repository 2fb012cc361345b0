//! Do the workers run, does the store answer, and is the clock right?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long a worker may be without a tick before it counts as stuck.
pub(crate) const STUCK: Duration = Duration::from_secs(5);

/// The results of the latest checks. Workers are checked by [`Health::watch_workers`].
#[derive(Debug)]
pub(crate) struct Health {
    ticks: Vec<Arc<AtomicU64>>,
    stuck: AtomicBool,
    store_fails: AtomicBool,
    store_lost: AtomicBool,
    clock_differs: AtomicBool,
}

impl Health {
    /// Reads these tick counters, one per worker.
    pub(crate) fn new(ticks: Vec<Arc<AtomicU64>>) -> Self {
        Self {
            ticks,
            stuck: AtomicBool::new(false),
            store_fails: AtomicBool::new(false),
            store_lost: AtomicBool::new(false),
            clock_differs: AtomicBool::new(false),
        }
    }

    /// How often each worker has ticked.
    pub(crate) fn ticks(&self) -> Vec<u64> {
        let read = |ticks: &Arc<AtomicU64>| ticks.load(Ordering::Relaxed);
        self.ticks.iter().map(read).collect()
    }

    /// Checks the workers until dropped.
    pub(crate) async fn watch_workers(&self) {
        let mut before = self.ticks();
        let mut every = tokio::time::interval(STUCK);
        every.tick().await;
        loop {
            every.tick().await;
            let now = self.ticks();
            let stuck = now.iter().zip(&before).any(|(now, before)| now == before);
            self.stuck.store(stuck, Ordering::Relaxed);
            before = now;
        }
    }

    /// Records whether the store answers.
    pub(crate) fn store(&self, answers: bool) {
        self.store_fails.store(!answers, Ordering::Relaxed);
    }

    /// Records whether the process's time and the wall clock agree.
    pub(crate) fn clock(&self, agrees: bool) {
        self.clock_differs.store(!agrees, Ordering::Relaxed);
    }

    /// Records that the files of the store were removed: only a restart helps.
    pub(crate) fn lose_store(&self) {
        self.store_lost.store(true, Ordering::Relaxed);
    }

    /// Whether the files of the store were removed.
    pub(crate) fn has_lost_store(&self) -> bool {
        self.store_lost.load(Ordering::Relaxed)
    }

    /// Whether no worker is stuck.
    pub(crate) fn is_alive(&self) -> bool {
        !self.stuck.load(Ordering::Relaxed)
    }

    /// The failed checks, as `/readyz` names them.
    pub(crate) fn troubles(&self) -> Vec<&'static str> {
        let store = if self.has_lost_store() {
            Some("store lost")
        } else {
            self.store_fails.load(Ordering::Relaxed).then_some("store")
        };
        let workers = (!self.is_alive()).then_some("worker");
        let clock = self
            .clock_differs
            .load(Ordering::Relaxed)
            .then_some("clock");
        store.into_iter().chain(workers).chain(clock).collect()
    }
}
