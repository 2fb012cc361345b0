//! How is a sled store opened so that damage is detected and nothing is destroyed? A store in doubt is
//! tried on a copy, and the records are compared with the witness.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use crate::store::StoreError;
use crate::store::codec;
use crate::store::embedded::commits::{Commit, Proof, Records as _, prove};
use crate::store::embedded::keys::META_COMMIT;
use crate::store::sled::disk_error::explain;
use crate::store::sled::marker::Marker;
use crate::store::sled::place::Place;
use crate::store::sled::walk::Walk;
use crate::store::sled::witness::Found;
use crate::store::sled::{Engine, State, discard, log};

/// How often the thread of sled cleans up, in milliseconds.
const CLEAN_EVERY: u64 = 250;

/// The number of attempts to open a file that is being released, and the pause between two: ten seconds
/// in total.
const RELEASE_TRIES: u32 = 500;
const RELEASE_PAUSE: Duration = Duration::from_millis(20);

/// Starts the engine and compares what it finds with the witness.
pub(super) fn open_proved(place: &Place, cache: u64) -> Result<(Engine, Proof, Found), StoreError> {
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
            "one of commit-a and commit-b is missing or damaged; it is rewritten from the other"
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
        // A crash after the first counted commit can leave no witness. A later crash cannot.
        Proof::Whole(commit) if found == Found::Nothing && commit.number > 1 => {
            discard(State::Open(engine));
            Err(StoreError::Damaged(NO_WITNESS.to_owned()))
        }
        _ => Ok((engine, proof, found)),
    }
}

/// Whether opening the store could destroy evidence of damage: the engine truncates its log after the first
/// record that it cannot read.
pub(super) fn is_doubtful(place: &Place) -> Result<bool, StoreError> {
    let snapshot = place.snapshot_position()?;
    let examine = || -> io::Result<bool> {
        let file = match File::open(place.database()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        // A log that was cut between two records shows no trace of it, so a small one is always tried
        // first.
        if file.metadata()?.len() <= SMALL {
            return Ok(true);
        }
        // In a larger log, the rest of a segment that is used again cannot be distinguished from the end.
        let found = log::scan(&file)?;
        Ok(found.holes > 0 || found.tip < snapshot)
    };
    let doubtful = examine().map_err(|e| explain(place.directory(), &e))?;
    Ok(doubtful || !place.has_sound_snapshot()? || !place.has_sound_settings()?)
}

/// A database up to this size is always tried on a copy, which takes milliseconds.
const SMALL: u64 = 16 << 20;

/// Tries the start on a copy, so that a store that is refused is not changed.
pub(super) fn rehearse(
    place: &Place,
    cache: u64,
    acknowledged: Option<&Commit>,
) -> Result<(), StoreError> {
    let copy = place.copy_to(&place.copy_directory())?;
    let outcome = start(&copy, cache, acknowledged).map(|(engine, _)| discard(State::Open(engine)));
    await_release(&copy);
    place.remove_copy()?;
    outcome
}

/// Writes the whole log again after a sync has failed. The system may have dropped pages that it could
/// not write, and may still show them to readers; it reports a failure only once. Only bytes that are
/// written and synced again are known to be on the disk.
pub(super) fn write_back(place: &Place) -> Result<(), StoreError> {
    // An engine that was just closed may still write.
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
    tracing::warn!("the log was written to the disk again, and the sync succeeded");
    Ok(())
}

/// The last commit according to the log, without a comparison.
pub(super) fn last_of(engine: &Engine) -> Result<Proof, StoreError> {
    let found = Walk(&engine.database).value(META_COMMIT)?;
    Ok(match found {
        Some(bytes) => Proof::Whole(codec::decode(META_COMMIT, &bytes)?),
        None => Proof::Empty,
    })
}

const NO_WITNESS: &str =
    "both copies of the number of its last commit (commit-a and commit-b) are missing";

/// Starts the engine; if that fails, once more without snapshots. Fails when the store does not hold
/// what was acknowledged.
pub(super) fn start(
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

pub(super) fn start_engine(place: &Place, cache: u64) -> Result<Engine, StoreError> {
    place.remove_half_snapshots()?;
    let database = match open_database(place, cache) {
        Ok(database) => database,
        Err(Failed::Other(error)) => return Err(error),
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
        // Recovery may have written. This must be durable before anything depends on it.
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

/// Why opening failed.
pub(super) enum Failed {
    /// An error with its text for the operator.
    Other(StoreError),
    /// The engine cannot interpret the files.
    Damaged(String),
}

impl Failed {
    fn after_retry(self) -> StoreError {
        match self {
            Self::Other(error) => error,
            Self::Damaged(what) => StoreError::Damaged(format!(
                "its log cannot be read, also not without its snapshots ({what})"
            )),
        }
    }
}

/// The text for an operator when a store is refused: the damage, and the commands that help.
pub(super) fn refusal(directory: &Path, error: StoreError) -> StoreError {
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

pub(super) fn open_database(place: &Place, cache: u64) -> Result<::sled::Db, Failed> {
    let config = ::sled::Config::new()
        .path(place.directory())
        .cache_capacity(cache)
        .flush_every_ms(Some(CLEAN_EVERY))
        .mode(::sled::Mode::LowSpace);
    await_release(place);
    // On unexpected damage the engine panics.
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(error)) if is_damage(&error) => Err(Failed::Damaged(error.to_string())),
        Ok(Err(error)) => Err(Failed::Other(store_error(place.directory(), &error))),
        Err(_) => Err(Failed::Damaged("it panics".to_owned())),
    }
}

/// The threads of the engine release its file a moment after the last user has dropped it. This process
/// holds the lock of the directory, so the holder is an engine of this process that was closed.
pub(super) fn await_release(place: &Place) {
    for _ in 0..RELEASE_TRIES {
        match File::open(place.database()).map(|file| file.try_lock()) {
            Ok(Err(TryLockError::WouldBlock)) => std::thread::park_timeout(RELEASE_PAUSE),
            // The file is free, does not exist, or has an error that opening will report.
            Ok(Ok(()) | Err(TryLockError::Error(_))) | Err(_) => return,
        }
    }
}

pub(super) fn is_damage(error: &::sled::Error) -> bool {
    match error {
        ::sled::Error::Corruption { .. } | ::sled::Error::ReportableBug(_) => true,
        ::sled::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
        ),
        ::sled::Error::CollectionNotFound(_) | ::sled::Error::Unsupported(_) => false,
    }
}

pub(super) fn store_error(directory: &Path, error: &::sled::Error) -> StoreError {
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
