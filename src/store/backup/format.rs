//! What does a backup file consist of? The header, the kinds of frames and their limits.

use serde::{Deserialize, Serialize};

use crate::store::MAX_RECORD;
use crate::types::time::Timestamp;

/// The format that this version writes and reads.
pub(crate) const FORMAT: u32 = 1;

/// The first bytes of every backup.
pub(crate) const MAGIC: &[u8; 16] = b"SIDEGATE-BACKUP\n";

/// Kinds of frames.
pub(crate) const HEADER: u8 = b'H';
pub(crate) const KEYS: u8 = b'K';
pub(crate) const RECORD: u8 = b'R';
pub(crate) const END: u8 = b'E';

/// The longest key of a record.
pub(crate) const MAX_KEY: usize = 1024;
/// The longest payload of each kind of frame.
pub(crate) const MAX_HEADER: usize = 64 << 10;
pub(crate) const MAX_KEYS: usize = 1 << 20;
pub(crate) const MAX_RECORD_FRAME: usize = 2 + MAX_KEY + MAX_RECORD;
pub(crate) const END_FRAME: usize = 8 + 32 + 32;

/// The header of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// The format of the file.
    pub format: u32,
    /// The version of Sidegate that wrote it.
    pub program: String,
    /// When the snapshot began.
    pub created_at: Timestamp,
    /// The id of the store, if it has one.
    pub store: Option<String>,
    /// The number of the last commit in it.
    pub commit: u64,
    /// The names of the keys of the store.
    pub keys: KeyNames,
    /// Whether the file contains the keys, sealed.
    pub with_keys: bool,
}

impl Header {
    /// The format that this version writes.
    pub const FORMAT: u32 = FORMAT;
}

/// Names of keys. They reveal nothing about the keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyNames {
    /// Ids of the signing keys.
    pub signing: Vec<String>,
    /// Fingerprints of the refresh keys.
    pub refresh: Vec<String>,
}

impl KeyNames {
    /// Whether these keys are those of `other` or their successors. One common refresh key is enough,
    /// because it existed before and after a rotation.
    pub fn match_any(&self, other: &Self) -> bool {
        self.refresh.iter().any(|own| other.refresh.contains(own))
    }
}
