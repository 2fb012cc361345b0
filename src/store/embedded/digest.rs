//! How does a commit update the digest of all records? By addition: the digest does not depend on their
//! order.
//!
//! It is the sum of one SHA-256 for each record, as four lanes of 64 bits. It detects damage, not an
//! attacker: a user who can write the store can also compute the sum.

use serde::{Deserialize, Serialize};

use crate::crypto::digest::sha256;

/// The digest of a set of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Digest([u64; 4]);

impl Digest {
    /// The digest of one record.
    pub(crate) fn of(key: &[u8], value: &[u8]) -> Self {
        let hash = sha256(&[key, value]);
        let mut lanes = [0; 4];
        for (lane, bytes) in lanes.iter_mut().zip(hash.chunks_exact(8)) {
            for byte in bytes {
                *lane = (*lane << 8) | u64::from(*byte);
            }
        }
        Self(lanes)
    }

    /// The digest of both sets together.
    pub(crate) fn plus(self, other: Self) -> Self {
        self.each(other, u64::wrapping_add)
    }

    /// The digest without some of the records.
    pub(crate) fn minus(self, other: Self) -> Self {
        self.each(other, u64::wrapping_sub)
    }

    /// The lanes, big-endian.
    pub(crate) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let lanes = self.0.iter().flat_map(|lane| lane.to_be_bytes());
        for (to, from) in bytes.iter_mut().zip(lanes) {
            *to = from;
        }
        bytes
    }

    /// The digest with these lanes.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut lanes = [0; 4];
        for (lane, bytes) in lanes.iter_mut().zip(bytes.chunks_exact(8)) {
            for byte in bytes {
                *lane = (*lane << 8) | u64::from(*byte);
            }
        }
        Self(lanes)
    }

    fn each(self, other: Self, apply: impl Fn(u64, u64) -> u64) -> Self {
        let mut lanes = self.0;
        for (lane, other) in lanes.iter_mut().zip(other.0) {
            *lane = apply(*lane, other);
        }
        Self(lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_ignores_the_order_and_covers_every_byte() {
        let (one, two) = (Digest::of(b"a", b"1"), Digest::of(b"b", b"2"));
        assert_eq!(one.plus(two), two.plus(one));
        assert_eq!(one.plus(two).minus(one), two);
        assert_ne!(Digest::of(b"a", b"1"), Digest::of(b"a1", b""));
        assert_ne!(Digest::of(b"a", b"1"), Digest::of(b"a", b"3"));
        assert_eq!(one.minus(one), Digest::default());
    }

    #[test]
    fn the_digest_survives_a_round_trip() {
        let digest = Digest::of(b"key", b"value");
        assert_eq!(Digest::from_bytes(digest.to_bytes()), digest);
    }
}
