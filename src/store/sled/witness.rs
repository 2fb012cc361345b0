//! Which commit was the last to be acknowledged? The witness, kept beside the log, contains its number.
//!
//! There are two copies in the store directory, and a third beside the keys if these are in another
//! place. Each copy is one line of fixed length with a checksum, which is overwritten in place before a
//! commit is acknowledged. It is exact after a process was killed. It is also synced within a second,
//! so after a power cut it is at least a lower bound.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::files;
use crate::store::StoreError;
use crate::store::embedded::commits::Commit;
use crate::store::sled::disk_error::explain;
use crate::store::sled::names::WITNESS;
use crate::store::sled::witness_line::{LENGTH, Line};
use crate::types::ids::StoreId;

/// The copy beside the keys.
const KEYS_COPY: &str = "store-commit";

/// How long the witness on the disk may be out of date.
const SYNC_EVERY: Duration = Duration::from_millis(900);

/// The content of the copies of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// There is no copy.
    Nothing,
    /// There are copies, and none can be read.
    Unreadable,
    /// The newest copy that can be read.
    Line {
        /// Its content.
        line: Line,
        /// Whether the other copy is missing or cannot be read.
        alone: bool,
    },
}

/// The witness of an open store.
#[derive(Debug)]
pub(super) struct Witness {
    directory: PathBuf,
    /// Whether the copies are synced.
    durable: bool,
    copies: Vec<File>,
    /// The path of the copy beside the keys, which is best effort.
    apart: Option<PathBuf>,
    keys: Option<File>,
    line: Line,
    synced_at: Duration,
    dirty: bool,
}

impl Found {
    /// Reads the copies of a store directory.
    pub(super) fn read(directory: &Path) -> Result<Self, StoreError> {
        let mut lines = Vec::new();
        let mut missing = 0;
        for name in WITNESS {
            match read_line(&directory.join(name)) {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => missing += 1,
                Err(error) => return Err(explain(directory, &error)),
            }
        }
        let alone = lines.len() < WITNESS.len();
        Ok(match lines.into_iter().max_by_key(|l| l.commit.number) {
            Some(line) => Self::Line { line, alone },
            None if missing == WITNESS.len() => Self::Nothing,
            None => Self::Unreadable,
        })
    }

    /// The last acknowledged commit, if it is known.
    pub(super) fn commit(&self) -> Option<Commit> {
        match self {
            Self::Line { line, .. } => Some(line.commit),
            Self::Nothing | Self::Unreadable => None,
        }
    }
}

impl Witness {
    /// The witness of a store that has been opened. Nothing is written yet.
    pub(super) fn new(directory: &Path, line: Line, durable: bool) -> Self {
        Self {
            directory: directory.to_owned(),
            durable,
            copies: Vec::new(),
            apart: None,
            keys: None,
            line,
            synced_at: Duration::ZERO,
            dirty: true,
        }
    }

    /// The last acknowledged commit.
    pub(super) fn commit(&self) -> Commit {
        self.line.commit
    }

    /// Sets the id of the store, and the directory of its keys for a third copy, if there is one.
    pub(super) fn identify(&mut self, store: StoreId, apart: Option<&Path>) {
        self.line.store = Some(store);
        self.apart = apart.map(|keys| keys.join(KEYS_COPY));
    }

    /// Fails when the copy beside the keys names a later commit of this store.
    pub(super) fn compare_with_keys(&self) -> Result<(), StoreError> {
        let Some(path) = &self.apart else {
            return Ok(());
        };
        match read_line(path) {
            Ok(Some(line)) if line.store == self.line.store => self.compare(&line, path),
            Ok(None) => Err(StoreError::Config(format!(
                "{} is damaged, so nothing shows whether the store is an older copy: if you know that \
                 it is the latest, remove that file and start again",
                path.display()
            ))),
            // The copy names another store, or there is none yet.
            Ok(Some(_)) | Err(_) => Ok(()),
        }
    }

    fn compare(&self, line: &Line, path: &Path) -> Result<(), StoreError> {
        let here = self.line.commit;
        if line.commit.number < here.number || line.commit == here {
            return Ok(());
        }
        Err(StoreError::Damaged(format!(
            "it is an older copy: it ends at commit {}, and commit {} was acknowledged according to {}",
            here.number,
            line.commit.number,
            path.display()
        )))
    }

    /// Writes and syncs every copy.
    pub(super) fn renew(&mut self, now: Duration) -> Result<(), StoreError> {
        self.dirty = true;
        self.write()?;
        self.sync(now)
    }

    /// Records a commit that is durable in the log. Called before the commit is acknowledged.
    pub(super) fn note(&mut self, commit: Commit, now: Duration) -> Result<(), StoreError> {
        self.line.commit = commit;
        self.line.unsynced = false;
        self.dirty = true;
        self.write()?;
        if now.saturating_sub(self.synced_at) >= SYNC_EVERY {
            self.sync(now)?;
        }
        Ok(())
    }

    /// Records that the disk refused a sync, so that the next process writes the log again.
    pub(super) fn note_unsynced(&mut self) {
        self.line.unsynced = true;
        if let Err(error) = self.write() {
            tracing::error!(%error, "the number of the last commit cannot be recorded");
        }
    }

    /// Whether the disk has refused a sync since the last commit.
    pub(super) fn is_unsynced(&self) -> bool {
        self.line.unsynced
    }

    /// Makes the last record durable.
    pub(super) fn sync(&mut self, now: Duration) -> Result<(), StoreError> {
        self.synced_at = now;
        if !self.dirty || !self.durable {
            return Ok(());
        }
        for copy in &self.copies {
            copy.sync_data().map_err(|e| explain(&self.directory, &e))?;
        }
        if let (Some(file), Some(path)) = (&self.keys, &self.apart)
            && let Err(error) = file.sync_data()
        {
            tracing::warn!(%error, file = %path.display(), "the last commit beside the keys is not synced");
        }
        self.dirty = false;
        Ok(())
    }

    fn write(&mut self) -> Result<(), StoreError> {
        if self.copies.is_empty() {
            self.open()?;
        }
        let line = self.line.to_string();
        for copy in &self.copies {
            copy.write_all_at(line.as_bytes(), 0)
                .map_err(|e| explain(&self.directory, &e))?;
        }
        if let (Some(file), Some(path)) = (&self.keys, &self.apart)
            && let Err(error) = file.write_all_at(line.as_bytes(), 0)
        {
            tracing::warn!(%error, file = %path.display(), "the last commit is no longer kept beside the keys");
            self.keys = None;
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), StoreError> {
        let line = self.line.to_string();
        let open = || -> io::Result<Vec<File>> {
            let mut copies = Vec::new();
            for name in WITNESS {
                copies.push(open_copy(&self.directory.join(name), &line, self.durable)?);
            }
            if self.durable {
                File::open(&self.directory)?.sync_all()?;
            }
            Ok(copies)
        };
        self.copies = open().map_err(|e| explain(&self.directory, &e))?;
        if let Some(path) = &self.apart {
            match open_copy(path, &line, self.durable) {
                Ok(file) => self.keys = Some(file),
                Err(error) => tracing::warn!(
                    %error,
                    file = %path.display(),
                    "the last commit cannot be kept beside the keys: an older copy of the store that is \
                     put back by hand would not be detected"
                ),
            }
        }
        Ok(())
    }
}

/// The number of the last commit of this store according to a key directory.
pub(in crate::store) fn seen_by_keys(keys: &Path, store: StoreId) -> Option<u64> {
    let line = read_line(&keys.join(KEYS_COPY)).ok().flatten()?;
    (line.store == Some(store)).then_some(line.commit.number)
}

/// Opens a copy for writing and writes the line. A new copy, for its owner only, is created under
/// another name first, so that a crash never leaves an empty one.
fn open_copy(path: &Path, line: &str, durable: bool) -> io::Result<File> {
    let mut options = files::private();
    options.write(true);
    match options.open(path) {
        Ok(file) => {
            file.write_all_at(line.as_bytes(), 0)?;
            file.set_len(LENGTH as u64)?;
            if durable {
                file.sync_all()?;
            }
            Ok(file)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let draft = path.with_extension("draft");
            let file = options.create(true).truncate(true).open(&draft)?;
            file.write_all_at(line.as_bytes(), 0)?;
            if durable {
                file.sync_all()?;
            }
            fs::rename(&draft, path)?;
            Ok(file)
        }
        Err(error) => Err(error),
    }
}

/// The content of a copy; `None` when it is damaged.
fn read_line(path: &Path) -> io::Result<Option<Line>> {
    let mut bytes = Vec::with_capacity(LENGTH + 1);
    let file = File::open(path)?;
    file.take(LENGTH as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Line::parse(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::digest::Digest;

    fn line() -> Line {
        Line {
            store: Some(StoreId::from_bytes([7; 16])),
            commit: Commit {
                number: 42,
                digest: Digest::of(b"key", b"value"),
            },
            unsynced: false,
        }
    }

    #[test]
    fn one_copy_is_enough_and_the_newer_one_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        assert_eq!(Found::read(at), Ok(Found::Nothing));
        let now = Duration::from_secs(1);
        Witness::new(at, line(), true).renew(now).unwrap();
        let mut newer = line();
        newer.commit.number = 43;
        fs::write(at.join("commit-b"), newer.to_string()).unwrap();
        let both = Found::Line {
            line: newer,
            alone: false,
        };
        assert_eq!(Found::read(at), Ok(both));
        fs::write(at.join("commit-b"), b"noise").unwrap();
        let one = Found::Line {
            line: line(),
            alone: true,
        };
        assert_eq!(Found::read(at), Ok(one));
        fs::remove_file(at.join("commit-a")).unwrap();
        assert_eq!(Found::read(at), Ok(Found::Unreadable));
    }
}
