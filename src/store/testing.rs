//! Which stores do tests need that the product does not? Stores that fail on command, that skip a
//! safeguard, or that hold records of earlier versions.
//!
//! Public only because the integration tests and benchmarks are crates of their own.

use std::sync::Arc;
use std::time::Duration;

use crate::model::audit::AuditRecord;
use crate::store::any::on_engine;
use crate::store::embedded::Embedded;
use crate::store::settings::{Engine, Settings};
use crate::store::{AnyStore, StoreError};
use crate::types::time::Clock;

pub use crate::store::memory::Faults;

/// A store in memory with ordinary settings, and the switch that makes it fail.
///
/// # Panics
///
/// When the system cannot start a thread.
pub fn memory(clock: Arc<dyn Clock>) -> (AnyStore, Faults) {
    let settings = Settings {
        engine: Engine::Memory,
        deadline: Duration::from_secs(2),
        revocation_life: Duration::from_secs(15 * 60 + 30),
        audit_life: Duration::from_secs(90 * 86_400),
        lock_wait: Duration::ZERO,
    };
    #[expect(
        clippy::expect_used,
        reason = "an empty map can be opened; only a thread could be missing"
    )]
    memory_with(&settings, clock).expect("a store in memory opens")
}

/// A store in memory with the given settings, and the switch that makes it fail.
pub fn memory_with(
    settings: &Settings,
    clock: Arc<dyn Clock>,
) -> Result<(AnyStore, Faults), StoreError> {
    let (store, faults) = Embedded::memory_with(settings, clock)?;
    Ok((AnyStore::Embedded(store), faults))
}

/// A store on disk whose commits are not made durable, to show that the torture test detects it.
pub fn open_without_fsync(
    settings: &Settings,
    clock: Arc<dyn Clock>,
) -> Result<AnyStore, StoreError> {
    Embedded::open_without_fsync(settings, clock).map(AnyStore::Embedded)
}

/// A store on disk that is not compared with what was acknowledged, to show that the damage test
/// detects it.
pub fn open_unproved(settings: &Settings, clock: Arc<dyn Clock>) -> Result<AnyStore, StoreError> {
    Embedded::open_unproved(settings, clock).map(AnyStore::Embedded)
}

/// Appends audit records to the store, as earlier versions did.
pub async fn append_audit(store: &AnyStore, records: Vec<AuditRecord>) -> Result<(), StoreError> {
    on_engine!(store, engine => engine.append_audit(records).await)
}

/// The number of the last acknowledged commit.
pub fn last_commit(store: &AnyStore) -> u64 {
    on_engine!(store, engine => engine.last_commit())
}
