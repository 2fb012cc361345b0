//! Which records does an embedded store keep that the model does not have?

use serde::{Deserialize, Serialize};

use crate::model::audit::AuditRecord;
use crate::model::lockout::Lockout;
use crate::model::revocation::Revocation;
use crate::model::session::{EndReason, Session};
use crate::model::user::{HashCosts, User, UserKey};
use crate::store::codec;
use crate::store::embedded::account_record;
use crate::store::{Challenge, ChallengeId, ProofHash};
use crate::types::ids::SessionId;
use crate::types::time::Timestamp;

/// A session, and the moment of its expiry entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredSession {
    /// The session.
    pub(crate) session: Session,
    /// The moment of its expiry entry.
    pub(crate) check_at: Timestamp,
}

/// A revocation and its cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredRevocation {
    /// The revocation.
    pub(crate) revocation: Revocation,
    /// Why the session ended. None when only its claims became stale.
    pub(crate) why: Option<EndReason>,
    /// The session that evicted this one.
    pub(crate) evicted_by: Option<SessionId>,
}

/// The last end of all sessions, and the progress of removing their records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredEndAll {
    /// Sessions made up to this moment have ended.
    pub(crate) through: Timestamp,
    /// The time of the call. Sessions that had expired by then are not counted.
    pub(crate) at: Timestamp,
    /// The reason.
    pub(crate) why: EndReason,
    /// The number of sessions at the start.
    pub(crate) found: u64,
    /// The number of records examined so far.
    pub(crate) seen: u64,
    /// The number of live sessions among them.
    pub(crate) ended: u64,
    /// The last record that was examined.
    pub(crate) after: Option<Vec<u8>>,
    /// Whether no record is left.
    pub(crate) is_complete: bool,
}

/// A failure counter, the time at which it is removed, and the moment of its expiry entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredLockout {
    /// The counter.
    pub(crate) lockout: Lockout,
    /// The time from which it has no meaning.
    pub(crate) forget_at: Timestamp,
    /// The moment of its expiry entry.
    pub(crate) check_at: Timestamp,
}

/// A device from which an account was logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredDevice {
    /// Failed attempts from it since the last success.
    pub(crate) failures: Lockout,
    /// The number of log-ins from it.
    pub(crate) logins: u32,
    /// The end of the time for which it is known.
    pub(crate) known_until: Timestamp,
    /// The moment of its expiry entry.
    pub(crate) check_at: Timestamp,
}

/// A challenge, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredChallenge {
    /// The hash of the right answer.
    pub(crate) proof: [u8; 32],
    /// The number of attempts left.
    pub(crate) attempts: u32,
    /// When it expires.
    pub(crate) expires_at: Timestamp,
    /// The payload for the caller.
    pub(crate) payload: Vec<u8>,
}

impl StoredChallenge {
    /// Separates the id, which is the key.
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

/// A mail that waits for its delivery. Its key has the id and the moment when it is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredMail {
    /// The account that it is about.
    pub(crate) owner: UserKey,
    /// When it was queued.
    pub(crate) queued_at: Timestamp,
    /// The number of failed attempts.
    pub(crate) attempts: u32,
    /// The content, encrypted.
    pub(crate) sealed: Vec<u8>,
}

/// The totals over all tables, updated by every batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Sessions.
    pub(crate) sessions: u64,
    /// Accounts.
    pub(crate) users: u64,
    /// The number of audit records ever written, which is the number of the next one.
    pub(crate) audit_lines: u64,
}

/// Decodes bytes as every kind of record, with and without the checksum. For the fuzz target.
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
    read::<StoredMail>(data);
    read::<HashCosts>(data);
    read::<account_record::First>(data);
    read::<account_record::Second>(data);
    let _account = codec::decode_versioned::<User>(b"key", data);
    read::<AuditRecord>(data);
}
