//! How are one-time codes and links compared so that each succeeds at most once?

use std::future::Future;

use crate::store::StoreError;
use crate::types::time::Timestamp;

/// Short-lived challenges with a secret answer: one-time codes, unlock links.
pub trait ChallengeStore: Send + Sync + 'static {
    /// Stores a challenge.
    fn put_challenge(
        &self,
        challenge: Challenge,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Uses up one attempt and compares, in one step. Success removes the challenge: exactly one
    /// caller ever gets [`Attempt::Passed`].
    fn attempt(
        &self,
        id: ChallengeId,
        proof: ProofHash,
    ) -> impl Future<Output = Result<Attempt, StoreError>> + Send;
}

/// The id of a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChallengeId(pub [u8; 16]);

/// SHA-256 over the purpose of the challenge and the expected answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofHash(pub [u8; 32]);

/// A challenge that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Its id.
    pub id: ChallengeId,
    /// The hash of the right answer.
    pub proof: ProofHash,
    /// The number of attempts left.
    pub attempts: u32,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Data that is returned on success, at most 2 KiB.
    pub payload: Vec<u8>,
}

/// The outcome of [`ChallengeStore::attempt`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The answer is right. Contains the payload; the challenge is removed.
    Passed(Vec<u8>),
    /// The answer is wrong.
    Wrong {
        /// The number of attempts left.
        left: u32,
    },
    /// There is no such challenge, or no longer.
    Gone,
}
