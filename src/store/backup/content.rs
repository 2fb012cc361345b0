//! How are records encoded in pages, and what is the hash of the content of a store?

use std::fmt;

use data_encoding::HEXLOWER;

use crate::crypto::digest::Sha256;
use crate::store::backup::reader::Record;

/// The table of internal records, which are not content.
const META: u8 = b'M';

/// A SHA-256, displayed as hexadecimal text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sha256Sum(pub [u8; 32]);

impl fmt::Display for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// Hashes the content of a store, record by record in the order of the keys.
#[derive(Debug, Default)]
pub(crate) struct Content {
    hash: Sha256,
}

impl Content {
    /// Adds the next record. Internal records are ignored.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        if key.first() == Some(&META) {
            return;
        }
        self.hash.update(&(key.len() as u64).to_be_bytes());
        self.hash.update(key);
        self.hash.update(&(value.len() as u64).to_be_bytes());
        self.hash.update(value);
    }

    /// The hash.
    pub(crate) fn finish(self) -> Sha256Sum {
        Sha256Sum(self.hash.finish())
    }
}

/// Appends a record to a page: the lengths of key and value with four bytes each, then both.
pub fn append_to_page(page: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    for part in [key, value] {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        page.extend_from_slice(&length.to_be_bytes());
    }
    page.extend_from_slice(key);
    page.extend_from_slice(value);
}

/// The records of a page; `None` if it is malformed.
pub fn split_page(mut page: &[u8]) -> Option<Vec<Record<'_>>> {
    let mut records = Vec::new();
    while !page.is_empty() {
        let (key, rest) = page.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_first_chunk::<4>()?;
        let length = |bytes: &[u8; 4]| usize::try_from(u32::from_be_bytes(*bytes)).ok();
        let (key, rest) = rest.split_at_checked(length(key)?)?;
        let (value, rest) = rest.split_at_checked(length(value)?)?;
        records.push((key, value));
        page = rest;
    }
    Some(records)
}
