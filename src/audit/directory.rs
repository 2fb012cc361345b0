//! How does the writer keep both series of audit files within their bounds?

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::audit::error::AuditError;
use crate::audit::series::{Lines, Segment, Series};
use crate::audit::settings::Settings;
use crate::audit::state::State;
use crate::files;
use crate::model::audit::AuditRecord;
use crate::types::time::Timestamp;

/// The name of the series of this version's records.
pub(super) const LIVE: &str = "audit";
/// The name of the series that was carried over from a store.
pub(super) const CARRIED: &str = "carried";
const LOCK: &str = "lock";

/// The records are split into about this many files, so that the bounds can be met by deleting some of them.
const FILES: u32 = 16;
const SMALLEST_FILE: u64 = 32 * 1024;
const LARGEST_FILE: u64 = 16 << 20;

/// Numbers about the audit log.
#[derive(Debug, Default)]
pub struct Stats {
    /// Records written by this process.
    pub written: AtomicU64,
    /// Bytes of all files.
    pub bytes: AtomicU64,
    /// Records that could not be written.
    pub lost: Arc<AtomicU64>,
    /// Places where records are missing: found at the start, and those lost since.
    pub gaps: AtomicU64,
    /// Records that were removed because of the bound on size, before their age required it.
    pub removed_early: AtomicU64,
}

/// The audit files.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    settings: Settings,
    live: Series,
    carried: Series,
    noted: State,
    is_dirty: bool,
    stats: Arc<Stats>,
    /// The lock on the directory. Closing the file releases it.
    _lock: File,
}

impl Directory {
    /// Opens the files, and creates those that are missing.
    pub(super) fn open(
        path: &Path,
        settings: &Settings,
        stats: Arc<Stats>,
    ) -> Result<Self, AuditError> {
        let failed = |error| AuditError::Directory {
            path: path.to_owned(),
            error,
        };
        files::make_directory(path).map_err(failed)?;
        let lock = take_lock(path)?;
        files::tighten(path, is_ours).map_err(failed)?.log();
        let noted = State::read(path).unwrap_or_else(|error| {
            tracing::warn!(%error, "the state file of the audit log cannot be read; missing last lines cannot be detected");
            State::default()
        });
        let live = Series::open(path, LIVE, noted.audit).map_err(failed)?;
        let carried = Series::open(path, CARRIED, noted.carried).map_err(failed)?;
        let gaps = live.gaps() + carried.gaps();
        if gaps > 0 {
            tracing::warn!(
                gaps,
                "audit records are missing; `sidegate audit verify` says where"
            );
        }
        stats.gaps.store(gaps, Ordering::Relaxed);
        stats
            .bytes
            .store(live.bytes() + carried.bytes(), Ordering::Relaxed);
        Ok(Self {
            path: path.to_owned(),
            settings: settings.clone(),
            live,
            carried,
            noted,
            is_dirty: false,
            stats,
            _lock: lock,
        })
    }

    /// Writes records of this version.
    pub(super) fn append(&mut self, records: Vec<AuditRecord>, now: Timestamp) -> io::Result<()> {
        let records = records.into_iter().map(|record| (None, record)).collect();
        let lines = self.live.number(records);
        self.make_room(&lines, now);
        self.is_dirty = true;
        self.live
            .rotate(self.file_size(), self.earliest_begin(now))?;
        self.live.write(&lines)
    }

    /// Writes records that a store of an earlier version holds, with their numbers there, durably.
    pub(super) fn carry(
        &mut self,
        records: Vec<(u64, AuditRecord)>,
        now: Timestamp,
    ) -> io::Result<()> {
        let records = records
            .into_iter()
            .map(|(from, record)| (Some(from), record))
            .collect();
        let lines = self.carried.number(records);
        self.make_room(&lines, now);
        self.is_dirty = true;
        self.carried
            .rotate(self.file_size(), Timestamp::default())?;
        self.carried.write(&lines)?;
        self.carried.sync()
    }

    /// Makes what was written durable and removes what is too old.
    pub(super) fn settle(&mut self, now: Option<Timestamp>) -> io::Result<()> {
        if let Some(now) = now {
            self.remove_old(now);
        }
        if self.is_dirty {
            self.live.sync()?;
            self.carried.sync()?;
            self.note()?;
            self.is_dirty = false;
        }
        Ok(())
    }

    fn file_size(&self) -> u64 {
        (self.settings.max_size / u64::from(FILES)).clamp(SMALLEST_FILE, LARGEST_FILE)
    }

    /// A file that began earlier is closed, so that age can be enforced file by file.
    fn earliest_begin(&self, now: Timestamp) -> Timestamp {
        now.minus(self.settings.keep / FILES)
    }

    /// Removes the oldest files until the lines fit.
    fn make_room(&mut self, lines: &Lines, now: Timestamp) {
        let most = self
            .settings
            .max_size
            .saturating_sub(lines.bytes.len() as u64);
        while self.live.bytes() + self.carried.bytes() > most {
            let series = if self.carried.len() > 0 {
                &mut self.carried
            } else {
                &mut self.live
            };
            let Some(removed) = series.take_oldest() else {
                break;
            };
            let records = series.bounds().first.saturating_sub(removed.first);
            if removed.newest > now.minus(self.settings.keep) {
                self.stats
                    .removed_early
                    .fetch_add(records, Ordering::Relaxed);
                tracing::warn!(
                    records,
                    from = %removed.oldest,
                    to = %removed.newest,
                    "audit.max_size removed records younger than audit.keep"
                );
            }
            self.delete(&removed);
        }
        let bytes = self.live.bytes() + self.carried.bytes() + lines.bytes.len() as u64;
        self.stats.bytes.store(bytes, Ordering::Relaxed);
    }

    fn remove_old(&mut self, now: Timestamp) {
        let oldest = now.minus(self.settings.keep);
        loop {
            let is_over = |series: &Series| series.oldest().is_some_and(|s| s.newest < oldest);
            let removed = if is_over(&self.carried) {
                self.carried.take_oldest()
            } else if is_over(&self.live) {
                self.live.take_oldest()
            } else {
                break;
            };
            if let Some(removed) = removed {
                self.delete(&removed);
            }
        }
        let bytes = self.live.bytes() + self.carried.bytes();
        self.stats.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Deletes a file. Called after the state file records that its lines are no longer expected.
    fn delete(&mut self, segment: &Segment) {
        let deleted = self.note().and_then(|()| fs::remove_file(&segment.path));
        if let Err(error) = deleted {
            tracing::warn!(%error, path = %segment.path.display(), "an old audit file was not deleted");
        }
    }

    fn note(&mut self) -> io::Result<()> {
        let state = State {
            audit: self.live.bounds(),
            carried: self.carried.bounds(),
        };
        if state != self.noted {
            state.write(&self.path)?;
            self.noted = state;
        }
        Ok(())
    }
}

/// Whether a file of this name is one of the audit log.
fn is_ours(name: &str) -> bool {
    let is_log = Path::new(name).extension() == Some("log".as_ref());
    let is_series = |series| is_log && name.starts_with(series);
    name == LOCK || name.contains("state.json") || is_series(LIVE) || is_series(CARRIED)
}

fn take_lock(directory: &Path) -> Result<File, AuditError> {
    let failed = |error| AuditError::Directory {
        path: directory.to_owned(),
        error,
    };
    let mut options = files::private();
    let options = options.create(true).truncate(false).write(true);
    let file = options.open(directory.join(LOCK)).map_err(failed)?;
    files::give_to_owner(&file, directory).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AuditError::InUse(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
