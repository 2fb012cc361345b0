//! How are the files of a key directory read and replaced? A crash leaves the old or the new content, and no
//! other user can read them.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use zeroize::Zeroizing;

use crate::crypto::keydir::KeyDirError;
use crate::crypto::keydir::index::{Index, checksum};
use crate::files;

/// The files of one key directory.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
}

impl Files {
    pub(super) fn open(directory: &Path) -> Result<Self, KeyDirError> {
        files::make_directory(directory).map_err(|source| KeyDirError::Io {
            act: "make",
            path: directory.to_owned(),
            source,
        })?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The index, or `None` at the first start. Keys without an index are an error.
    pub(super) fn read_index(&self) -> Result<Option<Index>, KeyDirError> {
        let bytes = match self.read(INDEX) {
            Ok(bytes) => bytes,
            Err(KeyDirError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return if self.has_signing_keys()? {
                    Err(KeyDirError::NoIndex)
                } else {
                    Ok(None)
                };
            }
            Err(other) => return Err(other),
        };
        let index = Index::parse(&bytes);
        index
            .map(Some)
            .ok_or_else(|| KeyDirError::Damaged(self.path(INDEX)))
    }

    pub(super) fn write_index(&self, index: &Index) -> Result<(), KeyDirError> {
        let bytes = index
            .to_bytes()
            .map_err(|error| self.error("write", INDEX, Error::other(error)))?;
        self.write(INDEX, &bytes)
    }

    /// Reads a whole small file.
    pub(super) fn read(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyDirError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE));
        let read = File::open(self.path(name))
            .and_then(|file| file.take(MAX_FILE as u64).read_to_end(&mut bytes));
        match read {
            Ok(length) if length < MAX_FILE => Ok(bytes),
            Ok(_) => Err(KeyDirError::Damaged(self.path(name))),
            Err(source) => Err(self.error("read", name, source)),
        }
    }

    /// Reads a key's file and compares it with its checksum in the index.
    pub(super) fn read_checked(
        &self,
        name: &str,
        expected: Option<&String>,
    ) -> Result<Zeroizing<Vec<u8>>, KeyDirError> {
        let bytes = self.read(name)?;
        if expected.is_some_and(|expected| *expected != checksum(&bytes)) {
            return Err(KeyDirError::Damaged(self.path(name)));
        }
        Ok(bytes)
    }

    /// Replaces a file atomically: the content is written to another file and synced, that file is renamed, and
    /// the directory is synced.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), KeyDirError> {
        self.replace(name, bytes)
            .map_err(|source| self.error("write", name, source))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let aside = self.path(&format!(".{name}.tmp"));
        match std::fs::remove_file(&aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => (),
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&aside)?;
        files::give_to_owner(&file, &self.directory)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&aside, self.path(name))?;
        File::open(&self.directory)?.sync_all()
    }

    /// Deletes a file. It is not an error if the file does not exist.
    pub(super) fn remove(&self, name: &str) -> Result<(), KeyDirError> {
        match std::fs::remove_file(self.path(name)) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(self.error("delete", name, source))
            }
            _ => Ok(()),
        }
    }

    /// A warning if other users than the owner can access a file.
    pub(super) fn warnings(&self, name: &str) -> Result<Option<Warning>, KeyDirError> {
        let path = self.path(name);
        let meta = std::fs::metadata(&path)
            .map_err(|source| self.error("read the mode of", name, source))?;
        let mode = meta.permissions().mode() & 0o777;
        Ok((mode & 0o077 != 0).then_some(Warning { path, mode }))
    }

    fn has_signing_keys(&self) -> Result<bool, KeyDirError> {
        let list = || -> Result<bool, Error> {
            for entry in std::fs::read_dir(&self.directory)? {
                if Path::new(&entry?.file_name()).extension() == Some("pem".as_ref()) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        list().map_err(|source| self.error("list", ".", source))
    }

    fn error(&self, act: &'static str, name: &str, source: Error) -> KeyDirError {
        KeyDirError::Io {
            act,
            path: self.path(name),
            source,
        }
    }
}

/// Whether a file of this name belongs to a key directory.
pub fn is_ours(name: &str) -> bool {
    let name = name.trim_start_matches('.').trim_end_matches(".tmp");
    let ends = |end: &str| Path::new(name).extension() == Some(end.as_ref());
    name == INDEX || ends("pem") || ends("key") || name.starts_with("store-")
}

/// A file mode that an operator should correct.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path} can be read by others than its owner (mode {mode:o}): chmod {wanted:o} {path}",
    wanted = mode & 0o700
)]
pub struct Warning {
    /// The file.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
}

/// PKCS#8 in PEM form (RFC 7468).
pub(super) fn to_pem(der: &[u8]) -> Zeroizing<String> {
    let mut pem = Zeroizing::new(format!("{BEGIN}\n"));
    let text = Zeroizing::new(BASE64.encode(der));
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|b| char::from(*b)));
        pem.push('\n');
    }
    pem.push_str(END);
    pem.push('\n');
    pem
}

/// The one key of a PEM file.
pub(super) fn from_pem(bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let inner = text.strip_prefix(BEGIN)?.strip_suffix(END)?;
    let packed: Zeroizing<Vec<u8>> =
        Zeroizing::new(inner.bytes().filter(|b| !b.is_ascii_whitespace()).collect());
    BASE64.decode(&packed).ok().map(Zeroizing::new)
}

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
const INDEX: &str = "keys.json";
const MAX_FILE: usize = 64 * 1024;
