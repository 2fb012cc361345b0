//! Looking into a store without changing it: what is sound, what is not, and what can still be read.
//!
//! The engine changes what it opens, and cuts off what follows damage. Everything here works on a
//! copy.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::store::embedded::commits::{Commit, Records as _};
use crate::store::embedded::digest::Digest;
use crate::store::embedded::founding::StoredIdentity;
use crate::store::embedded::keys::{META_COMMIT, META_STORE};
use crate::store::embedded::ledger::Entry;
use crate::store::sled::place::{Marker, Place, explain};
use crate::store::sled::walk::Walk;
use crate::store::sled::witness::Found;
use crate::store::sled::{Engine, State, await_release, discard, log, start_engine};
use crate::store::{StoreError, codec};
use crate::types::ids::StoreId;

/// What a store holds and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspection {
    /// Which store it is.
    pub store: Option<StoreId>,
    /// The commit that its log ends at.
    pub commit: Option<u64>,
    /// The last commit that was acknowledged.
    pub acknowledged: Option<u64>,
    /// Records that were read.
    pub records: u64,
    /// What is wrong. Empty for a sound store.
    pub problems: Vec<String>,
    /// What the next start puts right by itself.
    pub notes: Vec<String>,
}

/// The most problems that are listed.
const LISTED: usize = 50;

/// How many records are between two calls to say how far it is.
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
    let acknowledged = look_around(&place, &mut found)?;
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

/// What lies beside the log.
fn look_around(place: &Place, found: &mut Inspection) -> Result<Option<Commit>, StoreError> {
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
    let look = File::open(place.database()).and_then(|file| log::look(&file));
    match look.map_err(|e| explain(place.directory(), &e))? {
        look if look.holes > 0 => found.problem(format!(
            "its log has damage in {} of {} segments in front of its end",
            look.holes, look.segments
        )),
        _ => {}
    }
    if !place.has_sound_snapshot()? {
        let words = "a snapshot is damaged; the log is read in its place";
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
        true
    });
    found.records = records;
    for what in damaged.into_iter().chain(unreadable) {
        found.problem(what);
    }
    let Some(last) = last else {
        if acknowledged.is_some() {
            found.problem("its log ends before its first counted commit".to_owned());
        }
        return;
    };
    if last.digest != digest {
        found.problem(format!(
            "its {records} records are not those of its last commit, {}",
            last.number
        ));
    }
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

fn read<T: serde::de::DeserializeOwned>(
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

/// Visits every record that can be read, around the pages that cannot, until `visit` says no. Returns
/// what cannot be read.
fn each_readable(
    database: &::sled::Db,
    visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Vec<String> {
    let mut unreadable = Vec::new();
    for tag in 0..=u8::MAX {
        if is_empty(database, tag) {
            continue;
        }
        for part in 0..=u8::MAX {
            let from = if part == 0 {
                vec![tag]
            } else {
                vec![tag, part]
            };
            let to = match (tag, part) {
                (u8::MAX, u8::MAX) => vec![u8::MAX; 64],
                (_, u8::MAX) => vec![tag + 1],
                _ => vec![tag, part + 1],
            };
            let mut last = None;
            let broke = forward(database, &from, &to, &mut last, visit);
            let Some(why) = broke else { continue };
            let table = char::from(tag);
            unreadable.push(format!("a page of table {table} cannot be read ({why})"));
            // From the other end, down to what has been visited.
            let mut rest = Vec::new();
            let down_to = last.map_or(from, |mut last: Vec<u8>| {
                last.push(0);
                last
            });
            backward(database, &down_to, &to, &mut rest);
            for (key, value) in rest.into_iter().rev() {
                if !visit(&key, &value) {
                    return unreadable;
                }
            }
        }
    }
    unreadable
}

fn is_empty(database: &::sled::Db, tag: u8) -> bool {
    let first = catch_unwind(AssertUnwindSafe(|| database.scan_prefix([tag]).next()));
    matches!(first, Ok(None))
}

fn forward(
    database: &::sled::Db,
    from: &[u8],
    to: &[u8],
    last: &mut Option<Vec<u8>>,
    visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Option<String> {
    let walked = catch_unwind(AssertUnwindSafe(|| {
        for pair in database.range(from..to) {
            match pair {
                Ok((key, value)) => {
                    if last.as_ref().is_some_and(|last| **last >= *key) {
                        return Some("its keys are not in order".to_owned());
                    }
                    *last = Some(key.to_vec());
                    if !visit(&key, &value) {
                        return None;
                    }
                }
                Err(error) => return Some(error.to_string()),
            }
        }
        None
    }));
    walked.unwrap_or_else(|_| Some("the engine panics".to_owned()))
}

fn backward(database: &::sled::Db, from: &[u8], to: &[u8], found: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    // What was collected before a panic or an error counts.
    let _ended = catch_unwind(AssertUnwindSafe(|| {
        for pair in database.range(from..to).rev() {
            match pair {
                Ok((key, value)) if found.last().is_none_or(|last| *last.0 > *key) => {
                    found.push((key.to_vec(), value.to_vec()));
                }
                _ => return,
            }
        }
    }));
}

/// What is known about a store whose records are salvaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Salvaged {
    /// Which store it was.
    pub store: Option<StoreId>,
    /// The highest number of a commit that is known, acknowledged or found.
    pub commit: u64,
    /// Damaged stretches of the log that were read around.
    pub bridged: u64,
    /// Parts that could not be read.
    pub unreadable: u64,
}

/// Which store lies in a directory and which commit was the last to be acknowledged, as far as that
/// is known without its log.
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
    /// Its log is read around the damage, without snapshots.
    Bridged,
    /// As it is.
    Plain,
    /// Up to the first damage, without snapshots.
    WithoutSnapshots,
}

/// Reads every record of a damaged store that can still be read, and hands them on in batches until
/// `take` says no. Works on copies in `scratch`, which is made and removed.
pub(in crate::store) fn salvage(
    directory: &Path,
    scratch: &Path,
    take: &mut dyn FnMut(Vec<Entry>) -> bool,
) -> Result<Salvaged, StoreError> {
    let place = Place::inspect(directory)?;
    let mut around = Inspection::default();
    let acknowledged = look_around(&place, &mut around)?.map_or(0, |commit| commit.number);
    let mut best: Option<(u64, Attempt)> = None;
    for attempt in [Attempt::Bridged, Attempt::Plain, Attempt::WithoutSnapshots] {
        let mut count = 0;
        let tried = try_open(&place, scratch, attempt, &mut |engine| {
            each_readable(&engine.database, &mut |key, value| {
                count += u64::from(codec::check(key, value).is_ok());
                true
            });
        })?;
        if tried.is_some() && best.is_none_or(|(most, _)| count > most) {
            best = Some((count, attempt));
        }
    }
    let Some((_, attempt)) = best else {
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
        let unreadable = each_readable(&engine.database, &mut |key, value| {
            batch.push(Entry {
                key: key.to_vec(),
                value: value.to_vec(),
            });
            batch.len() < BATCH || take(std::mem::take(&mut batch))
        });
        salvaged.unreadable = unreadable.len() as u64;
        take(batch);
    })?;
    salvaged.bridged = bridged.unwrap_or_default();
    Ok(salvaged)
}

const BATCH: usize = 256;

/// Opens a copy and hands it on. `None` when it does not open.
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
