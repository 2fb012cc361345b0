//! What is stored in the tables of the embedded engines, where it is more than the model's record.

use serde::{Deserialize, Serialize};

use crate::model::audit::AuditRecord;
use crate::model::lockout::Lockout;
use crate::model::revocation::Revocation;
use crate::model::session::{EndReason, Session};
use crate::model::user::{HashCosts, User};
use crate::store::codec;
use crate::store::embedded::account_record;
use crate::store::{Challenge, ChallengeId, ProofHash};
use crate::types::ids::SessionId;
use crate::types::time::Timestamp;

/// A session and where its expiry entry stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredSession {
    /// The session.
    pub(crate) session: Session,
    /// The moment of its expiry entry.
    pub(crate) check_at: Timestamp,
}

/// A revocation and how it came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredRevocation {
    /// The revocation.
    pub(crate) revocation: Revocation,
    /// Why the session ended; nothing when its claims only became stale.
    pub(crate) why: Option<EndReason>,
    /// The session that pushed this one out.
    pub(crate) evicted_by: Option<SessionId>,
}

/// The last end of all sessions, and how far the removal of their records has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredEndAll {
    /// Sessions made up to this moment are over.
    pub(crate) through: Timestamp,
    /// When it was asked for; sessions that had expired by then are not counted.
    pub(crate) at: Timestamp,
    /// Why.
    pub(crate) why: EndReason,
    /// How many sessions there were.
    pub(crate) found: u64,
    /// How many records have been looked at.
    pub(crate) seen: u64,
    /// How many live sessions were among them.
    pub(crate) ended: u64,
    /// The last record that was looked at.
    pub(crate) after: Option<Vec<u8>>,
    /// Whether none is left.
    pub(crate) is_complete: bool,
}

/// A failure counter, when it is forgotten, and where its expiry entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredLockout {
    /// The counter.
    pub(crate) lockout: Lockout,
    /// From when on it means nothing.
    pub(crate) forget_at: Timestamp,
    /// The moment of its expiry entry.
    pub(crate) check_at: Timestamp,
}

/// A device that an account was logged in from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredDevice {
    /// Failed attempts from it since its last success.
    pub(crate) failures: Lockout,
    /// How often it was logged in from.
    pub(crate) logins: u32,
    /// Until when it is known.
    pub(crate) known_until: Timestamp,
    /// The moment of its expiry entry.
    pub(crate) check_at: Timestamp,
}

/// A challenge, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredChallenge {
    /// The hash the answer must have.
    pub(crate) proof: [u8; 32],
    /// Attempts left.
    pub(crate) attempts: u32,
    /// When it is void.
    pub(crate) expires_at: Timestamp,
    /// What the asker wants back.
    pub(crate) payload: Vec<u8>,
}

impl StoredChallenge {
    /// Splits off the id, which is the key.
    pub(crate) fn from_challenge(challenge: Challenge) -> (ChallengeId, Self) {
        let ProofHash(proof) = challenge.proof;
        let stored = Self {
            proof,
            attempts: challenge.attempts,
            expires_at: challenge.expires_at,
            payload: challenge.payload,
        };
        (challenge.id, stored)
    }
}

/// What the store counts over all tables, kept in step with them by every batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Sessions.
    pub(crate) sessions: u64,
    /// Accounts.
    pub(crate) users: u64,
    /// Audit lines ever written; the next one's number.
    pub(crate) audit_lines: u64,
}

/// Reads bytes as every kind of record, with the checksum and past it; for the fuzz target.
pub(crate) fn read_as_any(data: &[u8]) {
    fn read<T: serde::de::DeserializeOwned>(data: &[u8]) {
        let _checked = codec::decode::<T>(b"key", data);
        let _plain = postcard::from_bytes::<T>(data);
    }
    read::<StoredSession>(data);
    read::<StoredRevocation>(data);
    read::<StoredEndAll>(data);
    read::<StoredLockout>(data);
    read::<StoredChallenge>(data);
    read::<StoredDevice>(data);
    read::<HashCosts>(data);
    read::<account_record::First>(data);
    read::<account_record::Second>(data);
    let _account = codec::decode_versioned::<User>(b"key", data);
    read::<AuditRecord>(data);
}
