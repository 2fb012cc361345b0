//! How do `store verify` and `store salvage` work? They read a store without a change, and build a new one
//! from the records that can still be read.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use crate::model::session::EndReason;
use crate::store::embedded::Embedded;
use crate::store::embedded::ledger::Entry;
use crate::store::identity::{Ties, last_seen};
use crate::store::settings::{Engine, Settings};
use crate::store::sled::{inspect, salvage as damaged};
use crate::store::{BulkStore as _, Lifecycle as _, StoreError};
use crate::types::ids::StoreId;
use crate::types::time::Clock;

pub use crate::store::embedded::salvage::Kept;
pub use crate::store::sled::inspect::Inspection;
pub use crate::store::sled::salvage::Salvaged;

/// The number of batches that may wait between reading and writing.
const WAITING: usize = 4;

/// Reads everything in the configured store and compares it with what was acknowledged. The store is
/// not changed. Calls `progress` with the number of records read so far.
pub fn verify(
    settings: &Settings,
    progress: &mut dyn FnMut(u64),
) -> Result<Inspection, StoreError> {
    inspect::inspect(directory(settings)?, progress)
}

/// Creates a new store in `to` from the readable records of the configured store, which is not changed.
/// Every session of the new store has ended.
pub async fn salvage(
    settings: &Settings,
    keys: &Path,
    to: &Path,
    fresh: StoreId,
    clock: Arc<dyn Clock>,
    progress: &mut dyn FnMut(u64),
) -> Result<(Salvaged, Kept), StoreError> {
    let from = directory(settings)?.to_owned();
    refuse_existing(to)?;
    let (known, acknowledged) = damaged::acknowledged(&from)?;
    let id = known.unwrap_or(fresh);
    let ties = Ties {
        after: acknowledged.max(last_seen(keys, id).unwrap_or_default()),
        ..Ties::none(id)
    };
    let scratch = beside(to);
    let (sender, batches) = sync_channel::<Vec<Entry>>(WAITING);
    let reader = thread::Builder::new()
        .name("salvage".to_owned())
        .spawn(move || {
            damaged::salvage(&from, &scratch, &mut |batch| {
                sender
                    .send(batch)
                    .map_or(ControlFlow::Break(()), ControlFlow::Continue)
            })
        })
        .map_err(|e| StoreError::Unavailable(format!("no thread to read the store: {e}")))?;
    let mut kept = Kept::default();
    let mut store = None;
    let mut read = 0;
    // The store is created with the first batch, when it is known that something can be read.
    while let Ok(batch) = batches.recv() {
        let open = match &store {
            Some(open) => open,
            None => store.insert(create(settings, to, &ties, &clock)?),
        };
        read += batch.len() as u64;
        progress(read);
        kept = open.take_in(batch, kept).await?;
    }
    let salvaged = reader
        .join()
        .map_err(|_| StoreError::Damaged("reading the store panics".to_owned()))??;
    let store = match store {
        Some(store) => store,
        None => create(settings, to, &ties, &clock)?,
    };
    store.end_all(EndReason::Operator).await?;
    store.close().await?;
    Ok((salvaged, kept))
}

fn create(
    settings: &Settings,
    to: &Path,
    ties: &Ties,
    clock: &Arc<dyn Clock>,
) -> Result<Embedded, StoreError> {
    let cache = match settings.engine {
        Engine::Memory => 0,
        Engine::Sled { cache, .. } => cache,
    };
    let settings = Settings {
        engine: Engine::Sled {
            path: to.to_owned(),
            cache,
        },
        ..settings.clone()
    };
    Embedded::open_tied(&settings, ties, Arc::clone(clock))
}

fn directory(settings: &Settings) -> Result<&Path, StoreError> {
    settings.engine.directory().ok_or_else(|| {
        StoreError::Config("store.url is `memory:`; there is nothing on disk".to_owned())
    })
}

fn refuse_existing(to: &Path) -> Result<(), StoreError> {
    let is_empty = match std::fs::read_dir(to) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if is_empty {
        return Ok(());
    }
    Err(StoreError::Config(format!(
        "{} exists already: name a directory that does not exist",
        to.display()
    )))
}

/// A directory beside the new one, for copies of the damaged store.
fn beside(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".salvage");
    to.with_file_name(name)
}
