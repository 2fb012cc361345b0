//! How is a store kept in order, checked and closed?

use std::future::Future;

use crate::store::StoreError;

/// Housekeeping and health.
pub trait Lifecycle: Send + Sync + 'static {
    /// Removes up to `limit` expired records of every kind: sessions, challenges, counters,
    /// revocations, audit records. Returns how many records were due, including those that were used
    /// in the meantime and stay. Fewer than `limit` means that no more are due.
    fn sweep(&self, limit: usize) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// Whether the store can commit now.
    fn check(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whether the files of the store were removed, or replaced by others. Detected within a second; only a
    /// restart helps.
    fn is_lost(&self) -> bool;

    /// Numbers for the metrics page.
    fn stats(&self) -> Stats;

    /// Accepts no more work, commits what was accepted and releases the files.
    fn close(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Numbers for the metrics page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Sessions, including expired ones that are not yet removed.
    pub sessions: u64,
    /// Accounts.
    pub users: u64,
    /// Bytes on disk; zero for engines without files.
    pub disk_bytes: u64,
    /// Commits so far.
    pub commits: u64,
    /// Operations in those commits.
    pub operations: u64,
    /// Duration of the slowest recent commit, in milliseconds.
    pub slowest_commit_millis: u64,
}
