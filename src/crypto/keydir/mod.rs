//! The key directory: signing key pairs and the keys of the refresh MAC, one file each, and an index
//! with the period of use of each key.
//!
//! Invariant: a key file is on disk before the index names it, and the index is replaced as a whole, so
//! a crash leaves the state before or the state after. Files have mode 0600 in a directory with mode
//! 0700. If the index is missing, keys are not created again.

mod bond;
pub mod copies;
mod files;
mod index;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::crypto::keydir::files::Files;
use crate::crypto::keydir::index::{Index, RefreshEntry, SigningEntry, checksum};
use crate::crypto::refresh::{BadRefreshKeys, RefreshKeys};
use crate::crypto::signing::{BadKey, KeyKind, SigningKey};
use crate::types::random::Random;
use crate::types::secret::SecretBytes;
use crate::types::time::Timestamp;

pub use bond::{Bond, Bound};
pub use files::{Warning, is_ours};
pub use index::Validity;

/// The directory, opened.
#[derive(Debug)]
pub struct KeyDirectory {
    files: Files,
    /// Whether keys that seem to have retired are kept, because the clock is in doubt.
    keeps_retired: AtomicBool,
}

impl KeyDirectory {
    /// Opens the directory. Creates it if it does not exist.
    pub fn open(path: &Path) -> Result<Self, KeyDirError> {
        Ok(Self {
            files: Files::open(path)?,
            keeps_retired: AtomicBool::new(false),
        })
    }

    /// Sets whether retired keys are kept. They are kept while the clock is in doubt: a key that was deleted
    /// too early cannot be restored.
    pub fn keep_retired(&self, keeps: bool) {
        self.keeps_retired.store(keeps, Ordering::Relaxed);
    }

    /// Loads all keys. At the first start it creates the missing ones: a refresh key, and a signing
    /// key of the given kind (`None` if a shared secret signs). Removes and deletes retired keys.
    pub fn load(
        &self,
        kind: Option<KeyKind>,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Loaded, KeyDirError> {
        let found = self.files.read_index()?;
        let mut index = found.clone().unwrap_or_default();
        let retired = if self.keeps_retired.load(Ordering::Relaxed) {
            Vec::new()
        } else {
            index.prune(now)
        };
        if let Some(kind) = kind.filter(|kind| !index.has_signer(*kind, now)) {
            self.add_signing(&mut index, kind, now, now, random)?;
        }
        if index.refresh.is_empty() {
            self.add_refresh(&mut index, now, random)?;
        }
        if found.as_ref() != Some(&index) {
            self.files.write_index(&index)?;
        }
        for name in retired {
            self.files.remove(&name)?;
        }
        let loaded = self.read_all(&index)?;
        self.seal(&mut index)?;
        Ok(loaded)
    }

    /// Adds checksums to the index for the readable files that an earlier version wrote. A directory that
    /// cannot be written is not changed.
    fn seal(&self, index: &mut Index) -> Result<(), KeyDirError> {
        if index.is_sealed() {
            return Ok(());
        }
        for entry in &mut index.signing {
            entry.checksum = Some(checksum(&self.files.read(&entry.file_name())?));
        }
        for entry in &mut index.refresh {
            entry.checksum = Some(checksum(&self.files.read(&entry.file_name())?));
        }
        if let Err(error) = self.files.write_index(index) {
            tracing::warn!("{error}; damage to the keys would not be detected");
        }
        Ok(())
    }

    /// Makes a signing key that verifies at once and signs from `now + activate_after`. The one it
    /// follows verifies for `keep_for` (the life of a token and the leeway) after that moment, then
    /// the next load deletes it. Returns the new key's id.
    pub fn rotate_signing(
        &self,
        kind: KeyKind,
        now: Timestamp,
        activate_after: Duration,
        keep_for: Duration,
        random: &dyn Random,
    ) -> Result<String, KeyDirError> {
        let mut index = self.files.read_index()?.ok_or(KeyDirError::NoIndex)?;
        if index.signing.len() >= MAX_KEYS {
            return Err(KeyDirError::TooMany);
        }
        let signs_from = now.plus(activate_after);
        index.retire_signing(kind, signs_from.plus(keep_for));
        let kid = self.add_signing(&mut index, kind, now, signs_from, random)?;
        self.files.write_index(&index)?;
        Ok(kid)
    }

    /// Makes a refresh key that signs at once; the others verify for `keep_for` (the longest life
    /// of a session). Returns its number.
    pub fn rotate_refresh(
        &self,
        now: Timestamp,
        keep_for: Duration,
        random: &dyn Random,
    ) -> Result<u8, KeyDirError> {
        let mut index = self.files.read_index()?.ok_or(KeyDirError::NoIndex)?;
        if index.refresh.len() >= MAX_KEYS {
            return Err(KeyDirError::TooMany);
        }
        index.retire_refresh(now.plus(keep_for));
        let number = self.add_refresh(&mut index, now, random)?;
        self.files.write_index(&index)?;
        Ok(number)
    }

    fn add_signing(
        &self,
        index: &mut Index,
        kind: KeyKind,
        now: Timestamp,
        signs_from: Timestamp,
        random: &dyn Random,
    ) -> Result<String, KeyDirError> {
        let (key, pkcs8) = SigningKey::generate(kind, random)?;
        let entry = SigningEntry {
            kid: key.id(),
            kind,
            validity: Validity::starting(now, signs_from),
            checksum: None,
        };
        let pem = files::to_pem(&pkcs8);
        let entry = SigningEntry {
            checksum: Some(checksum(pem.as_bytes())),
            ..entry
        };
        self.files.write(&entry.file_name(), pem.as_bytes())?;
        let kid = entry.kid.clone();
        index.signing.push(entry);
        Ok(kid)
    }

    fn add_refresh(
        &self,
        index: &mut Index,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<u8, KeyDirError> {
        let secret = Zeroizing::new(random.bytes::<32>());
        let entry = RefreshEntry {
            number: index.free_number().ok_or(KeyDirError::TooMany)?,
            validity: Validity::starting(now, now),
            checksum: Some(checksum(secret.as_slice())),
        };
        self.files.write(&entry.file_name(), secret.as_slice())?;
        let number = entry.number;
        index.refresh.push(entry);
        Ok(number)
    }

    fn read_all(&self, index: &Index) -> Result<Loaded, KeyDirError> {
        let mut warnings: Vec<_> = self.files.warnings(".")?.into_iter().collect();
        let mut signing = Vec::new();
        for entry in &index.signing {
            let name = entry.file_name();
            let pem = self.files.read_checked(&name, entry.checksum.as_ref())?;
            let der = files::from_pem(&pem);
            let damaged = || KeyDirError::Damaged(self.files.path(&name));
            let key = der.and_then(|der| SigningKey::from_pkcs8(entry.kind, &der).ok());
            let key = key.ok_or_else(damaged)?;
            // Otherwise a key file under the name of another key would sign with that key's id.
            if key.id() != entry.kid {
                return Err(damaged());
            }
            warnings.extend(self.files.warnings(&name)?);
            signing.push(StoredKey {
                kid: entry.kid.clone(),
                kind: entry.kind,
                validity: entry.validity,
                key: Arc::new(key),
            });
        }
        let mut refresh = Vec::new();
        for entry in &index.refresh {
            let name = entry.file_name();
            let secret = self.files.read_checked(&name, entry.checksum.as_ref())?;
            if secret.len() != 32 {
                return Err(KeyDirError::Damaged(self.files.path(&name)));
            }
            warnings.extend(self.files.warnings(&name)?);
            refresh.push((entry.number, SecretBytes::new(secret.to_vec())));
        }
        Ok(Loaded {
            signing,
            current_refresh: index.current_refresh().ok_or(KeyDirError::NoIndex)?,
            refresh,
            warnings,
        })
    }
}

/// The content of a key directory.
#[derive(Debug)]
pub struct Loaded {
    /// Signing keys of all kinds, oldest first.
    pub signing: Vec<StoredKey>,
    /// Warnings for the operator.
    pub warnings: Vec<Warning>,
    refresh: Vec<(u8, SecretBytes)>,
    current_refresh: u8,
}

impl Loaded {
    /// The refresh keys, prepared.
    pub fn refresh_keys(&self) -> Result<RefreshKeys, BadRefreshKeys> {
        RefreshKeys::new(self.refresh.iter().cloned(), self.current_refresh)
    }

    /// Whether one of the refresh keys is this secret.
    pub fn has_refresh_secret(&self, secret: &SecretBytes) -> bool {
        self.refresh.iter().any(|(_, own)| own == secret)
    }
}

/// One signing key pair and when it is used.
#[derive(Debug)]
pub struct StoredKey {
    /// Its id.
    pub kid: String,
    /// Its kind.
    pub kind: KeyKind,
    /// From when to when it is used.
    pub validity: Validity,
    /// The key.
    pub key: Arc<SigningKey>,
}

/// The most keys of one sort: rotating faster than keys retire is refused.
const MAX_KEYS: usize = 16;

/// Why the key directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyDirError {
    /// The file system returned an error.
    #[error("cannot {act} {}: {source}", path.display())]
    Io {
        /// The failed operation.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// A file has unexpected content.
    #[error(
        "{0} is damaged, or not the key that keys.json names: put it back from a backup, or move the \
         key directory away and start once with `sidegate serve --new-keys`; everybody has to log in \
         again then"
    )]
    Damaged(PathBuf),
    /// There are key files, but no index.
    #[error("the key directory has keys and no keys.json; put it back from a backup")]
    NoIndex,
    /// Too many keys are still in use.
    #[error("there are {MAX_KEYS} keys in use; wait until old ones retire")]
    TooMany,
    /// A key could not be made.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// The refresh keys do not fit together.
    #[error(transparent)]
    Refresh(#[from] BadRefreshKeys),
}
