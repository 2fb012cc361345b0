//! How is a store restored without a risk to the existing one? It is built beside its place and moved
//! there when it is complete. A restore that fails changes nothing.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::model::session::EndReason;
use crate::store::backup::content::Content;
use crate::store::backup::{BackupError, Reader, Sha256Sum, Trailer};
use crate::store::embedded::Embedded;
use crate::store::embedded::keys::{
    CHALLENGE, MAIL, META_CHECK, META_CLOCK, META_COMMIT, META_END_ALL, META_FORMAT, META_MAILS,
    META_STORE, META_TOTALS, SESSION, SESSION_INDEX, expiring, session_made_at,
};
use crate::store::embedded::records::{StoredEndAll, Totals};
use crate::store::identity::{Founding, Ties};
use crate::store::settings::{Engine, Settings};
use crate::store::sled::hold;
use crate::store::sled::names::{LOCK, MARKER, REPLACED, is_part_of_store};
use crate::store::{Lifecycle as _, StoreError, codec};
use crate::types::ids::StoreId;
use crate::types::time::{Clock, Timestamp};

/// The number of records in one commit.
const BATCH: usize = 4_000;

/// The deadline of one commit of the store that is being built.
const DEADLINE: Duration = Duration::from_secs(600);

/// The key and the value of a record.
type Pair = (Vec<u8>, Vec<u8>);

/// The effect of a restore on the sessions of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    /// All sessions end.
    End,
    /// They continue.
    Keep,
}

/// The place of the restored store.
#[derive(Debug)]
pub struct Target {
    directory: PathBuf,
    has_store: bool,
    /// Excludes every other process.
    _lock: File,
}

/// A complete store that is not yet in its place. Removed when dropped.
#[derive(Debug)]
pub struct Restored {
    built: PathBuf,
    /// The number of records in it.
    pub records: u64,
    /// The number of sessions in the backup.
    pub sessions: u64,
    /// The SHA-256 of its content.
    pub content: Sha256Sum,
}

impl Target {
    /// Takes the lock of the directory, which is created if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when a process uses the store there.
    pub fn take(directory: &Path) -> Result<Self, StoreError> {
        let lock = hold(directory)?;
        let target = Self {
            directory: directory.to_owned(),
            has_store: false,
            _lock: lock,
        };
        let names = target.names().map_err(|e| target.explain(&e))?;
        Ok(Self {
            has_store: names.iter().any(|name| is_part_of_store(name)),
            ..target
        })
    }

    /// Whether there is a store, or a part of one.
    pub fn has_store(&self) -> bool {
        self.has_store
    }

    /// Moves a store into its place. An existing store is moved aside; the directory that it was moved
    /// to is returned.
    ///
    /// The marker, which prevents a start from creating an empty store, exists from before the first
    /// file is moved until after the last. An interrupted restore therefore leaves a directory that
    /// refuses to start, and the restore can be repeated.
    pub fn place(
        &self,
        restored: &Restored,
        now: Timestamp,
    ) -> Result<Option<PathBuf>, StoreError> {
        self.exchange(&restored.built, now)
            .map_err(|e| self.explain(&e))
    }

    fn exchange(&self, built: &Path, now: Timestamp) -> io::Result<Option<PathBuf>> {
        let marker = self.directory.join(MARKER);
        let had_marker = marker.exists();
        if !had_marker {
            fs::copy(built.join(MARKER), &marker)?;
            File::open(&marker)?.sync_all()?;
            sync(&self.directory)?;
        }
        let mut aside = None;
        if self.has_store {
            let place = self.free_name(&format!("{REPLACED}{}", file_time(now)));
            make_private(&place)?;
            if had_marker {
                fs::copy(&marker, place.join(MARKER))?;
            }
            for name in self.names()?.iter().filter(|name| is_part_of_store(name)) {
                if name != MARKER {
                    fs::rename(self.directory.join(name), place.join(name))?;
                }
            }
            sync(&place)?;
            aside = Some(place);
        }
        sync(&self.directory)?;
        for name in names_of(built)? {
            if name != MARKER && name != LOCK {
                fs::rename(built.join(&name), self.directory.join(&name))?;
            }
        }
        sync(&self.directory)?;
        fs::rename(built.join(MARKER), &marker)?;
        sync(&self.directory)?;
        if let Some(parent) = self.directory.canonicalize()?.parent() {
            sync(parent)?;
        }
        Ok(aside)
    }

    /// A name that is free, also when two stores are moved aside in one millisecond.
    fn free_name(&self, name: &str) -> PathBuf {
        let place = self.directory.join(name);
        let others = (2..u32::MAX).map(|n| self.directory.join(format!("{name}-{n}")));
        let mut free = std::iter::once(place.clone()).chain(others);
        free.find(|place| !place.exists()).unwrap_or(place)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        names_of(&self.directory)
    }

    fn explain(&self, error: &io::Error) -> StoreError {
        StoreError::Unavailable(format!(
            "the store directory {}: {error}",
            self.directory.display()
        ))
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        // After the move only the lock file is left in it.
        if let Err(error) = fs::remove_dir_all(&self.built) {
            tracing::warn!(%error, path = %self.built.display(), "a folder was left behind");
        }
    }
}

/// The id of a restored store, and the commit from which it continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descent {
    /// The id of the store in the backup, or a new one.
    pub store: StoreId,
    /// The last commit that its keys have recorded, or a later one.
    pub after: u64,
}

/// Builds a store from a backup that was read to its end before, with this `trailer`. Calls `progress`
/// with the number of records so far.
pub async fn restore(
    file: impl Read,
    trailer: &Trailer,
    target: &Target,
    descent: Descent,
    sessions: Sessions,
    clock: &Arc<dyn Clock>,
    progress: &mut dyn FnMut(u64),
) -> Result<Restored, BackupError> {
    let built = target.directory.join(BUILDING);
    match fs::remove_dir_all(&built) {
        // Left by an interrupted restore.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => make_private(&built)?,
    }
    let mut restored = Restored {
        built,
        records: 0,
        sessions: 0,
        content: Sha256Sum([0; 32]),
    };
    let mut reader = Reader::open(BufReader::with_capacity(1 << 20, file))?;
    let store = create(&restored.built, descent, clock)?;
    let mut copy = Copy::new(sessions, clock.now().max(reader.header().created_at));
    let mut batch = Vec::with_capacity(BATCH);
    while let Some((key, value)) = reader.next_record()? {
        if copy.takes(key, value)? {
            copy.content.add(key, value);
            batch.push((key.to_vec(), value.to_vec()));
        }
        if batch.len() == BATCH {
            store.import(std::mem::take(&mut batch)).await?;
            progress(reader.records());
        }
    }
    // The file may have been replaced after it was checked.
    if reader.read_to_end()? != *trailer {
        return Err(BackupError::NotABackup);
    }
    restored.records = copy.records;
    restored.sessions = copy.sessions;
    // Time in the new store begins no earlier than in the backup, whatever the wall clock reads. Records
    // that have expired stay expired, and new sessions are newer than the ended ones.
    clock.resume(copy.newest);
    let (content, last) = copy.finish()?;
    restored.content = content;
    batch.extend(last);
    store.import(batch).await?;
    store.close().await?;
    Ok(restored)
}

/// Creates an empty store.
fn create(
    directory: &Path,
    descent: Descent,
    clock: &Arc<dyn Clock>,
) -> Result<Embedded, StoreError> {
    let settings = Settings {
        engine: Engine::Sled {
            path: directory.to_owned(),
            cache: 64 << 20,
        },
        deadline: DEADLINE,
        revocation_life: Duration::ZERO,
        audit_life: Duration::MAX,
        lock_wait: Duration::ZERO,
    };
    let ties = Ties {
        keys: None,
        founding: Founding::Again,
        new_keys: false,
        fresh: descent.store,
        after: descent.after,
    };
    Embedded::open_tied(&settings, &ties, Arc::clone(clock))
}

/// Chooses the records that the new store takes.
struct Copy {
    wanted: Sessions,
    now: Timestamp,
    content: Content,
    records: u64,
    sessions: u64,
    totals: Totals,
    /// The latest moment in the backup.
    newest: Timestamp,
}

impl Copy {
    fn new(wanted: Sessions, now: Timestamp) -> Self {
        Self {
            wanted,
            now,
            content: Content::default(),
            records: 0,
            sessions: 0,
            totals: Totals::default(),
            newest: now,
        }
    }

    fn takes(&mut self, key: &[u8], value: &[u8]) -> Result<bool, StoreError> {
        if key == META_TOTALS {
            self.totals = codec::decode(key, value)?;
            return Ok(false);
        }
        if key == META_END_ALL {
            let stored: StoredEndAll = codec::decode(key, value)?;
            self.newest = self.newest.max(stored.through);
            return Ok(self.wanted == Sessions::Keep);
        }
        if key == META_CLOCK {
            self.newest = self.newest.max(codec::decode(key, value)?);
        }
        // The new store has its own.
        if [META_FORMAT, META_STORE, META_COMMIT, META_CHECK, META_CLOCK].contains(&key) {
            return Ok(false);
        }
        // Mails in the queue of the backup have been sent since.
        if key == META_MAILS || key.first() == Some(&MAIL) {
            return Ok(false);
        }
        if key.first() == Some(&SESSION) {
            self.sessions += 1;
            self.newest = self.newest.max(session_made_at(key).unwrap_or_default());
        }
        let takes = self.wanted == Sessions::Keep || !is_of_a_session(key);
        self.records += u64::from(takes);
        Ok(takes)
    }

    /// The hash of the content, and the records that the restore itself adds.
    fn finish(mut self) -> Result<(Sha256Sum, Vec<Pair>), StoreError> {
        let mut last = Vec::new();
        if self.wanted == Sessions::End {
            self.totals.sessions = 0;
            let all = StoredEndAll {
                through: self.newest,
                at: self.now,
                why: EndReason::Operator,
                found: self.sessions,
                seen: self.sessions,
                ended: self.sessions,
                after: None,
                is_complete: true,
            };
            let bytes = codec::encode(META_END_ALL, &all)?;
            last.push((META_END_ALL.to_vec(), bytes));
        }
        let bytes = codec::encode(META_TOTALS, &self.totals)?;
        last.push((META_TOTALS.to_vec(), bytes));
        Ok((self.content.finish(), last))
    }
}

/// Sessions, their index and expiry entries, and pending codes and links, which may have been used since
/// the backup.
fn is_of_a_session(key: &[u8]) -> bool {
    let of = expiring(key).unwrap_or(key);
    matches!(of.first(), Some(&(SESSION | SESSION_INDEX | CHALLENGE)))
}

fn names_of(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// A moment in a file name: `20261130T201500.123Z`.
pub fn file_time(at: Timestamp) -> String {
    at.to_string().replace(['-', ':'], "")
}

/// The directory in which a store is built.
const BUILDING: &str = ".restore";
