//! How is a digest computed, and how are two compared?
//!
//! SHA-256 by the crate `sha2`: of stored secrets, of content, and of tokens that are seen for the first time. Known
//! tokens need no digest. [`sha256`] writes the length before each part, so different lists of parts are different
//! inputs.

use sha2::Digest as _;
use subtle::ConstantTimeEq;

/// The SHA-256 of the parts, each preceded by its length as eight big-endian bytes.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finish()
}

/// A plain SHA-256 whose input arrives in pieces.
#[derive(Clone)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// The hash of no bytes.
    pub fn new() -> Self {
        Self(sha2::Sha256::new())
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes that were added.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256(..)")
    }
}

/// Whether both are equal. The time depends only on the lengths.
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha_256_over_length_and_part() {
        // printf '\0\0\0\0\0\0\0\003abc' | sha256sum
        let hex = data_encoding::HEXLOWER.encode(&sha256(&[b"abc"]));
        assert_eq!(
            hex,
            "c3494ca1a2cf8eeb8a11ded316fb55b83c3bbbedb6313cd50415251e5d09e12f"
        );
    }

    #[test]
    fn a_hash_fed_piece_by_piece_is_plain_sha_256() {
        let mut hash = Sha256::new();
        hash.update(b"a");
        hash.update(b"bc");
        // printf abc | sha256sum
        assert_eq!(
            data_encoding::HEXLOWER.encode(&hash.finish()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_byte_moved_between_parts_changes_the_hash() {
        assert_ne!(sha256(&[b"ab", b"c"]), sha256(&[b"a", b"bc"]));
        assert_ne!(sha256(&[b"abc"]), sha256(&[b"abc", b""]));
    }

    #[test]
    fn equal_inputs_are_equal() {
        assert!(equal(b"abc", b"abc"));
        assert!(!equal(b"abc", b"abd"));
        assert!(!equal(b"abc", b"ab"));
    }
}
