//! How does an embedded store keep challenges? One record each, with the number of attempts left.

use crate::crypto::digest;
use crate::store::embedded::Embedded;
use crate::store::embedded::keys;
use crate::store::embedded::records::StoredChallenge;
use crate::store::embedded::transaction::Transaction;
use crate::store::{Attempt, Challenge, ChallengeId, ChallengeStore, ProofHash, StoreError};

/// The largest payload of a challenge, in bytes.
const MAX_PAYLOAD: usize = 2_048;

impl ChallengeStore for Embedded {
    async fn put_challenge(&self, challenge: Challenge) -> Result<(), StoreError> {
        if challenge.payload.len() > MAX_PAYLOAD {
            return Err(StoreError::TooLarge(challenge.payload.len()));
        }
        self.run(move |view| view.put_challenge(challenge)).await
    }

    async fn attempt(&self, id: ChallengeId, proof: ProofHash) -> Result<Attempt, StoreError> {
        self.run(move |view| view.attempt(id, &proof)).await
    }
}

impl Transaction<'_> {
    fn put_challenge(&mut self, challenge: Challenge) -> Result<(), StoreError> {
        let (id, stored) = StoredChallenge::from_challenge(challenge);
        let record = keys::challenge(id);
        let before: Option<StoredChallenge> = self.get(&record)?;
        if let Some(before) = before {
            if before.proof == stored.proof {
                // A repeated call must not restore attempts that were used.
                return Ok(());
            }
            self.unexpire(before.expires_at, &record);
        }
        self.expire_at(stored.expires_at, &record)?;
        self.put(record, &stored)
    }

    fn attempt(&mut self, id: ChallengeId, proof: &ProofHash) -> Result<Attempt, StoreError> {
        let record = keys::challenge(id);
        let Some(mut stored): Option<StoredChallenge> = self.get(&record)? else {
            return Ok(Attempt::Gone);
        };
        if self.now >= stored.expires_at || stored.attempts == 0 {
            return Ok(Attempt::Gone);
        }
        if digest::equal(&stored.proof, &proof.0) {
            self.unexpire(stored.expires_at, &record);
            self.delete(record);
            return Ok(Attempt::Passed(stored.payload));
        }
        // The record stays after the last attempt, so that a repeated call of `put_challenge` cannot
        // restore it. The sweep removes it when it has expired.
        stored.attempts -= 1;
        self.put(record, &stored)?;
        Ok(Attempt::Wrong {
            left: stored.attempts,
        })
    }
}
