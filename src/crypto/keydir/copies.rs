//! How is a key directory saved and restored? As the list of its files; the names of its keys are read from
//! them.

use std::path::Path;

use zeroize::Zeroizing;

use crate::crypto::digest::sha256;
use crate::crypto::keydir::KeyDirError;
use crate::crypto::keydir::files::Files;
use crate::crypto::keydir::index::{Index, RefreshEntry, SigningEntry};

/// A description of the keys of a directory that contains no key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// Ids of the signing keys.
    pub signing: Vec<String>,
    /// Fingerprints of the refresh keys: the beginning of a SHA-256, as hexadecimal text.
    pub refresh: Vec<String>,
}

/// A file of a key directory.
pub type KeyFile = (String, Zeroizing<Vec<u8>>);

/// The names of the keys in a directory; none if it does not exist or is empty. Changes nothing.
pub fn names(directory: &Path) -> Result<Names, KeyDirError> {
    let Some((files, index)) = look(directory)? else {
        return Ok(Names::default());
    };
    let mut names = Names {
        signing: index
            .signing
            .iter()
            .map(|entry| entry.kid.clone())
            .collect(),
        refresh: Vec::new(),
    };
    for entry in &index.refresh {
        names
            .refresh
            .push(fingerprint(&files.read(&entry.file_name())?));
    }
    Ok(names)
}

/// The names of the keys in such files; `None` where the files do not belong together.
pub fn names_of(files: &[KeyFile]) -> Option<Names> {
    let index = Index::parse(&files.iter().find(|(name, _)| name == INDEX)?.1)?;
    let mut refresh = Vec::new();
    for entry in &index.refresh {
        let name = entry.file_name();
        refresh.push(fingerprint(&files.iter().find(|file| file.0 == name)?.1));
    }
    for entry in &index.signing {
        let name = entry.file_name();
        files.iter().find(|file| file.0 == name)?;
    }
    let signing = index.signing.into_iter().map(|entry| entry.kid);
    Some(Names {
        signing: signing.collect(),
        refresh,
    })
}

/// The files of the keys in a directory, the index last.
pub fn files(directory: &Path) -> Result<Vec<KeyFile>, KeyDirError> {
    let Some((files, index)) = look(directory)? else {
        return Ok(Vec::new());
    };
    let signing = index.signing.iter().map(SigningEntry::file_name);
    let refresh = index.refresh.iter().map(RefreshEntry::file_name);
    let names = signing.chain(refresh).chain([INDEX.to_owned()]);
    names
        .map(|name| Ok((name.clone(), files.read(&name)?)))
        .collect()
}

/// Writes these files to a directory that has no keys, the index last. An interrupted write therefore leaves no
/// usable keys, rather than some of them.
pub fn install(directory: &Path, wanted: &[KeyFile]) -> Result<(), KeyDirError> {
    let files = Files::open(directory)?;
    for (name, bytes) in wanted.iter().filter(|(name, _)| name != INDEX) {
        files.write(name, bytes)?;
    }
    for (name, bytes) in wanted.iter().filter(|(name, _)| name == INDEX) {
        files.write(name, bytes)?;
    }
    Ok(())
}

fn look(directory: &Path) -> Result<Option<(Files, Index)>, KeyDirError> {
    if !directory.exists() {
        return Ok(None);
    }
    let files = Files::open(directory)?;
    Ok(files.read_index()?.map(|index| (files, index)))
}

fn fingerprint(secret: &[u8]) -> String {
    let hash = sha256(&[b"sidegate refresh key", secret]);
    data_encoding::HEXLOWER.encode(hash.get(..8).unwrap_or_default())
}

const INDEX: &str = "keys.json";
