//! How can all sessions end at once, whatever their number? By one stored moment.
//!
//! A session id is a UUIDv7, which contains the time at which the session was made. One stored moment
//! therefore ends all sessions made up to it, in one commit. Their records are removed afterwards, in
//! steps of bounded size; the removal can be interrupted and continued.

use std::future::Future;

use crate::model::session::EndReason;
use crate::store::StoreError;
use crate::types::time::Timestamp;

/// Ends all sessions.
pub trait BulkStore: Send + Sync + 'static {
    /// Ends every session that exists. Durable when it returns.
    fn end_all(&self, why: EndReason) -> impl Future<Output = Result<EndAll, StoreError>> + Send;

    /// Removes up to `limit` records of sessions that the last [`end_all`](Self::end_all) ended.
    /// `None` when there was no such call.
    fn clear_ended(
        &self,
        limit: usize,
    ) -> impl Future<Output = Result<Option<EndAll>, StoreError>> + Send;
}

/// The progress of an end of all sessions. The sessions have ended from the start; the numbers count
/// the removal of their records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndAll {
    /// Sessions made up to this moment have ended.
    pub through: Timestamp,
    /// The number of sessions at the start, including expired ones that were not yet removed.
    pub found: u64,
    /// The number of records examined so far.
    pub seen: u64,
    /// The number of live sessions among them.
    pub ended: u64,
    /// How many of those were added by this step.
    pub added: u64,
    /// Whether no record is left.
    pub is_complete: bool,
}
