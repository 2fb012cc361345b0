//! How is it proved that a store holds exactly what was acknowledged? Commits are counted, and each
//! records a digest of the store after it.
//!
//! Every batch contains a record with the number of the commit and the [`Digest`] of all other records.
//! An engine on disk keeps the same two beside its log (the *witness*). At start the records are read
//! and compared with both. A truncated log ends before the witness. A missing, stale or altered record
//! changes the digest. Neither is taken for a normal end of the log.

use serde::{Deserialize, Serialize};

use crate::store::embedded::digest::Digest;
use crate::store::embedded::keys::META_COMMIT;
use crate::store::embedded::ledger::{Batch, Ledger};
use crate::store::{StoreError, codec};

/// The number of a commit, and the digest of the store after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Commit {
    /// The number of commits up to and including this one.
    pub(crate) number: u64,
    /// The digest of every record except the one that contains this.
    pub(crate) digest: Digest,
}

/// The records of a store that is being opened.
pub(crate) trait Records {
    /// The value of a key.
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The number of records and their digest, without the record of the last commit.
    fn sum(&self) -> Result<(u64, Digest), StoreError>;
}

/// The result of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// There are no records.
    Empty,
    /// The store was written by a version that did not count commits.
    Uncounted,
    /// The store holds exactly the records of this commit.
    Whole(Commit),
}

/// Compares the records with the last acknowledged commit, if it is known.
///
/// # Errors
///
/// [`StoreError::Damaged`], with the difference.
pub(crate) fn prove(records: &dyn Records, witness: Option<&Commit>) -> Result<Proof, StoreError> {
    let found: Option<Commit> = match records.value(META_COMMIT)? {
        Some(bytes) => Some(codec::decode(META_COMMIT, &bytes)?),
        None => None,
    };
    let (count, digest) = records.sum()?;
    let Some(found) = found else {
        return match witness {
            Some(expected) => Err(StoreError::Damaged(format!(
                "it ends before its first counted commit, and commit {} was acknowledged",
                expected.number
            ))),
            None if count == 0 => Ok(Proof::Empty),
            None => Ok(Proof::Uncounted),
        };
    };
    if let Some(expected) = witness {
        if found.number < expected.number {
            return Err(StoreError::Damaged(format!(
                "it ends at commit {}, and commit {} was acknowledged: {} commits are lost",
                found.number,
                expected.number,
                expected.number - found.number
            )));
        }
        if found.number == expected.number && found.digest != expected.digest {
            return Err(StoreError::Damaged(format!(
                "its commit {} is not the one that was acknowledged",
                found.number
            )));
        }
    }
    if digest != found.digest {
        return Err(StoreError::Damaged(format!(
            "its {count} records are not those of its last commit, {}: at least one is lost, stale \
             or altered",
            found.number
        )));
    }
    Ok(Proof::Whole(found))
}

/// Adds to a batch the record of its commit, with the number after the last one, or after `first` if
/// none was counted. Reads the values that the batch replaces, so nothing else may be written between
/// this and the commit.
pub(crate) fn seal(
    ledger: &mut dyn Ledger,
    batch: &mut Batch,
    first: Commit,
) -> Result<Commit, StoreError> {
    let mut commit = match ledger.get(META_COMMIT)? {
        Some(bytes) => codec::decode(META_COMMIT, &bytes)?,
        None => first,
    };
    for (key, write) in &batch.writes {
        if let Some(old) = ledger.get(key)? {
            commit.digest = commit.digest.minus(Digest::of(key, &old));
        }
        if let Some(new) = write {
            commit.digest = commit.digest.plus(Digest::of(key, new));
        }
    }
    commit.number += 1;
    let record = codec::encode(META_COMMIT, &commit)?;
    batch.writes.insert(META_COMMIT.to_vec(), Some(record));
    Ok(commit)
}
