//! Which store do the keys belong to? The file `store-id` in the key directory contains its id, as one line
//! with a checksum. The store contains the same id, so keys without their store, and a store without its keys,
//! are detected.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use crate::crypto::keydir::KeyDirError;
use crate::crypto::keydir::files::Files;
use crate::types::ids::StoreId;

/// The keys and the store that a key directory names, read without changing anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bond {
    /// The directory.
    pub directory: PathBuf,
    /// Whether there are keys.
    pub has_keys: bool,
    /// The store it belongs to.
    pub store: Bound,
}

/// The store that a key directory names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// It names none.
    Nowhere,
    /// It names this one.
    To(StoreId),
    /// The file that names it is damaged.
    Unreadable,
}

impl Bond {
    /// Reads a key directory. One that does not exist has no keys and names no store.
    pub fn read(directory: &Path) -> Result<Self, KeyDirError> {
        let error = |act, path: PathBuf, source| KeyDirError::Io { act, path, source };
        let file = directory.join(FILE);
        let store = match std::fs::read(&file) {
            Ok(bytes) => parse(&bytes).map_or(Bound::Unreadable, Bound::To),
            Err(source) if is_absent(&source) => Bound::Nowhere,
            Err(source) => return Err(error("read", file, source)),
        };
        let has_keys = match has_keys(directory) {
            Ok(has_keys) => has_keys,
            Err(source) if is_absent(&source) => false,
            Err(source) => return Err(error("list", directory.to_owned(), source)),
        };
        Ok(Self {
            directory: directory.to_owned(),
            has_keys,
            store,
        })
    }

    /// Records durably that the keys belong to this store. Creates the directory if it does not exist.
    pub fn bind(&mut self, store: StoreId) -> Result<(), KeyDirError> {
        Files::open(&self.directory)?.write(FILE, line(store).as_bytes())?;
        self.store = Bound::To(store);
        Ok(())
    }
}

const FILE: &str = "store-id";

fn is_absent(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn has_keys(directory: &Path) -> Result<bool, Error> {
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let extension = Path::new(&name).extension();
        let is_key = extension == Some("pem".as_ref()) || extension == Some("key".as_ref());
        if name == "keys.json" || is_key {
            return Ok(true);
        }
    }
    Ok(false)
}

fn line(store: StoreId) -> String {
    let text = format!("{TITLE}{store} ");
    let sum = crc32fast::hash(text.as_bytes());
    format!("{text}{sum:08x}\n")
}

fn parse(bytes: &[u8]) -> Option<StoreId> {
    let text = std::str::from_utf8(bytes).ok()?;
    let id = text.strip_prefix(TITLE)?.split(' ').next()?.parse().ok()?;
    (line(id) == text).then_some(id)
}

const TITLE: &str = "These keys belong to the store ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_names_its_store_and_damage_is_detected() {
        let place = tempfile::tempdir().unwrap();
        let at = place.path().join("keys");
        let mut bond = Bond::read(&at).unwrap();
        assert_eq!((bond.has_keys, bond.store), (false, Bound::Nowhere));
        let store = StoreId::from_bytes([9; 16]);
        bond.bind(store).unwrap();
        assert_eq!(Bond::read(&at).unwrap(), bond);
        assert_eq!(bond.store, Bound::To(store));
        let whole = std::fs::read(at.join(FILE)).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(at.join(FILE), bytes).unwrap();
            assert_eq!(
                Bond::read(&at).unwrap().store,
                Bound::Unreadable,
                "bit {bit}"
            );
        }
        std::fs::write(at.join("refresh-1.key"), b"").unwrap();
        assert!(Bond::read(&at).unwrap().has_keys);
    }
}
