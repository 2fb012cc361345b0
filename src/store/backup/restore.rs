//! A store from a backup. It is built beside its place and moved there when it is complete, so that a
//! restore that fails leaves everything as it was.

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
    CHALLENGE, META_CHECK, META_CLOCK, META_COMMIT, META_END_ALL, META_FORMAT, META_STORE,
    META_TOTALS, SESSION, SESSION_INDEX, expiring, session_made_at,
};
use crate::store::embedded::records::{StoredEndAll, Totals};
use crate::store::identity::{Founding, Ties};
use crate::store::settings::{Engine, Settings};
use crate::store::sled::hold;
use crate::store::{Lifecycle as _, StoreError, codec};
use crate::types::ids::StoreId;
use crate::types::time::{Clock, Timestamp};

/// How many records go into one commit.
const BATCH: usize = 4_000;

/// How long one commit of a store that is being built may take.
const DEADLINE: Duration = Duration::from_secs(600);

/// The key and the value of a record.
type Pair = (Vec<u8>, Vec<u8>);

/// What becomes of the sessions of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    /// All are over.
    End,
    /// They go on as they stood.
    Keep,
}

/// Where a store is to be.
#[derive(Debug)]
pub struct Target {
    directory: PathBuf,
    has_store: bool,
    /// Keeps every other process out.
    _lock: File,
}

/// A store that is complete and not in its place yet. Dropped, it is removed.
#[derive(Debug)]
pub struct Restored {
    built: PathBuf,
    /// How many records it holds.
    pub records: u64,
    /// How many sessions the backup held.
    pub sessions: u64,
    /// The SHA-256 of its content.
    pub content: Sha256Sum,
}

impl Target {
    /// Takes the directory, which is made where it is missing.
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
            has_store: names.iter().any(|name| is_store_file(name)),
            ..target
        })
    }

    /// Whether there is a store already, or a part of one.
    pub fn has_store(&self) -> bool {
        self.has_store
    }

    /// Moves a store into its place. One that is there is moved aside, and that place is returned.
    ///
    /// The marker, which keeps a start from founding an empty store, is there from before the first
    /// file moves until after the last: an interrupted restore leaves a directory that refuses to
    /// start, and can be repeated.
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
            let place = self.free_name(&format!("replaced-{}", file_time(now)));
            make_private(&place)?;
            if had_marker {
                fs::copy(&marker, place.join(MARKER))?;
            }
            for name in self.names()?.iter().filter(|name| is_store_file(name)) {
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

    /// A place that is not taken, also when two stores are moved aside in one millisecond.
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
        // After the move nothing but its lock is left in it.
        if let Err(error) = fs::remove_dir_all(&self.built) {
            tracing::warn!(%error, path = %self.built.display(), "a folder was left behind");
        }
    }
}

/// What a restored store is called, and where its commits go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descent {
    /// The id of the store that was saved, or a fresh one.
    pub store: StoreId,
    /// No commit that its keys have seen is later than this one.
    pub after: u64,
}

/// Builds a store from a backup that has been read to its end once, as `trailer` says. `progress`
/// hears how many records are done.
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
        // What an interrupted restore left.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => make_private(&built)?,
    }
    let mut restored = Restored {
        built,
        records: 0,
        sessions: 0,
        content: Sha256Sum([0; 32]),
    };
    let settings = Settings {
        engine: Engine::Sled {
            path: restored.built.clone(),
            cache: 64 << 20,
        },
        deadline: DEADLINE,
        revocation_life: Duration::ZERO,
        audit_life: Duration::MAX,
        lock_wait: Duration::ZERO,
    };
    let mut reader = Reader::open(BufReader::with_capacity(1 << 20, file))?;
    let ties = Ties {
        keys: None,
        founding: Founding::Again,
        new_keys: false,
        fresh: descent.store,
        after: descent.after,
    };
    let store = Embedded::open_tied(&settings, &ties, Arc::clone(clock))?;
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
    // It may have been exchanged since it was checked.
    if reader.read_to_end()? != *trailer {
        return Err(BackupError::NotABackup);
    }
    restored.records = copy.records;
    restored.sessions = copy.sessions;
    // The new store begins no earlier than the one in the backup stood, whatever the wall clock says:
    // what had expired stays so, and who logs in is newer than the sessions that have ended.
    clock.resume(copy.newest);
    let (content, last) = copy.finish()?;
    restored.content = content;
    batch.extend(last);
    store.import(batch).await?;
    store.close().await?;
    Ok(restored)
}

/// Which records of a backup the new store takes.
struct Copy {
    wanted: Sessions,
    now: Timestamp,
    content: Content,
    records: u64,
    sessions: u64,
    totals: Totals,
    /// Nothing that the backup knows is newer.
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
        if key.first() == Some(&SESSION) {
            self.sessions += 1;
            self.newest = self.newest.max(session_made_at(key).unwrap_or_default());
        }
        let takes = self.wanted == Sessions::Keep || !is_of_a_session(key);
        self.records += u64::from(takes);
        Ok(takes)
    }

    /// The sum of the content, and the records that are made anew.
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

/// Sessions, what finds them, what looks at them again, and codes and links that are under way: those
/// might have been used since.
fn is_of_a_session(key: &[u8]) -> bool {
    let of = expiring(key).unwrap_or(key);
    matches!(of.first(), Some(&(SESSION | SESSION_INDEX | CHALLENGE)))
}

fn is_store_file(name: &str) -> bool {
    let known = [
        MARKER,
        "db",
        "conf",
        "blobs",
        "commit-a",
        "commit-b",
        "quarantine",
    ];
    known.contains(&name) || name.starts_with("snap.")
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

const MARKER: &str = "sidegate-store";
const LOCK: &str = "lock";
/// Where a store is built.
const BUILDING: &str = ".restore";
