//! The index of the key directory, `keys.json`: which key is used from when to when.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::crypto::digest::sha256;
use crate::crypto::signing::KeyKind;
use crate::types::time::Timestamp;

/// From when to when a key is used, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// When it was made; it verifies from then on.
    pub created_at: Timestamp,
    /// When it begins to sign.
    pub signs_from: Timestamp,
    /// When it stops verifying; none while it has no successor.
    pub retires_at: Option<Timestamp>,
}

impl Validity {
    /// The validity of a key that is not in the directory: the configuration decides whether it is used.
    pub const ALWAYS: Self = Self::starting(Timestamp::from_millis(0), Timestamp::from_millis(0));

    pub(super) const fn starting(created_at: Timestamp, signs_from: Timestamp) -> Self {
        Self {
            created_at,
            signs_from,
            retires_at: None,
        }
    }

    /// Whether the key still verifies.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.retires_at.is_none_or(|end| now < end)
    }

    /// Whether the key may sign.
    pub fn may_sign(&self, now: Timestamp) -> bool {
        self.signs_from <= now && self.is_alive(now)
    }
}

/// The whole index.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Index {
    pub(super) signing: Vec<SigningEntry>,
    pub(super) refresh: Vec<RefreshEntry>,
    /// The checksum of the index without this member; none if an earlier version wrote the index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SigningEntry {
    pub(super) kid: String,
    pub(super) kind: KeyKind,
    #[serde(flatten)]
    pub(super) validity: Validity,
    /// The checksum of the key's file; none if an earlier version wrote the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) checksum: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RefreshEntry {
    pub(super) number: u8,
    #[serde(flatten)]
    pub(super) validity: Validity,
    /// The checksum of the key's file; none if an earlier version wrote the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) checksum: Option<String>,
}

impl SigningEntry {
    pub(super) fn file_name(&self) -> String {
        format!("{}.pem", self.kid)
    }

    /// A key id becomes a file name, so only the characters of generated ids are accepted.
    fn is_sound(&self) -> bool {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        self.kid.len() == 16 && self.kid.bytes().all(plain)
    }
}

impl RefreshEntry {
    pub(super) fn file_name(&self) -> String {
        format!("refresh-{}.key", self.number)
    }
}

/// The checksum of a file: the first half of its SHA-256.
pub(super) fn checksum(bytes: &[u8]) -> String {
    let hash = sha256(&[bytes]);
    HEXLOWER.encode(hash.get(..16).unwrap_or_default())
}

impl Index {
    /// Parses an index; `None` when it is malformed or its checksum is wrong.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut index: Self = serde_json::from_slice(bytes).ok()?;
        if !index.signing.iter().all(SigningEntry::is_sound) {
            return None;
        }
        if index.checksum.is_some() && index.to_bytes().ok()? != bytes {
            return None;
        }
        index.checksum = None;
        Some(index)
    }

    /// The index as bytes for the file, with its checksum.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut index = self.clone();
        index.checksum = None;
        index.checksum = Some(checksum(&serde_json::to_vec(&index)?));
        serde_json::to_vec_pretty(&index)
    }

    /// Whether every key's file has a checksum.
    pub(super) fn is_sealed(&self) -> bool {
        self.signing.iter().all(|entry| entry.checksum.is_some())
            && self.refresh.iter().all(|entry| entry.checksum.is_some())
    }

    /// Removes retired keys and returns the names of their files.
    pub(super) fn prune(&mut self, now: Timestamp) -> Vec<String> {
        let mut gone = Vec::new();
        self.signing.retain(|entry| {
            let stays = entry.validity.is_alive(now);
            gone.extend((!stays).then(|| entry.file_name()));
            stays
        });
        self.refresh.retain(|entry| {
            let stays = entry.validity.is_alive(now);
            gone.extend((!stays).then(|| entry.file_name()));
            stays
        });
        gone
    }

    pub(super) fn has_signer(&self, kind: KeyKind, now: Timestamp) -> bool {
        let mut of_kind = self.signing.iter().filter(|entry| entry.kind == kind);
        of_kind.any(|entry| entry.validity.may_sign(now))
    }

    /// Sets the end of every key of this kind that has none.
    pub(super) fn retire_signing(&mut self, kind: KeyKind, at: Timestamp) {
        for entry in self.signing.iter_mut().filter(|entry| entry.kind == kind) {
            entry.validity.retires_at.get_or_insert(at);
        }
    }

    /// Sets the end of every refresh key that has none.
    pub(super) fn retire_refresh(&mut self, at: Timestamp) {
        for entry in &mut self.refresh {
            entry.validity.retires_at.get_or_insert(at);
        }
    }

    /// The refresh key that signs: the one without a successor.
    pub(super) fn current_refresh(&self) -> Option<u8> {
        let open = |entry: &&RefreshEntry| entry.validity.retires_at.is_none();
        self.refresh.iter().rev().find(open).map(|e| e.number)
    }

    /// The first number after the latest one that no key has.
    pub(super) fn free_number(&self) -> Option<u8> {
        let latest = self.refresh.last().map_or(0, |entry| entry.number);
        let taken = |n: u8| self.refresh.iter().any(|entry| entry.number == n);
        (1..=u8::MAX)
            .map(|step| latest.wrapping_add(step))
            .find(|n| !taken(*n))
    }
}
