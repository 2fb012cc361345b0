//! `sidegate store`: what is done with a store that no server uses.

use std::path::Path;
use std::sync::Arc;

use crate::app::error::StartError;
use crate::cli::store::{SalvageReport, VerifyReport};
use crate::config::Config;
use crate::store::salvage::{self, Inspection, Kept, Salvaged};
use crate::store::settings::Engine;
use crate::types::ids::StoreId;
use crate::types::random::SystemRandom;
use crate::types::time::{Clock, SystemClock};

/// Reads everything in the store and compares it with what was acknowledged.
pub fn verify_store(
    config: &Config,
    progress: &mut dyn FnMut(u64),
) -> Result<VerifyReport, StartError> {
    let Inspection {
        store,
        commit,
        acknowledged,
        records,
        problems,
        notes,
    } = salvage::verify(&config.store, progress)?;
    let directory = match &config.store.engine {
        Engine::Memory => String::new(),
        Engine::Sled { path, .. } => path.display().to_string(),
    };
    Ok(VerifyReport {
        sound: problems.is_empty(),
        directory,
        store: store.map(|store| store.to_string()),
        commit,
        acknowledged,
        records,
        problems,
        notes,
    })
}

/// Makes a new store from what can still be read.
pub fn salvage_store(
    config: &Config,
    to: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<SalvageReport, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let fresh = StoreId::generate(clock.now(), &SystemRandom);
    let keys = &config.tokens.keys_dir;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::System)?;
    let work = salvage::salvage(&config.store, keys, to, fresh, clock, progress);
    let (salvaged, kept) = runtime.block_on(work)?;
    let Salvaged {
        bridged,
        unreadable,
        ..
    } = salvaged;
    let Kept {
        users,
        lockouts,
        audit_lines,
        others,
        sessions_ended,
        logins_claimed_twice,
        damaged,
    } = kept;
    Ok(SalvageReport {
        directory: to.display().to_string(),
        users,
        lockouts,
        audit_lines,
        others,
        sessions_ended,
        logins_claimed_twice,
        damaged_records: damaged,
        damaged_stretches: bridged,
        unreadable_pages: unreadable,
    })
}
