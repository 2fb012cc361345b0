//! The witness: which commit was the last to be acknowledged, kept beside the log.
//!
//! Two copies in the store's directory, and a third with the keys where these are kept apart. Each is
//! one line of fixed length with a checksum of its own, overwritten in place before a commit is
//! acknowledged: exact after a killed process. Within a second it is synced too, so that after a power
//! cut it is at least a lower bound.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::HEXLOWER;

use crate::files;
use crate::store::StoreError;
use crate::store::embedded::commits::Commit;
use crate::store::embedded::digest::Digest;
use crate::store::sled::place::explain;
use crate::types::ids::StoreId;

/// The copies in the store's directory.
pub(super) const COPIES: [&str; 2] = ["commit-a", "commit-b"];

/// The copy beside the keys.
const KEYS_COPY: &str = "store-commit";

/// How long an acknowledged commit may go without being synced in the witness.
const SYNC_EVERY: Duration = Duration::from_millis(900);

/// How a line begins.
const TITLE: &str = "sidegate-commit 1";

/// What one copy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Line {
    /// Of which store; none while it is being founded or taken over from an earlier version.
    pub(super) store: Option<StoreId>,
    /// The last acknowledged commit.
    pub(super) commit: Commit,
    /// Whether the disk has refused a sync: what the page cache holds may not be on the disk.
    pub(super) unsynced: bool,
}

/// What the copies of a directory say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// There is no copy.
    Nothing,
    /// There are copies, and none of them can be read.
    Unreadable,
    /// The newest of those that can be read.
    Line {
        /// What it says.
        line: Line,
        /// Whether the other one is missing or cannot be read.
        alone: bool,
    },
}

/// The witness of an open store.
#[derive(Debug)]
pub(super) struct Witness {
    directory: PathBuf,
    /// Whether anything is synced.
    durable: bool,
    copies: Vec<File>,
    /// Where a copy is kept beside the keys, best effort.
    apart: Option<PathBuf>,
    keys: Option<File>,
    line: Line,
    synced_at: Duration,
    dirty: bool,
}

impl Found {
    /// Reads the copies of a store's directory.
    pub(super) fn read(directory: &Path) -> Result<Self, StoreError> {
        let mut lines = Vec::new();
        let mut missing = 0;
        for name in COPIES {
            match read_line(&directory.join(name)) {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => missing += 1,
                Err(error) => return Err(explain(directory, &error)),
            }
        }
        let alone = lines.len() < COPIES.len();
        Ok(match lines.into_iter().max_by_key(|l| l.commit.number) {
            Some(line) => Self::Line { line, alone },
            None if missing == COPIES.len() => Self::Nothing,
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

    /// Says from now on which store it is about, and keeps a copy in the directory of its keys, if
    /// one is named.
    pub(super) fn identify(&mut self, store: StoreId, apart: Option<&Path>) {
        self.line.store = Some(store);
        self.apart = apart.map(|keys| keys.join(KEYS_COPY));
    }

    /// Refuses when the copy beside the keys has seen later commits of this store.
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
            // It is about a store that was given up, or there is none yet.
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

    /// Writes and syncs every copy as they should be.
    pub(super) fn renew(&mut self, now: Duration) -> Result<(), StoreError> {
        self.dirty = true;
        self.write()?;
        self.sync(now)
    }

    /// Notes a commit that is durable in the log; to be called before it is acknowledged.
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

    /// Notes that the disk refused a sync, so that the next process knows it too.
    pub(super) fn note_unsynced(&mut self) {
        self.line.unsynced = true;
        if let Err(error) = self.write() {
            tracing::error!(%error, "the number of the last commit cannot be noted");
        }
    }

    /// Whether the disk has refused a sync since the last commit.
    pub(super) fn is_unsynced(&self) -> bool {
        self.line.unsynced
    }

    /// Makes durable what was noted.
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
            tracing::warn!(%error, file = %path.display(), "is not synced");
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
            tracing::warn!(%error, file = %path.display(), "is not written; no copy is kept there");
            self.keys = None;
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), StoreError> {
        let line = self.line.to_string();
        let open = || -> io::Result<Vec<File>> {
            let mut copies = Vec::new();
            for name in COPIES {
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
                    "cannot be written: an older copy of the store that is put back by hand would \
                     not be noticed"
                ),
            }
        }
        Ok(())
    }
}

/// The number of the last commit of that store that a key directory has seen.
pub(in crate::store) fn seen_by_keys(keys: &Path, store: StoreId) -> Option<u64> {
    let line = read_line(&keys.join(KEYS_COPY)).ok().flatten()?;
    (line.store == Some(store)).then_some(line.commit.number)
}

/// Opens a copy for writing and makes it hold the line, for its owner only. It is made under
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

/// What a copy says; nothing when it is damaged.
fn read_line(path: &Path) -> io::Result<Option<Line>> {
    let mut bytes = Vec::with_capacity(LENGTH + 1);
    let file = File::open(path)?;
    file.take(LENGTH as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Line::parse(&bytes))
}

/// A line's length: title, store, number, digest, flag, checksum, blanks, line end.
const LENGTH: usize = TITLE.len() + 1 + 36 + 1 + 20 + 1 + 64 + 1 + 1 + 1 + 8 + 1;

/// The id's place while there is none.
const NO_STORE: &str = "------------------------------------";

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let store = self
            .store
            .map_or_else(|| NO_STORE.to_owned(), |id| id.to_string());
        let digest = HEXLOWER.encode(&self.commit.digest.to_bytes());
        let flag = if self.unsynced { 'u' } else { 's' };
        let text = format!(
            "{TITLE} {store} {:020} {digest} {flag} ",
            self.commit.number
        );
        let sum = crc32fast::hash(text.as_bytes());
        writeln!(f, "{text}{sum:08x}")
    }
}

impl Line {
    /// Reads exactly what `Display` writes; a line that differs in any byte is none.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let rest = text.strip_prefix(TITLE)?;
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        let [store, number, digest, flag, _sum] = words.as_slice() else {
            return None;
        };
        let digest = HEXLOWER.decode(digest.as_bytes()).ok()?;
        let line = Self {
            store: if *store == NO_STORE {
                None
            } else {
                Some(store.parse().ok()?)
            },
            commit: Commit {
                number: number.parse().ok()?,
                digest: Digest::from_bytes(digest.try_into().ok()?),
            },
            unsynced: *flag == "u",
        };
        (line.to_string() == text).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn every_line_has_one_length_and_reads_back() {
        for line in [
            line(),
            Line {
                store: None,
                unsynced: true,
                ..line()
            },
        ] {
            let text = line.to_string();
            assert_eq!(text.len(), LENGTH);
            assert_eq!(Line::parse(text.as_bytes()), Some(line));
        }
    }

    #[test]
    fn a_line_with_any_flipped_bit_is_none() {
        let text = line().to_string().into_bytes();
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Line::parse(&bytes), None, "bit {bit}");
        }
        assert_eq!(Line::parse(&text[..text.len() - 1]), None);
        assert_eq!(Line::parse(b""), None);
    }

    #[test]
    fn one_copy_is_enough_and_the_newer_one_counts() {
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
