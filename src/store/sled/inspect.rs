//! What is wrong with a store? Read on a copy, without a change to the store.
//!
//! The engine changes the files that it opens, and removes everything after damage. Everything here works on a
//! copy.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

use crate::store::embedded::commits::{Commit, Records as _};
use crate::store::embedded::digest::Digest;
use crate::store::embedded::founding::StoredIdentity;
use crate::store::embedded::keys::{META_COMMIT, META_STORE};
use crate::store::sled::disk_error::explain;
use crate::store::sled::marker::Marker;
use crate::store::sled::opening::{await_release, start_engine};
use crate::store::sled::place::Place;
use crate::store::sled::readable::each_readable;
use crate::store::sled::walk::Walk;
use crate::store::sled::witness::Found;
use crate::store::sled::{Engine, State, discard, log};
use crate::store::{StoreError, codec};
use crate::types::ids::StoreId;

/// The content of a store, and its damage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspection {
    /// The id of the store.
    pub store: Option<StoreId>,
    /// The last commit in its log.
    pub commit: Option<u64>,
    /// The last commit that was acknowledged.
    pub acknowledged: Option<u64>,
    /// The number of records that were read.
    pub records: u64,
    /// The damage. Empty for an intact store.
    pub problems: Vec<String>,
    /// Defects that the next start repairs without help.
    pub notes: Vec<String>,
}

/// The largest number of problems in the list.
const LISTED: usize = 50;

/// The number of records between two reports of progress.
const STEP: u64 = 10_000;

/// Cache of a copy, in bytes.
const CACHE: u64 = 32 << 20;

/// Reads everything in the store of a directory and compares it with what was acknowledged. Calls
/// `progress` with the number of records read so far.
pub(in crate::store) fn inspect(
    directory: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Inspection, StoreError> {
    let place = Place::inspect(directory)?;
    let mut found = Inspection::default();
    let acknowledged = examine_files(&place, &mut found)?;
    let copy = place.copy_to(&place.copy_directory())?;
    let outcome = match start_engine(&copy, CACHE) {
        Ok(engine) => {
            read_all(&engine, acknowledged, &mut found, progress);
            discard(State::Open(engine));
            Ok(())
        }
        Err(StoreError::Damaged(what)) => {
            found.problem(what);
            Ok(())
        }
        Err(other) => Err(other),
    };
    await_release(&copy);
    place.remove_copy()?;
    outcome.map(|()| found)
}

impl Inspection {
    fn problem(&mut self, what: String) {
        if self.problems.len() < LISTED {
            self.problems.push(what);
        }
    }
}

/// Examines the files beside the log. Returns the last acknowledged commit.
pub(super) fn examine_files(
    place: &Place,
    found: &mut Inspection,
) -> Result<Option<Commit>, StoreError> {
    match place.marker() {
        Marker::Of(_) => {}
        Marker::Uncounted => found
            .notes
            .push("written by an earlier version that did not count commits".to_owned()),
        Marker::Missing => found.notes.push("its marker file is missing".to_owned()),
        Marker::Damaged => found.notes.push("its marker file is damaged".to_owned()),
    }
    let witness = Found::read(place.directory())?;
    match witness {
        Found::Line { line, alone } => {
            found.store = line.store;
            if alone {
                let words = "one of commit-a and commit-b is missing or damaged";
                found.notes.push(words.to_owned());
            }
            if line.unsynced {
                let words = "the disk refused a sync; the log is written to it again";
                found.notes.push(words.to_owned());
            }
        }
        Found::Unreadable => found.problem("commit-a and commit-b are damaged".to_owned()),
        Found::Nothing if place.marker() == Marker::Uncounted => {}
        Found::Nothing => found.problem("commit-a and commit-b are missing".to_owned()),
    }
    let acknowledged = witness.commit();
    found.acknowledged = acknowledged.map(|commit| commit.number);
    let scan = match File::open(place.database()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            found.problem("its log, the file `db`, is missing".to_owned());
            return Ok(acknowledged);
        }
        opened => opened.and_then(|file| log::scan(&file)),
    };
    match scan.map_err(|e| explain(place.directory(), &e))? {
        scan if scan.holes > 0 => found.problem(format!(
            "its log has damage in {} of {} segments in front of its end",
            scan.holes, scan.segments
        )),
        _ => {}
    }
    if !place.has_sound_snapshot()? {
        let words = "a snapshot is damaged; the log is read instead";
        found.notes.push(words.to_owned());
    }
    if !place.has_sound_settings()? {
        found.problem("the engine's file `conf` is damaged".to_owned());
    }
    Ok(acknowledged)
}

fn read_all(
    engine: &Engine,
    acknowledged: Option<Commit>,
    found: &mut Inspection,
    progress: &mut dyn FnMut(u64),
) {
    let walk = Walk(&engine.database);
    let last: Option<Commit> = read(&walk, META_COMMIT, found);
    let identity: Option<StoredIdentity> = read(&walk, META_STORE, found);
    found.store = identity.map(|identity| identity.store).or(found.store);
    found.commit = last.map(|last| last.number);
    let mut digest = Digest::default();
    let mut records = 0;
    let mut damaged = Vec::new();
    let unreadable = each_readable(&engine.database, &mut |key, value| {
        if key != META_COMMIT {
            digest = digest.plus(Digest::of(key, value));
            records += 1;
        }
        if let Err(error) = codec::check(key, value) {
            damaged.push(error.to_string());
        }
        if records % STEP == 0 {
            progress(records);
        }
        ControlFlow::Continue(())
    });
    found.records = records;
    for what in damaged.into_iter().chain(unreadable) {
        found.problem(what);
    }
    match last {
        Some(last) => {
            if last.digest != digest {
                found.problem(format!(
                    "its {records} records are not those of its last commit, {}",
                    last.number
                ));
            }
            compare(last, acknowledged, found);
        }
        None if acknowledged.is_some() => {
            found.problem("its log ends before its first counted commit".to_owned());
        }
        None => {}
    }
}

/// Compares the last commit in the log with the last acknowledged one.
fn compare(last: Commit, acknowledged: Option<Commit>, found: &mut Inspection) {
    match acknowledged {
        Some(expected) if last.number < expected.number => found.problem(format!(
            "its log ends at commit {}, and commit {} was acknowledged: {} commits are lost",
            last.number,
            expected.number,
            expected.number - last.number
        )),
        Some(expected) if last.number == expected.number && last != expected => {
            found.problem(format!(
                "its commit {} is not the one that was acknowledged",
                last.number
            ));
        }
        _ => {}
    }
}

pub(super) fn read<T: serde::de::DeserializeOwned>(
    walk: &Walk<'_>,
    key: &[u8],
    found: &mut Inspection,
) -> Option<T> {
    let value = walk
        .value(key)
        .and_then(|bytes| bytes.map(|bytes| codec::decode(key, &bytes)).transpose());
    value.unwrap_or_else(|error| {
        found.problem(error.to_string());
        None
    })
}
