//! The ledger on disk: sled 0.34.7 with the guards that it needs.
//!
//! - Its `flush` hands bytes to the page cache and no further, so each commit ends with our own
//!   `fdatasync` on a second descriptor of its file. `flush_async` is never called: it hangs.
//! - `Tree::apply_batch` is as atomic over a crash as a transaction is: both write the batch's last
//!   log position into a place that recovery meets first, and recovery stops there when the log
//!   does not reach that far. One tree and one batch a commit is therefore enough.
//! - After a failed write its memory may hold half a batch. It is then closed and opened again, so
//!   that only what its log holds as a whole counts; until that works, everything is refused.
//! - A half-written snapshot keeps it from opening and a damaged one as well, though every record
//!   is in the log: [`place`] removes the first kind and sets the second aside.
//! - It takes the first damaged record for the end of its log and goes on from there. Commits are
//!   therefore counted, the last one is noted beside the log ([`witness`]), and what opening found is
//!   compared with it: a store that came back with less, or with other records, is refused.
//! - Its flusher thread stays on, because it is what gives unused space back to new records.

#[cfg(test)]
mod detector;
pub(in crate::store) mod inspect;
#[cfg(test)]
mod inspected;
mod log;
mod place;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod ties;
mod walk;
mod witness;

pub(crate) use self::place::is_ours;

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use place::hold;

use crate::store::StoreError;
use crate::store::codec;
use crate::store::embedded::commits::{Commit, Proof, Records as _, prove};
use crate::store::embedded::keys::META_COMMIT;
use crate::store::embedded::ledger::{Batch, Entry, KeyRange, Ledger, Order};
use crate::store::sled::place::{Marker, Place, explain};
use crate::store::sled::walk::Walk;
use crate::store::sled::witness::{Found, Line, Witness};
use crate::types::ids::StoreId;
use crate::types::time::{Clock, Timestamp};

pub(crate) use place::holds_a_store;
pub(in crate::store) use witness::seen_by_keys;

/// How often sled's own thread cleans up, in milliseconds.
const CLEAN_EVERY: u64 = 250;

/// How long to wait before opening again after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// How often, and with which pause, a file that is being let go of is looked at: ten seconds in all.
const RELEASE_TRIES: u32 = 500;
const RELEASE_PAUSE: Duration = Duration::from_millis(20);

/// The ledger.
#[derive(Debug)]
pub(crate) struct Sled {
    place: Place,
    cache: u64,
    durability: Durability,
    clock: Arc<dyn Clock>,
    proof: Proof,
    witness: Witness,
    state: State,
}

/// How far a commit goes before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// To the disk.
    Synced,
    /// To the operating system's memory; a power cut loses it. Only for showing just that.
    PageCache,
}

/// Whether what is opened is compared with what was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detector {
    /// It is.
    On,
    /// It is not. Only for showing that damage would be found.
    Off,
}

#[derive(Debug)]
enum State {
    Open(Engine),
    /// A write failed; it is opened again from then on.
    Broken {
        why: String,
        retry_at: Timestamp,
    },
    /// What is on the disk is not what was acknowledged.
    Dead(String),
    /// Its files are gone, or others are in their place.
    Lost(String),
    Closed,
}

#[derive(Debug)]
struct Engine {
    database: ::sled::Db,
    /// A descriptor of our own of sled's file, to sync it.
    file: File,
}

impl Sled {
    /// Opens the store of a directory.
    pub(crate) fn open(
        directory: &Path,
        cache: u64,
        durability: Durability,
        detector: Detector,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let place = Place::take(directory).map_err(|e| refusal(directory, e))?;
        let (engine, proof, found) = match detector {
            Detector::On => open_proved(&place, cache).map_err(|e| refusal(directory, e))?,
            Detector::Off => {
                let engine = start_engine(&place, cache)?;
                let proof = last_of(&engine)?;
                (engine, proof, Found::Nothing)
            }
        };
        let line = match (found, proof) {
            (Found::Line { line, .. }, Proof::Whole(commit)) => Line { commit, ..line },
            (_, Proof::Whole(commit)) => Line {
                commit,
                ..Line::default()
            },
            (_, Proof::Empty | Proof::Uncounted) => Line::default(),
        };
        let line = Line {
            unsynced: false,
            ..line
        };
        let witness = Witness::new(directory, line, durability == Durability::Synced);
        Ok(Self {
            place,
            cache,
            durability,
            clock,
            proof,
            witness,
            state: State::Open(engine),
        })
    }

    /// The engine, opened again first if it has failed and it is time.
    fn engine(&mut self) -> Result<&Engine, StoreError> {
        if let State::Broken { why, retry_at } = &self.state {
            let now = self.clock.now();
            if now < *retry_at {
                return Err(StoreError::Unavailable(why.clone()));
            }
            let acknowledged = self.witness.commit();
            let written = if self.witness.is_unsynced() {
                write_back(&self.place)
            } else {
                Ok(())
            };
            match written.and_then(|()| start(&self.place, self.cache, Some(&acknowledged))) {
                Ok((engine, _)) => {
                    tracing::warn!("the store works again");
                    self.state = State::Open(engine);
                }
                Err(StoreError::Damaged(what)) => {
                    let error = refusal(self.place.directory(), StoreError::Damaged(what));
                    tracing::error!(%error, "the store came back with less");
                    self.state = State::Dead(error.to_string());
                    return Err(StoreError::Unavailable(error.to_string()));
                }
                Err(error) => {
                    self.breaks(error.to_string());
                    return Err(StoreError::Unavailable(error.to_string()));
                }
            }
        }
        match &self.state {
            State::Open(engine) => Ok(engine),
            State::Broken { why, .. } | State::Dead(why) => {
                Err(StoreError::Unavailable(why.clone()))
            }
            State::Lost(why) => Err(StoreError::Lost(why.clone())),
            State::Closed => Err(StoreError::Unavailable("the store is closed".to_owned())),
        }
    }

    fn read<T>(
        &mut self,
        read: impl FnOnce(&::sled::Db) -> Result<T, ::sled::Error>,
    ) -> Result<T, StoreError> {
        let directory = self.place.directory().to_owned();
        let engine = self.engine()?;
        read(&engine.database).map_err(|error| told(&directory, &error))
    }

    /// Gives up the store: nothing that is written any more could be found again.
    fn give_up(&mut self, why: &str) -> StoreError {
        let why = format!(
            "the store in {} is lost: {why}. Put the directory back as it was, or restore a backup, \
             then restart sidegate",
            self.place.directory().display()
        );
        tracing::error!("{why}");
        discard(std::mem::replace(&mut self.state, State::Lost(why.clone())));
        StoreError::Lost(why)
    }

    /// Closes the engine after a failure and lets it be opened again later.
    fn breaks(&mut self, why: String) {
        let retry_at = self.clock.now().plus(RETRY);
        let failed = std::mem::replace(&mut self.state, State::Broken { why, retry_at });
        discard(failed);
    }
}

impl Ledger for Sled {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|database| Ok(database.get(key)?.map(|value| value.to_vec())))
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        self.read(|database| {
            let found = database.range(range.from.clone()..range.to.clone());
            let pair = |pair: Result<(::sled::IVec, ::sled::IVec), _>| {
                pair.map(|(key, value)| Entry {
                    key: key.to_vec(),
                    value: value.to_vec(),
                })
            };
            match order {
                Order::Ascending => found.take(limit).map(pair).collect(),
                Order::Descending => found.rev().take(limit).map(pair).collect(),
            }
        })
    }

    fn identify(&mut self, store: StoreId, apart: Option<&Path>) -> Result<(), StoreError> {
        self.witness.identify(store, apart);
        match self.proof {
            Proof::Whole(_) => {
                let compared = self.witness.compare_with_keys();
                compared.map_err(|e| refusal(self.place.directory(), e))?;
                self.witness.renew(self.clock.monotonic())
            }
            // There is nothing to note before the first counted commit.
            Proof::Empty | Proof::Uncounted => Ok(()),
        }
    }

    fn commit(&mut self, batch: &Batch, commit: &Commit) -> Result<(), StoreError> {
        let synced = self.durability == Durability::Synced;
        let directory = self.place.directory().to_owned();
        let engine = self.engine()?;
        let writes = to_sled(batch);
        // A panic halfway is like any other failure halfway.
        let written = catch_unwind(AssertUnwindSafe(|| {
            engine.database.apply_batch(writes)?;
            engine.database.flush()
        }))
        .unwrap_or_else(|_| Err(::sled::Error::ReportableBug("it panics".to_owned())));
        if let Err(error) = written {
            tracing::error!(%error, "the store engine could not write");
            self.breaks(told(&directory, &error).to_string());
            // Whether the log holds the whole batch, only the next opening can tell.
            return Err(StoreError::Indeterminate);
        }
        if synced && let Err(error) = engine.file.sync_data() {
            tracing::error!(%error, "the disk did not take what was written");
            self.witness.note_unsynced();
            self.breaks(format!(
                "the disk did not take what was written ({error}): look at the disk"
            ));
            return Err(StoreError::Indeterminate);
        }
        if let State::Open(engine) = &self.state
            && let Err(why) = self.place.still_holds(&engine.file)
        {
            return Err(self.give_up(&why));
        }
        if let Err(error) = self.witness.note(*commit, self.clock.monotonic()) {
            tracing::error!(%error, "the number of the last commit cannot be noted");
            self.breaks(error.to_string());
            return Err(StoreError::Indeterminate);
        }
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        match &self.state {
            State::Open(engine) => engine.file.metadata().map_or(0, |found| found.len()),
            State::Broken { .. } | State::Dead(_) | State::Lost(_) | State::Closed => 0,
        }
    }

    fn is_new(&self) -> bool {
        self.place.is_new()
    }

    fn mark_created(&mut self, store: StoreId) -> Result<(), StoreError> {
        self.place.mark(store)
    }

    fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost(_))
    }

    fn tick(&mut self) {
        if let State::Open(engine) = &self.state
            && let Err(why) = self.place.still_holds(&engine.file)
        {
            // It is in the log; the next call is refused.
            drop(self.give_up(&why));
        }
        if matches!(self.state, State::Open(_))
            && let Err(error) = self.witness.sync(self.clock.monotonic())
        {
            tracing::error!(%error, "the number of the last commit cannot be synced");
            self.breaks(error.to_string());
        }
    }

    fn close(&mut self) -> Result<(), StoreError> {
        let state = std::mem::replace(&mut self.state, State::Closed);
        let outcome = match &state {
            State::Open(engine) => engine.file.sync_data(),
            State::Broken { .. } | State::Dead(_) | State::Lost(_) | State::Closed => Ok(()),
        };
        discard(state);
        outcome.map_err(|e| explain(self.place.directory(), &e))?;
        self.witness.sync(self.clock.monotonic())
    }
}

/// Lets go of the engine. It panics when its last sync fails, which changes nothing for us: what
/// was acknowledged has been synced before.
fn discard<T>(held: T) {
    if catch_unwind(AssertUnwindSafe(|| drop(held))).is_err() {
        tracing::error!("the store engine did not stop cleanly");
    }
}

fn to_sled(batch: &Batch) -> ::sled::Batch {
    let mut writes = ::sled::Batch::default();
    for (key, write) in &batch.writes {
        match write {
            Some(value) => writes.insert(key.as_slice(), value.as_slice()),
            None => writes.remove(key.as_slice()),
        }
    }
    writes
}

/// Starts the engine and compares what it finds with the witness.
fn open_proved(place: &Place, cache: u64) -> Result<(Engine, Proof, Found), StoreError> {
    let found = Found::read(place.directory())?;
    let counted = matches!(place.marker(), Marker::Of(_) | Marker::Damaged);
    match found {
        Found::Unreadable => {
            return Err(StoreError::Damaged(
                "both copies of the number of its last commit (commit-a and commit-b) are damaged"
                    .to_owned(),
            ));
        }
        Found::Nothing if counted => return Err(StoreError::Damaged(NO_WITNESS.to_owned())),
        Found::Line { alone: true, .. } => tracing::warn!(
            directory = %place.directory().display(),
            "one of commit-a and commit-b is missing or damaged; it is written anew from the other"
        ),
        Found::Nothing | Found::Line { .. } => {}
    }
    if matches!(found, Found::Line { line, .. } if line.unsynced) {
        write_back(place)?;
    }
    if is_doubtful(place)? {
        rehearse(place, cache, found.commit().as_ref())?;
    }
    let (engine, proof) = start(place, cache, found.commit().as_ref())?;
    match proof {
        // A crash right after the first counted commit leaves no witness; a later one cannot.
        Proof::Whole(commit) if found == Found::Nothing && commit.number > 1 => {
            discard(State::Open(engine));
            Err(StoreError::Damaged(NO_WITNESS.to_owned()))
        }
        _ => Ok((engine, proof, found)),
    }
}

/// Whether opening the store could destroy something that shows what happened to it: the engine cuts
/// its log behind the first record that it cannot read.
fn is_doubtful(place: &Place) -> Result<bool, StoreError> {
    let snapshot = place.snapshot_position()?;
    let look = || -> io::Result<bool> {
        let file = match File::open(place.database()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        // A log that was cut between two records has no trace of it, so what is small is always tried first.
        if file.metadata()?.len() <= SMALL {
            return Ok(true);
        }
        // In a larger one the rest of a segment that is used again looks like a tail.
        let found = log::look(&file)?;
        Ok(found.holes > 0 || found.tip < snapshot)
    };
    let doubtful = look().map_err(|e| explain(place.directory(), &e))?;
    Ok(doubtful || !place.has_sound_snapshot()? || !place.has_sound_settings()?)
}

/// A database up to this size is always tried on a copy, which costs milliseconds.
const SMALL: u64 = 16 << 20;

/// Tries the start on a copy, so that a store that is refused stays as it was found.
fn rehearse(place: &Place, cache: u64, acknowledged: Option<&Commit>) -> Result<(), StoreError> {
    let copy = place.copy_to(&place.copy_directory())?;
    let outcome = start(&copy, cache, acknowledged).map(|(engine, _)| discard(State::Open(engine)));
    await_release(&copy);
    place.remove_copy()?;
    outcome
}

/// Gives all of the log to the disk again, after a sync that failed. The system may have dropped what
/// it could not write and still show it to readers, and it reports a failure only once: only what is
/// written anew and then synced is known to be on the disk.
fn write_back(place: &Place) -> Result<(), StoreError> {
    // An engine that was closed a moment ago may still write.
    await_release(place);
    let copy = || -> io::Result<()> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(place.database())?;
        let mut chunk = vec![0; 1 << 20];
        let mut at = 0;
        loop {
            let count = file.read_at(&mut chunk, at)?;
            let Some(read) = chunk.get(..count).filter(|read| !read.is_empty()) else {
                break;
            };
            file.write_all_at(read, at)?;
            at += count as u64;
        }
        file.sync_all()
    };
    copy().map_err(|e| explain(place.directory(), &e))?;
    tracing::warn!("the log was given to the disk again, and the disk took it");
    Ok(())
}

/// Believes what the log says.
fn last_of(engine: &Engine) -> Result<Proof, StoreError> {
    let found = Walk(&engine.database).value(META_COMMIT)?;
    Ok(match found {
        Some(bytes) => Proof::Whole(codec::decode(META_COMMIT, &bytes)?),
        None => Proof::Empty,
    })
}

const NO_WITNESS: &str =
    "both copies of the number of its last commit (commit-a and commit-b) are missing";

/// Starts the engine; when a snapshot is damaged, once more without it. Refuses what is not what
/// was acknowledged.
fn start(
    place: &Place,
    cache: u64,
    acknowledged: Option<&Commit>,
) -> Result<(Engine, Proof), StoreError> {
    let engine = start_engine(place, cache)?;
    match prove(&Walk(&engine.database), acknowledged) {
        Ok(proof) => Ok((engine, proof)),
        Err(error) => {
            discard(State::Open(engine));
            Err(match error {
                StoreError::Corrupt(what) => StoreError::Damaged(what),
                other => other,
            })
        }
    }
}

fn start_engine(place: &Place, cache: u64) -> Result<Engine, StoreError> {
    place.remove_half_snapshots()?;
    let database = match open_database(place, cache) {
        Ok(database) => database,
        Err(Failed::Told(error)) => return Err(error),
        Err(Failed::Damaged(what)) => {
            tracing::error!(
                what,
                "the store does not open; trying without its snapshots"
            );
            let retried = if place.quarantine_snapshots()? {
                open_database(place, cache)
            } else {
                Err(Failed::Damaged(what))
            };
            retried.map_err(Failed::after_retry)?
        }
    };
    let open = || -> io::Result<File> {
        let file = File::open(place.database())?;
        // Recovery may have written; it must be down before anything is built on it.
        file.sync_all()?;
        place.sync_directory()?;
        Ok(file)
    };
    match open() {
        Ok(file) => Ok(Engine { database, file }),
        Err(e) => {
            discard(database);
            Err(explain(place.directory(), &e))
        }
    }
}

/// How opening failed.
enum Failed {
    /// It has been explained.
    Told(StoreError),
    /// What is on disk does not make sense to the engine.
    Damaged(String),
}

impl Failed {
    fn after_retry(self) -> StoreError {
        match self {
            Self::Told(error) => error,
            Self::Damaged(what) => StoreError::Damaged(format!(
                "its log cannot be read, also not without its snapshots ({what})"
            )),
        }
    }
}

/// What an operator reads when a store is refused: what was found, and the commands that decide.
fn refusal(directory: &Path, error: StoreError) -> StoreError {
    let StoreError::Damaged(what) = error else {
        return error;
    };
    let directory = directory.display();
    StoreError::Damaged(format!(
        "the store in {directory} is damaged and is not used: {what}.\n\
         Starting with it could bring back ended sessions or lose accounts. Keep a copy of the \
         directory, then decide:\n  \
         sidegate store verify           says what is damaged, and changes nothing\n  \
         sidegate restore FILE --replace puts a backup in its place\n  \
         sidegate store salvage NEW-DIR  copies what can still be read into a new store, with every \
         session ended"
    ))
}

fn open_database(place: &Place, cache: u64) -> Result<::sled::Db, Failed> {
    let config = ::sled::Config::new()
        .path(place.directory())
        .cache_capacity(cache)
        .flush_every_ms(Some(CLEAN_EVERY))
        .mode(::sled::Mode::LowSpace);
    await_release(place);
    // On damage that it does not expect the engine panics.
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(error)) if is_damage(&error) => Err(Failed::Damaged(error.to_string())),
        Ok(Err(error)) => Err(Failed::Told(told(place.directory(), &error))),
        Err(_) => Err(Failed::Damaged("it panics".to_owned())),
    }
}

/// The engine's own threads let go of its file a moment after its last user did. We hold our own lock,
/// so whoever still holds theirs is an instance of this process that has been closed.
fn await_release(place: &Place) {
    for _ in 0..RELEASE_TRIES {
        match File::open(place.database()).map(|file| file.try_lock()) {
            Ok(Err(TryLockError::WouldBlock)) => std::thread::park_timeout(RELEASE_PAUSE),
            // Free, not there yet, or a trouble that opening will tell.
            Ok(Ok(()) | Err(TryLockError::Error(_))) | Err(_) => return,
        }
    }
}

fn is_damage(error: &::sled::Error) -> bool {
    match error {
        ::sled::Error::Corruption { .. } | ::sled::Error::ReportableBug(_) => true,
        ::sled::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
        ),
        ::sled::Error::CollectionNotFound(_) | ::sled::Error::Unsupported(_) => false,
    }
}

fn told(directory: &Path, error: &::sled::Error) -> StoreError {
    match error {
        ::sled::Error::Io(error) => explain(directory, error),
        ::sled::Error::Unsupported(what) => StoreError::Damaged(format!(
            "it holds something that this version cannot open: {what}"
        )),
        ::sled::Error::Corruption { .. }
        | ::sled::Error::ReportableBug(_)
        | ::sled::Error::CollectionNotFound(_) => StoreError::Corrupt(error.to_string()),
    }
}
