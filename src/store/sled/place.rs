//! The directory a store lives in: who may use it, whether a store was ever completed in it, and
//! what has to be put in order before the engine may look at it.
//!
//! ```text
//! lock              held by the process that uses the directory
//! sidegate-store    the marker: a store was completed here, and which one; it must never start empty
//! commit-a commit-b the witness: the last commit that was acknowledged
//! db conf blobs/    the engine's own
//! snap.*            the engine's shortcut into `db`; can always be made again from it
//! quarantine/       snapshots that were set aside
//! rehearsal/        a copy, while a doubtful store is looked at
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::files;
use crate::store::StoreError;
use crate::store::sled::witness;
use crate::types::ids::StoreId;

const LOCK: &str = "lock";
const MARKER: &str = "sidegate-store";
const MARKER_DRAFT: &str = "sidegate-store.draft";
const DATABASE: &str = "db";
const QUARANTINE: &str = "quarantine";
const REHEARSAL: &str = "rehearsal";
const MARKER_TEXT: &str = "A Sidegate store lives here. Do not delete this file by itself: it \
keeps Sidegate from starting with an empty store when the other files are missing.\n";

/// What the marker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// It is not there: no store was completed here.
    Missing,
    /// A version that did not count commits wrote it.
    Uncounted,
    /// This store was completed here.
    Of(StoreId),
    /// It is there and damaged.
    Damaged,
}

/// A store directory that this process holds.
#[derive(Debug)]
pub(crate) struct Place {
    directory: PathBuf,
    marker: Marker,
    /// Closing it gives the directory up; a copy that only we know has none.
    _lock: Option<File>,
}

impl Place {
    /// Makes the directory if need be, takes its lock and looks at what is there.
    pub(crate) fn take(directory: &Path) -> Result<Self, StoreError> {
        make_directory(directory)?;
        let lock = take_lock(directory)?;
        let place = Self {
            directory: directory.to_owned(),
            marker: read_marker(directory)?,
            _lock: Some(lock),
        };
        place.refuse_a_vanished_database()?;
        place.remove_half_snapshots()?;
        place.remove_copy()?;
        Ok(place)
    }

    /// Takes the lock of a directory with a store, to look at it. Nothing is put in order.
    pub(super) fn inspect(directory: &Path) -> Result<Self, StoreError> {
        if !directory.join(DATABASE).exists() && !holds_a_store(directory)? {
            return Err(StoreError::Config(format!(
                "there is no store in {}",
                directory.display()
            )));
        }
        let lock = take_lock(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            marker: read_marker(directory)?,
            _lock: Some(lock),
        })
    }

    /// Copies what the engine needs to `to`, which is made for it, so that the engine can be let loose
    /// there: opening a damaged store destroys what follows the damage.
    pub(super) fn copy_to(&self, to: &Path) -> Result<Self, StoreError> {
        let copy = || -> io::Result<()> {
            make_directory(to).map_err(io::Error::other)?;
            copy_files(&self.directory, to, &|name| {
                name == DATABASE || name == "conf" || name.starts_with("snap.")
            })?;
            let blobs = self.directory.join("blobs");
            if blobs.exists() {
                fs::create_dir_all(to.join("blobs"))?;
                copy_files(&blobs, &to.join("blobs"), &|_| true)?;
            }
            Ok(())
        };
        copy().map_err(|e| {
            // Half a copy would only take room, which is what is often missing.
            drop(fs::remove_dir_all(to));
            explain(&self.directory, &e)
        })?;
        let copy = Self {
            directory: to.to_owned(),
            marker: self.marker,
            _lock: None,
        };
        copy.remove_half_snapshots()?;
        Ok(copy)
    }

    /// Where a copy is made to try the engine on.
    pub(super) fn copy_directory(&self) -> PathBuf {
        self.directory.join(REHEARSAL)
    }

    /// Removes that copy.
    pub(super) fn remove_copy(&self) -> Result<(), StoreError> {
        match fs::remove_dir_all(self.copy_directory()) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(explain(&self.directory, &e)),
            _ => Ok(()),
        }
    }

    /// Whether the engine's own settings are sound, or not there.
    pub(super) fn has_sound_settings(&self) -> Result<bool, StoreError> {
        let bytes = match fs::read(self.directory.join("conf")) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(true),
            bytes => bytes.map_err(|e| explain(&self.directory, &e))?,
        };
        let sum = bytes.last_chunk::<4>().map(|sum| u32::from_le_bytes(*sum));
        let body = bytes.len().checked_sub(4).and_then(|end| bytes.get(..end));
        Ok(body.is_some_and(|body| Some(crc32fast::hash(body)) == sum))
    }

    /// The position in the log that the newest snapshot stands for.
    pub(super) fn snapshot_position(&self) -> Result<u64, StoreError> {
        let newest = self.snapshots()?.into_iter().max();
        let digits = newest.as_deref().and_then(Path::extension);
        let position = digits.and_then(|digits| u64::from_str_radix(digits.to_str()?, 16).ok());
        Ok(position.unwrap_or_default())
    }

    /// Whether the newest snapshot, which the engine would use, is sound.
    pub(super) fn has_sound_snapshot(&self) -> Result<bool, StoreError> {
        let Some(newest) = self.snapshots()?.into_iter().max() else {
            return Ok(true);
        };
        let bytes = fs::read(newest).map_err(|e| explain(&self.directory, &e))?;
        let sum = bytes.last_chunk::<4>().map(|sum| u32::from_le_bytes(*sum));
        let body = bytes.len().checked_sub(12).and_then(|end| bytes.get(..end));
        Ok(body.is_some_and(|body| Some(crc32fast::hash(body)) == sum))
    }

    /// The directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Checks that an open file is still the database of this directory.
    pub(super) fn still_holds(&self, file: &File) -> Result<(), String> {
        let held = file.metadata().map_err(|e| e.to_string())?;
        match fs::metadata(self.database()) {
            Ok(found) if (found.dev(), found.ino()) == (held.dev(), held.ino()) => Ok(()),
            Ok(_) => Err(format!("another file is in the place of its `{DATABASE}`")),
            Err(error) => Err(format!("its `{DATABASE}` is gone ({error})")),
        }
    }

    /// The engine's file.
    pub(crate) fn database(&self) -> PathBuf {
        self.directory.join(DATABASE)
    }

    /// Whether no store was ever completed here.
    pub(crate) fn is_new(&self) -> bool {
        self.marker == Marker::Missing
    }

    /// What the marker says.
    pub(super) fn marker(&self) -> Marker {
        self.marker
    }

    /// Notes durably that this store was completed here.
    pub(crate) fn mark(&mut self, store: StoreId) -> Result<(), StoreError> {
        if self.marker == Marker::Of(store) {
            return Ok(());
        }
        let write = || -> io::Result<()> {
            for name in ["conf", DATABASE] {
                let file = self.directory.join(name);
                if file.exists() {
                    File::open(file)?.sync_all()?;
                }
            }
            let draft = self.directory.join(MARKER_DRAFT);
            let mut options = files::private();
            options.create(true).truncate(true).write(true);
            let mut file = options.open(&draft)?;
            file.write_all(marker_text(store).as_bytes())?;
            file.sync_all()?;
            // The engine's files must be there for sure before the marker says so.
            self.sync_directory()?;
            fs::rename(&draft, self.directory.join(MARKER))?;
            self.sync_directory()?;
            sync_parent(&self.directory)
        };
        write().map_err(|e| explain(&self.directory, &e))?;
        self.marker = Marker::Of(store);
        Ok(())
    }

    /// Makes durable which files there are.
    pub(crate) fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    /// Removes snapshots that a crash left half written: the engine takes them for whole ones.
    pub(crate) fn remove_half_snapshots(&self) -> Result<(), StoreError> {
        for file in self.snapshots()? {
            if file.extension().is_some_and(|e| e == "generating") {
                fs::remove_file(&file).map_err(|e| explain(&self.directory, &e))?;
                tracing::warn!(file = %file.display(), "removed a half-written snapshot");
            }
        }
        Ok(())
    }

    /// Sets all snapshots aside. Says whether there were any.
    pub(crate) fn quarantine_snapshots(&self) -> Result<bool, StoreError> {
        let files = self.snapshots()?;
        let aside = self.directory.join(QUARANTINE);
        let set_aside = || -> io::Result<()> {
            fs::create_dir_all(&aside)?;
            for file in &files {
                let Some(name) = file.file_name() else {
                    continue;
                };
                fs::rename(file, aside.join(name))?;
                tracing::error!(file = %file.display(), "set a damaged snapshot aside");
            }
            self.sync_directory()
        };
        if !files.is_empty() {
            set_aside().map_err(|e| explain(&self.directory, &e))?;
        }
        Ok(!files.is_empty())
    }

    fn snapshots(&self) -> Result<Vec<PathBuf>, StoreError> {
        let list = || -> io::Result<Vec<PathBuf>> {
            let mut found = Vec::new();
            for entry in fs::read_dir(&self.directory)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with("snap.") {
                    found.push(entry.path());
                }
            }
            Ok(found)
        };
        list().map_err(|e| explain(&self.directory, &e))
    }

    fn refuse_a_vanished_database(&self) -> Result<(), StoreError> {
        let length = match fs::metadata(self.database()) {
            Ok(found) => found.len(),
            Err(e) if e.kind() == ErrorKind::NotFound => 0,
            Err(e) => return Err(explain(&self.directory, &e)),
        };
        let used = !self.is_new() || has_witness(&self.directory)?;
        if length == 0 && used {
            return Err(StoreError::Damaged(format!(
                "its database file `{DATABASE}` is missing or empty, although the directory has been \
                 used before"
            )));
        }
        Ok(())
    }
}

/// Whether a store was ever completed, or begun to be used, in this directory.
pub(crate) fn holds_a_store(directory: &Path) -> Result<bool, StoreError> {
    Ok(exists(directory, &directory.join(MARKER))? || has_witness(directory)?)
}

fn has_witness(directory: &Path) -> Result<bool, StoreError> {
    for name in witness::COPIES {
        if exists(directory, &directory.join(name))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read_marker(directory: &Path) -> Result<Marker, StoreError> {
    let bytes = match fs::read(directory.join(MARKER)) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Marker::Missing),
        Err(e) => return Err(explain(directory, &e)),
    };
    if bytes == MARKER_TEXT.as_bytes() {
        return Ok(Marker::Uncounted);
    }
    let text = String::from_utf8_lossy(&bytes);
    let id = text
        .strip_prefix(MARKER_TEXT)
        .and_then(|rest| rest.strip_prefix("store "))
        .and_then(|rest| rest.split(' ').next())
        .and_then(|id| id.parse().ok());
    Ok(match id {
        Some(id) if marker_text(id) == text => Marker::Of(id),
        _ => Marker::Damaged,
    })
}

fn marker_text(store: StoreId) -> String {
    let text = format!("{MARKER_TEXT}store {store} ");
    let sum = crc32fast::hash(text.as_bytes());
    format!("{text}{sum:08x}\n")
}

/// Takes the lock of a directory without looking at what is in it; makes it if need be.
pub(crate) fn hold(directory: &Path) -> Result<File, StoreError> {
    make_directory(directory)?;
    take_lock(directory)
}

fn copy_files(from: &Path, to: &Path, wanted: &dyn Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.metadata()?.is_file() && wanted(&entry.file_name().to_string_lossy()) {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn make_directory(directory: &Path) -> Result<(), StoreError> {
    files::make_directory(directory).map_err(|e| explain(directory, &e))
}

/// Whether a file or directory of this name belongs to a store.
pub(crate) fn is_ours(name: &str) -> bool {
    let whole = [
        LOCK,
        MARKER,
        MARKER_DRAFT,
        DATABASE,
        QUARANTINE,
        "conf",
        "blobs",
    ];
    let begins = |start: &str| name.starts_with(start);
    whole.contains(&name) || ["snap.", "commit-", "replaced-"].into_iter().any(begins)
}

fn take_lock(directory: &Path) -> Result<File, StoreError> {
    let file = files::private()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join(LOCK))
        .map_err(|e| explain(directory, &e))?;
    match lock(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(format!(
            "the store directory {} is in use by another sidegate: stop that one, or give this \
             one a directory of its own",
            directory.display()
        ))),
        Err(TryLockError::Error(e)) => Err(explain(directory, &e)),
    }
}

/// Locks the file, and gives a process that is just going, or has forked a child, a moment.
fn lock(file: &File) -> Result<(), TryLockError> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::park_timeout(LOCK_PAUSE),
            outcome => return outcome,
        }
    }
    file.try_lock()
}

/// How often, and with which pause, a lock that is held is tried: one second in all.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

fn exists(directory: &Path, file: &Path) -> Result<bool, StoreError> {
    file.try_exists().map_err(|e| explain(directory, &e))
}

fn sync_parent(directory: &Path) -> io::Result<()> {
    match directory.canonicalize()?.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// An error of the file system at this directory, with what to do about it.
pub(crate) fn explain(directory: &Path, error: &io::Error) -> StoreError {
    let directory = directory.display();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Unavailable(format!(
            "no space left for the store directory {directory}: make room"
        )),
        ErrorKind::PermissionDenied => StoreError::Config(format!(
            "the store directory {directory} cannot be used by this user: give it to the user \
             that runs sidegate (chown), with read and write permission"
        )),
        ErrorKind::ReadOnlyFilesystem => StoreError::Config(format!(
            "the store directory {directory} is on a read-only file system: mount it writable"
        )),
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists | ErrorKind::IsADirectory => {
            StoreError::Config(format!(
                "{directory} cannot be a store directory ({error}): name another one"
            ))
        }
        _ => StoreError::Unavailable(format!("the store directory {directory}: {error}")),
    }
}
