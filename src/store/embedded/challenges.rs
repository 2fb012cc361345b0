//! Challenges on the ledger.

use crate::crypto::digest;
use crate::store::embedded::Embedded;
use crate::store::embedded::keys;
use crate::store::embedded::records::StoredChallenge;
use crate::store::embedded::transaction::Transaction;
use crate::store::{Attempt, Challenge, ChallengeId, ChallengeStore, ProofHash, StoreError};

/// The most bytes a challenge may carry for its asker.
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
                // The same call again: it must not give back attempts that were used.
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
        // It stays when the last attempt is gone, so that the same call of `put_challenge` again
        // cannot bring it back; the sweep removes it at its time.
        stored.attempts -= 1;
        self.put(record, &stored)?;
        Ok(Attempt::Wrong {
            left: stored.attempts,
        })
    }
}
