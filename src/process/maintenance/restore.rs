//! How does a backup replace the store? Everything is checked before anything is changed.

use std::fs::{self, File};
use std::io::{BufReader, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::config::Config;
use crate::crypto::keydir::copies::{self, KeyFile};
use crate::crypto::sealed;
use crate::process::file_modes;
use crate::store::backup::{
    self, BackupError, Descent, Header, KeyNames, Reader, Sessions, Sha256Sum, Target, Trailer,
    split_page,
};
use crate::store::identity::{Founding, Ties, last_seen};
use crate::store::{AnyStore, Lifecycle as _, StoreError};
use crate::tokens::keys::Keys;
use crate::types::ids::StoreId;
use crate::types::random::SystemRandom;
use crate::types::secret::SecretText;
use crate::types::time::{Clock, SystemClock};

/// How a backup is to be restored.
pub struct Plan<'a> {
    /// The backup.
    pub file: &'a Path,
    /// Whether its sessions end or continue.
    pub sessions: Sessions,
    /// Whether an existing store is moved aside.
    pub replace: bool,
    /// Whether data that needs the keys of the backup is discarded.
    pub reset_factors: bool,
    /// The passphrase of the keys, when it was given.
    pub passphrase: Option<SecretText>,
    /// Asks the operator for the passphrase.
    pub ask: &'a mut dyn FnMut() -> Result<SecretText, String>,
    /// Is called with the progress.
    pub progress: &'a mut dyn FnMut(&str),
}

impl std::fmt::Debug for Plan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// A backup that was restored.
#[derive(Debug)]
pub struct Done {
    /// The store's directory.
    pub store: PathBuf,
    /// The header of the backup.
    pub header: Header,
    /// How many records the store holds.
    pub records: u64,
    /// How many sessions the backup held.
    pub sessions: u64,
    /// The SHA-256 of the content.
    pub content: Sha256Sum,
    /// The origin of the keys.
    pub keys: KeysFrom,
    /// The new path of the former store, if one was moved aside.
    pub replaced: Option<PathBuf>,
}

/// The origin of the keys of a restored store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeysFrom {
    /// They were in the key directory already.
    Kept,
    /// They were in the backup.
    Restored,
    /// They are not the keys of the backup.
    Other,
}

/// Why a backup was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A process holds the store.
    #[error("another process holds the store")]
    Locked,
    /// Anything else, in words for the operator.
    #[error("{0}")]
    Failed(String),
}

/// Restores a backup.
pub fn restore(config: &Config, mut plan: Plan<'_>) -> Result<Done, RestoreError> {
    let Some(path) = config.store.engine.directory() else {
        let none = "there is nothing to restore to: the store is in memory";
        return Err(RestoreError::Failed(none.to_owned()));
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let wrong = |error: BackupError| {
        let file = plan.file.display();
        RestoreError::Failed(format!("{file}: {error}; nothing was changed"))
    };
    let mut file = File::open(plan.file).map_err(|error| wrong(error.into()))?;
    let checked = check(&file, plan.progress).map_err(wrong)?;
    let keys_dir = &config.tokens.keys_dir;
    let keys = keys(keys_dir, &checked, &mut plan)
        .map_err(|why| RestoreError::Failed(format!("{why}; nothing was changed")))?;
    let was_there = path.exists();
    let outcome = (|| {
        let target = Target::take(path)?;
        if target.has_store() && !plan.replace {
            return Err(BackupError::Store(StoreError::Config(format!(
                "there is a store in {}: use --replace to move it aside",
                path.display()
            ))));
        }
        file.rewind()?;
        let descent = descent(&checked.header, keys_dir, &*clock);
        let total = checked.trailer.records;
        let mut progress =
            |done: u64| (plan.progress)(&format!("{done} of {total} records restored"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let built = runtime.block_on(backup::restore(
            &file,
            &checked.trailer,
            &target,
            descent,
            plan.sessions,
            &clock,
            &mut progress,
        ))?;
        if let Some(files) = &keys.files {
            // The keys are installed before the store. If the process ends in between, the next start asks
            // about keys without a store; a store without its keys would be lost.
            copies::install(keys_dir, files)
                .map_err(|error| StoreError::Config(error.to_string()))?;
        }
        let (records, sessions, content) = (built.records, built.sessions, built.content);
        let replaced = target.place(&built, clock.now())?;
        drop(target);
        runtime.block_on(tie(config, keys.from, descent, &clock))?;
        file_modes::give_to_owners(config);
        Ok(Done {
            store: path.to_owned(),
            header: checked.header.clone(),
            records,
            sessions,
            content,
            keys: keys.from,
            replaced,
        })
    })();
    outcome.map_err(|error| {
        if !was_there {
            // Removes only what was created above: a directory with any other content stays.
            drop(fs::remove_file(path.join("lock")));
            drop(fs::remove_dir(path));
        }
        match error {
            BackupError::Store(StoreError::Locked(_)) => RestoreError::Locked,
            BackupError::Store(StoreError::Config(why)) => RestoreError::Failed(why),
            other => RestoreError::Failed(format!("{}: {other}", plan.file.display())),
        }
    })
}

/// The restored store has the id of the saved one. Its commits are numbered after the last one that its keys
/// have recorded, so that it is not taken for an older copy.
fn descent(header: &Header, keys_dir: &Path, clock: &dyn Clock) -> Descent {
    let known = header.store.as_ref().and_then(|id| id.parse().ok());
    let store = known.unwrap_or_else(|| StoreId::generate(clock.now(), &SystemRandom));
    let seen = last_seen(keys_dir, store).unwrap_or_default();
    Descent {
        store,
        after: header.commit.max(seen),
    }
}

/// Binds store and keys to each other. Creates keys if the operator continues without those of the backup.
async fn tie(
    config: &Config,
    keys: KeysFrom,
    descent: Descent,
    clock: &Arc<dyn Clock>,
) -> Result<(), BackupError> {
    if keys == KeysFrom::Other {
        Keys::open(&config.tokens, clock.now(), &SystemRandom)
            .map_err(|error| StoreError::Config(error.to_string()))?;
    }
    let ties = Ties {
        keys: Some(config.tokens.keys_dir.clone()),
        founding: Founding::Never,
        new_keys: true,
        fresh: descent.store,
        after: 0,
    };
    let store = AnyStore::open_tied(&config.store, &ties, Arc::clone(clock))?;
    store.close().await?;
    Ok(())
}

/// The facts about a backup that was checked and is complete.
struct Checked {
    header: Header,
    sealed_keys: Option<Vec<u8>>,
    trailer: Trailer,
}

fn check(file: &File, progress: &mut dyn FnMut(&str)) -> Result<Checked, BackupError> {
    if !file.metadata()?.is_file() {
        // The file is read twice, which a pipe does not permit.
        return Err(std::io::Error::other("it is not a regular file").into());
    }
    let mut reader = Reader::open(BufReader::with_capacity(1 << 20, file))?;
    while reader.next_record()?.is_some() {
        if reader.records().is_multiple_of(10_000) {
            progress(&format!("{} records checked", reader.records()));
        }
    }
    Ok(Checked {
        trailer: reader.read_to_end()?,
        header: reader.header().clone(),
        sealed_keys: reader.sealed_keys().map(<[u8]>::to_vec),
    })
}

/// The keys that a restored store is used with.
struct Chosen {
    from: KeysFrom,
    /// The files to write; none if the keys exist already.
    files: Option<Vec<KeyFile>>,
}

fn keys(directory: &Path, checked: &Checked, plan: &mut Plan<'_>) -> Result<Chosen, String> {
    let there = copies::names(directory).map_err(|error| error.to_string())?;
    let there = KeyNames {
        signing: there.signing,
        refresh: there.refresh,
    };
    let wanted = &checked.header.keys;
    let at = directory.display();
    let has_keys = !there.signing.is_empty() || !there.refresh.is_empty();
    let sealed = checked.sealed_keys.as_deref();
    let passphrase = match (sealed, has_keys, plan.passphrase.take()) {
        (Some(_), false, None) if !plan.reset_factors => Some((plan.ask)()?),
        (_, _, given) => given,
    };
    let opened = match (sealed, passphrase) {
        (Some(sealed), Some(passphrase)) => Some(open_keys(sealed, &passphrase)?),
        _ => None,
    };
    match (has_keys, opened) {
        (true, _) if there.match_any(wanted) => Ok(Chosen {
            from: KeysFrom::Kept,
            files: None,
        }),
        (false, Some(files)) => Ok(Chosen {
            from: KeysFrom::Restored,
            files: Some(files),
        }),
        _ if plan.reset_factors => Ok(Chosen {
            from: KeysFrom::Other,
            files: None,
        }),
        (true, _) => Err(format!(
            "the keys in {at} are not those that the store was used with: put the right key \
             directory there, or use --reset-factors to give up what they encrypted"
        )),
        (false, None) => Err(format!(
            "there are no keys in {at}, and none in the backup: put the key directory that belongs \
             to the store there, or use --reset-factors to give up what they encrypted"
        )),
    }
}

fn open_keys(sealed: &[u8], passphrase: &SecretText) -> Result<Vec<KeyFile>, String> {
    let odd = || "the keys in the backup do not belong together".to_owned();
    let packed = sealed::open(sealed, passphrase)
        .map_err(|error| format!("the keys in the backup: {error}"))?;
    let mut files = Vec::new();
    for (name, bytes) in split_page(&packed).ok_or_else(odd)? {
        let name = std::str::from_utf8(name).map_err(|_| odd())?;
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(is_plain) {
            return Err(odd());
        }
        files.push((name.to_owned(), Zeroizing::new(bytes.to_vec())));
    }
    copies::names_of(&files).ok_or_else(odd)?;
    Ok(files)
}
