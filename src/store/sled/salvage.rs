//! How are the records of a damaged store saved? From the copy of it that returns most of them.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

use crate::store::embedded::commits::Commit;
use crate::store::embedded::founding::StoredIdentity;
use crate::store::embedded::keys::{META_COMMIT, META_STORE};
use crate::store::embedded::ledger::Entry;
use crate::store::sled::disk_error::explain;
use crate::store::sled::inspect::{Inspection, examine_files, read};
use crate::store::sled::marker::Marker;
use crate::store::sled::opening::{await_release, start_engine};
use crate::store::sled::place::Place;
use crate::store::sled::readable::each_readable;
use crate::store::sled::walk::Walk;
use crate::store::sled::witness::Found;
use crate::store::sled::{Engine, State, discard, log};
use crate::store::{StoreError, codec};
use crate::types::ids::StoreId;

/// Cache of a copy, in bytes.
const CACHE: u64 = 32 << 20;

/// The number of records in a batch.
const BATCH: usize = 256;

/// The known facts about a store from which records are salvaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Salvaged {
    /// The id of the store.
    pub store: Option<StoreId>,
    /// The greatest commit number that is known, acknowledged or found.
    pub commit: u64,
    /// The number of damaged stretches of the log that were skipped.
    pub bridged: u64,
    /// The number of parts that could not be read.
    pub unreadable: u64,
}

/// The id of the store in a directory and its last acknowledged commit, as far as they are known
/// without its log.
pub(in crate::store) fn acknowledged(
    directory: &Path,
) -> Result<(Option<StoreId>, u64), StoreError> {
    let place = Place::inspect(directory)?;
    let marked = match place.marker() {
        Marker::Of(store) => Some(store),
        Marker::Missing | Marker::Uncounted | Marker::Damaged => None,
    };
    Ok(match Found::read(place.directory())? {
        Found::Line { line, .. } => (line.store.or(marked), line.commit.number),
        Found::Nothing | Found::Unreadable => (marked, 0),
    })
}

/// How a copy is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// Without snapshots; damaged stretches of the log are skipped.
    Bridged,
    /// Unchanged.
    Plain,
    /// Without snapshots, up to the first damage.
    WithoutSnapshots,
}

/// Reads every record of a damaged store that can still be read, and passes them on in batches until
/// `take` returns [`ControlFlow::Break`]. Works on copies in `scratch`, which is created and removed.
pub(in crate::store) fn salvage(
    directory: &Path,
    scratch: &Path,
    take: &mut dyn FnMut(Vec<Entry>) -> ControlFlow<()>,
) -> Result<Salvaged, StoreError> {
    let place = Place::inspect(directory)?;
    let mut around = Inspection::default();
    let acknowledged = examine_files(&place, &mut around)?.map_or(0, |commit| commit.number);
    let Some(attempt) = best_attempt(&place, scratch)? else {
        return Err(StoreError::Damaged(format!(
            "nothing of the store in {} can be read",
            directory.display()
        )));
    };
    let mut salvaged = Salvaged {
        store: around.store,
        commit: acknowledged,
        ..Salvaged::default()
    };
    let bridged = try_open(&place, scratch, attempt, &mut |engine| {
        let walk = Walk(&engine.database);
        let identity: Option<StoredIdentity> = read(&walk, META_STORE, &mut around);
        let last: Option<Commit> = read(&walk, META_COMMIT, &mut around);
        salvaged.store = identity.map(|identity| identity.store).or(salvaged.store);
        salvaged.commit = salvaged.commit.max(last.map_or(0, |last| last.number));
        let mut batch = Vec::new();
        let mut flow = ControlFlow::Continue(());
        let unreadable = each_readable(&engine.database, &mut |key, value| {
            batch.push(Entry {
                key: key.to_vec(),
                value: value.to_vec(),
            });
            if batch.len() == BATCH {
                flow = take(std::mem::take(&mut batch));
            }
            flow
        });
        salvaged.unreadable = unreadable.len() as u64;
        if flow.is_continue() {
            // With the last batch it does not matter whether more is wanted.
            let _last = take(batch);
        }
    })?;
    salvaged.bridged = bridged.unwrap_or_default();
    Ok(salvaged)
}

/// The attempt that returns most records; `None` when no copy opens.
fn best_attempt(place: &Place, scratch: &Path) -> Result<Option<Attempt>, StoreError> {
    let mut best: Option<(u64, Attempt)> = None;
    for attempt in [Attempt::Bridged, Attempt::Plain, Attempt::WithoutSnapshots] {
        let mut count = 0;
        let tried = try_open(place, scratch, attempt, &mut |engine| {
            each_readable(&engine.database, &mut |key, value| {
                count += u64::from(codec::check(key, value).is_ok());
                ControlFlow::Continue(())
            });
        })?;
        if tried.is_some() && best.is_none_or(|(most, _)| count > most) {
            best = Some((count, attempt));
        }
    }
    Ok(best.map(|(_, attempt)| attempt))
}

/// Opens a copy and calls `with` on it. Returns the number of stretches that were skipped; `None` when
/// the copy does not open.
fn try_open(
    place: &Place,
    scratch: &Path,
    attempt: Attempt,
    with: &mut dyn FnMut(&Engine),
) -> Result<Option<u64>, StoreError> {
    remove(scratch)?;
    let copy = place.copy_to(scratch)?;
    if attempt != Attempt::Plain {
        copy.quarantine_snapshots()?;
    }
    let mut bridged = 0;
    if attempt == Attempt::Bridged {
        let file = File::options().read(true).write(true).open(copy.database());
        let done = file.and_then(|file| log::bridge(&file));
        bridged = done.map_err(|e| explain(scratch, &e))?;
    }
    let opened = match start_engine(&copy, CACHE) {
        Ok(engine) => {
            with(&engine);
            discard(State::Open(engine));
            Some(bridged)
        }
        Err(StoreError::Damaged(_)) => None,
        Err(other) => {
            await_release(&copy);
            remove(scratch)?;
            return Err(other);
        }
    };
    await_release(&copy);
    remove(scratch)?;
    Ok(opened)
}

fn remove(scratch: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(scratch) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(explain(scratch, &e)),
        _ => Ok(()),
    }
}
