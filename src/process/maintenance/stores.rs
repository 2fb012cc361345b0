//! How is a store that no server uses checked or salvaged?

use std::path::Path;
use std::sync::Arc;

use crate::config::Config;
use crate::process::start::error::StartError;
use crate::store::salvage::{self, Inspection, Kept, Salvaged};
use crate::types::ids::StoreId;
use crate::types::random::SystemRandom;
use crate::types::time::{Clock, SystemClock};

/// Reads all records of the store and compares them with the acknowledged commits.
pub fn verify_store(
    config: &Config,
    progress: &mut dyn FnMut(u64),
) -> Result<Inspection, StartError> {
    Ok(salvage::verify(&config.store, progress)?)
}

/// Creates a new store from the records that can still be read.
pub fn salvage_store(
    config: &Config,
    to: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(Salvaged, Kept), StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let fresh = StoreId::generate(clock.now(), &SystemRandom);
    let keys = &config.tokens.keys_dir;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::System)?;
    let work = salvage::salvage(&config.store, keys, to, fresh, clock, progress);
    Ok(runtime.block_on(work)?)
}
