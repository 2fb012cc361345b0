//! What is in a store directory, and how is it put in order before the engine opens it?

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::files;
use crate::store::StoreError;
use crate::store::sled::disk_error::explain;
use crate::store::sled::lock::{make_directory, take_lock};
use crate::store::sled::marker::{Marker, marker_text};
use crate::store::sled::names::{
    BLOBS, DATABASE, MARKER, MARKER_DRAFT, QUARANTINE, REHEARSAL, SETTINGS, SNAPSHOT, WITNESS,
};
use crate::types::ids::StoreId;

/// A store directory whose lock this process holds.
#[derive(Debug)]
pub(crate) struct Place {
    directory: PathBuf,
    marker: Marker,
    /// Dropping it releases the directory. A copy is not used by another process and has none.
    _lock: Option<File>,
}

impl Place {
    /// Creates the directory if it does not exist, takes its lock and puts its files in order.
    pub(crate) fn take(directory: &Path) -> Result<Self, StoreError> {
        make_directory(directory)?;
        let lock = take_lock(directory)?;
        let place = Self {
            directory: directory.to_owned(),
            marker: Marker::read(directory)?,
            _lock: Some(lock),
        };
        place.refuse_a_vanished_database()?;
        place.remove_half_snapshots()?;
        place.remove_copy()?;
        Ok(place)
    }

    /// Takes the lock of a directory with a store in order to read it. Nothing is changed.
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
            marker: Marker::read(directory)?,
            _lock: Some(lock),
        })
    }

    /// Copies the files of the engine to `to`, which is created. The engine is then tried on the copy: opening
    /// a damaged store destroys everything after the damage.
    pub(super) fn copy_to(&self, to: &Path) -> Result<Self, StoreError> {
        let copy = || -> io::Result<()> {
            make_directory(to).map_err(io::Error::other)?;
            copy_files(&self.directory, to, &|name| {
                name == DATABASE || name == SETTINGS || name.starts_with(SNAPSHOT)
            })?;
            let blobs = self.directory.join(BLOBS);
            if blobs.exists() {
                fs::create_dir_all(to.join(BLOBS))?;
                copy_files(&blobs, &to.join(BLOBS), &|_| true)?;
            }
            Ok(())
        };
        copy().map_err(|e| {
            // An incomplete copy is of no use, and missing space is the usual cause of the failure.
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

    /// The directory for a copy on which the engine is tried.
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

    /// Whether the settings of the engine are intact or do not exist.
    pub(super) fn has_sound_settings(&self) -> Result<bool, StoreError> {
        let bytes = match fs::read(self.directory.join(SETTINGS)) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(true),
            bytes => bytes.map_err(|e| explain(&self.directory, &e))?,
        };
        let sum = bytes.last_chunk::<4>().map(|sum| u32::from_le_bytes(*sum));
        let body = bytes.len().checked_sub(4).and_then(|end| bytes.get(..end));
        Ok(body.is_some_and(|body| Some(crc32fast::hash(body)) == sum))
    }

    /// The position in the log that the newest snapshot contains.
    pub(super) fn snapshot_position(&self) -> Result<u64, StoreError> {
        let newest = self.snapshots()?.into_iter().max();
        let digits = newest.as_deref().and_then(Path::extension);
        let position = digits.and_then(|digits| u64::from_str_radix(digits.to_str()?, 16).ok());
        Ok(position.unwrap_or_default())
    }

    /// Whether the newest snapshot, which the engine would use, is intact.
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
            Ok(_) => Err(format!("another file has replaced its `{DATABASE}`")),
            Err(error) => Err(format!("its `{DATABASE}` is gone ({error})")),
        }
    }

    /// The file of the engine.
    pub(crate) fn database(&self) -> PathBuf {
        self.directory.join(DATABASE)
    }

    /// Whether no store was ever completed here.
    pub(crate) fn is_new(&self) -> bool {
        self.marker == Marker::Missing
    }

    /// The content of the marker.
    pub(super) fn marker(&self) -> Marker {
        self.marker
    }

    /// Records durably that this store was completed here.
    pub(crate) fn mark(&mut self, store: StoreId) -> Result<(), StoreError> {
        if self.marker == Marker::Of(store) {
            return Ok(());
        }
        let write = || -> io::Result<()> {
            for name in [SETTINGS, DATABASE] {
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
            // The files of the engine must be durable before the marker is.
            self.sync_directory()?;
            fs::rename(&draft, self.directory.join(MARKER))?;
            self.sync_directory()?;
            sync_parent(&self.directory)
        };
        write().map_err(|e| explain(&self.directory, &e))?;
        self.marker = Marker::Of(store);
        Ok(())
    }

    /// Makes the list of files durable.
    pub(crate) fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    /// Removes snapshots that a crash left half-written: the engine would use them as complete ones.
    pub(crate) fn remove_half_snapshots(&self) -> Result<(), StoreError> {
        for file in self.snapshots()? {
            if file.extension().is_some_and(|e| e == "generating") {
                fs::remove_file(&file).map_err(|e| explain(&self.directory, &e))?;
                tracing::warn!(file = %file.display(), "removed a half-written snapshot");
            }
        }
        Ok(())
    }

    /// Moves all snapshots aside. Returns whether there were any.
    pub(crate) fn quarantine_snapshots(&self) -> Result<bool, StoreError> {
        let files = self.snapshots()?;
        let aside = self.directory.join(QUARANTINE);
        let move_aside = || -> io::Result<()> {
            fs::create_dir_all(&aside)?;
            for file in &files {
                let Some(name) = file.file_name() else {
                    continue;
                };
                fs::rename(file, aside.join(name))?;
                tracing::error!(file = %file.display(), "moved a damaged snapshot aside");
            }
            self.sync_directory()
        };
        if !files.is_empty() {
            move_aside().map_err(|e| explain(&self.directory, &e))?;
        }
        Ok(!files.is_empty())
    }

    fn snapshots(&self) -> Result<Vec<PathBuf>, StoreError> {
        let list = || -> io::Result<Vec<PathBuf>> {
            let mut found = Vec::new();
            for entry in fs::read_dir(&self.directory)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(SNAPSHOT) {
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

/// Whether a store was ever completed, or used, in this directory.
pub(crate) fn holds_a_store(directory: &Path) -> Result<bool, StoreError> {
    Ok(exists(directory, &directory.join(MARKER))? || has_witness(directory)?)
}

fn has_witness(directory: &Path) -> Result<bool, StoreError> {
    for name in WITNESS {
        if exists(directory, &directory.join(name))? {
            return Ok(true);
        }
    }
    Ok(false)
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

fn exists(directory: &Path, file: &Path) -> Result<bool, StoreError> {
    file.try_exists().map_err(|e| explain(directory, &e))
}

fn sync_parent(directory: &Path) -> io::Result<()> {
    match directory.canonicalize()?.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
