//! How is a store that has lost its files distinguished from an empty directory? By a marker file.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::store::StoreError;
use crate::store::sled::disk_error::explain;
use crate::store::sled::names::MARKER;
use crate::types::ids::StoreId;

const TEXT: &str = "A Sidegate store lives here. Do not delete this file by itself: it \
keeps Sidegate from starting with an empty store when the other files are missing.\n";

/// The content of the marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// There is no marker: no store was completed here.
    Missing,
    /// Written by a version that did not count commits.
    Uncounted,
    /// This store was completed here.
    Of(StoreId),
    /// The marker is damaged.
    Damaged,
}

impl Marker {
    /// Reads the marker of a directory.
    pub(super) fn read(directory: &Path) -> Result<Self, StoreError> {
        let bytes = match fs::read(directory.join(MARKER)) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Self::Missing),
            Err(e) => return Err(explain(directory, &e)),
        };
        if bytes == TEXT.as_bytes() {
            return Ok(Self::Uncounted);
        }
        let text = String::from_utf8_lossy(&bytes);
        let id = text
            .strip_prefix(TEXT)
            .and_then(|rest| rest.strip_prefix("store "))
            .and_then(|rest| rest.split(' ').next())
            .and_then(|id| id.parse().ok());
        Ok(match id {
            Some(id) if marker_text(id) == text => Self::Of(id),
            _ => Self::Damaged,
        })
    }
}

/// The content of the marker of this store.
pub(super) fn marker_text(store: StoreId) -> String {
    let text = format!("{TEXT}store {store} ");
    let sum = crc32fast::hash(text.as_bytes());
    format!("{text}{sum:08x}\n")
}
