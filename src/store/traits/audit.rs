//! How are audit records moved out of a store that an earlier version has written?
//!
//! Earlier versions kept audit records in the store. They are moved to the audit files.

use std::future::Future;

use crate::model::audit::AuditRecord;
use crate::model::user::UserKey;
use crate::store::StoreError;
use crate::types::time::Timestamp;

/// Audit records in the store.
pub trait AuditStore: Send + Sync + 'static {
    /// Up to `limit` records with their numbers, oldest first.
    fn old_audit(
        &self,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(u64, AuditRecord)>, StoreError>> + Send;

    /// Removes the records with these moments and numbers. Records that do not exist are ignored.
    fn forget_audit(
        &self,
        places: Vec<(Timestamp, u64)>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The newest `limit` records, newest first, of one user or of all.
    fn audit(
        &self,
        user: Option<&UserKey>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<AuditRecord>, StoreError>> + Send;
}
