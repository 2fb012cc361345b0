//! Bytes sealed with a passphrase: Argon2id (RFC 9106) derives a key from it, and AES-256-GCM encrypts.
//!
//! ```text
//! "SGS1" | memory KiB (4) | passes (4) | lanes (4) | salt (16) | nonce (12) | ciphertext and tag
//! ```
//!
//! All numbers are big-endian. Everything before the ciphertext is authenticated with it. The memory and the
//! passes in the header of sealed bytes are checked against a limit before they are used.

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::types::random::Random;
use crate::types::secret::SecretText;

/// The shortest passphrase, in characters.
pub const MIN_PASSPHRASE: usize = 12;

/// The cost of sealing: Argon2id with 64 MiB and three passes, the second choice of RFC 9106 4.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// The most that opening may cost.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;

const MAGIC: &[u8; 4] = b"SGS1";
const SALT: usize = 16;
const NONCE: usize = 12;
const HEAD: usize = 4 + 3 * 4 + SALT + NONCE;

/// Seals bytes with a passphrase.
///
/// # Errors
/// When the passphrase is too short, or the memory for its hash cannot be allocated.
pub fn seal(
    plain: &[u8],
    passphrase: &SecretText,
    random: &dyn Random,
) -> Result<Vec<u8>, SealError> {
    if passphrase.expose().chars().count() < MIN_PASSPHRASE {
        return Err(SealError::TooShort);
    }
    let (salt, nonce) = (random.bytes::<SALT>(), random.bytes::<NONCE>());
    let mut sealed = Vec::with_capacity(HEAD + plain.len() + 16);
    sealed.extend_from_slice(MAGIC);
    for number in [MEMORY_KIB, PASSES, LANES] {
        sealed.extend_from_slice(&number.to_be_bytes());
    }
    sealed.extend_from_slice(&salt);
    sealed.extend_from_slice(&nonce);
    let key = key(passphrase, &salt, MEMORY_KIB, PASSES, LANES)?;
    let mut bytes = plain.to_vec();
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(sealed.as_slice()),
        &mut bytes,
    )
    .map_err(|_| SealError::Unavailable)?;
    sealed.append(&mut bytes);
    Ok(sealed)
}

/// Opens sealed bytes.
///
/// # Errors
/// [`SealError::Wrong`] when the passphrase is another one, or the bytes were changed: the two cases cannot be
/// distinguished. [`SealError::Malformed`] when the input does not have the form of sealed bytes.
pub fn open(sealed: &[u8], passphrase: &SecretText) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (head, body) = sealed.split_at_checked(HEAD).ok_or(SealError::Malformed)?;
    let rest = head.strip_prefix(MAGIC).ok_or(SealError::Malformed)?;
    let (memory, rest) = number(rest)?;
    let (passes, rest) = number(rest)?;
    let (lanes, rest) = number(rest)?;
    if memory > MAX_MEMORY_KIB || passes > MAX_PASSES || lanes > MAX_LANES {
        return Err(SealError::Malformed);
    }
    let (salt, nonce) = rest.split_at_checked(SALT).ok_or(SealError::Malformed)?;
    let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| SealError::Malformed)?;
    let key = key(passphrase, salt, memory, passes, lanes)?;
    let mut bytes = Zeroizing::new(body.to_vec());
    let length = key
        .open_in_place(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(head),
            &mut bytes,
        )
        .map_err(|_| SealError::Wrong)?
        .len();
    bytes.truncate(length);
    Ok(bytes)
}

fn key(
    passphrase: &SecretText,
    salt: &[u8],
    memory: u32,
    passes: u32,
    lanes: u32,
) -> Result<LessSafeKey, SealError> {
    let params = Params::new(memory, passes, lanes, Some(32)).map_err(|_| SealError::Malformed)?;
    let mut bytes = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.expose().as_bytes(), salt, bytes.as_mut_slice())
        .map_err(|_| SealError::Unavailable)?;
    let key =
        UnboundKey::new(&AES_256_GCM, bytes.as_slice()).map_err(|_| SealError::Unavailable)?;
    Ok(LessSafeKey::new(key))
}

fn number(bytes: &[u8]) -> Result<(u32, &[u8]), SealError> {
    let (number, rest) = bytes.split_first_chunk().ok_or(SealError::Malformed)?;
    Ok((u32::from_be_bytes(*number), rest))
}

/// Why bytes were not sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Too short to protect anything.
    #[error("the passphrase has fewer than {MIN_PASSPHRASE} characters")]
    TooShort,
    /// Another passphrase, or other bytes than those that were sealed.
    #[error("the passphrase is wrong")]
    Wrong,
    /// The input does not have the form that `seal` writes.
    #[error("the sealed part is malformed")]
    Malformed,
    /// There is not enough memory.
    #[error("there is not enough memory to use the passphrase")]
    Unavailable,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::random::SeededRandom;

    fn passphrase() -> SecretText {
        SecretText::new("correct horse battery")
    }

    #[test]
    fn sealed_bytes_open_with_the_same_passphrase_only() {
        let sealed = seal(b"the keys", &passphrase(), &SeededRandom::new(1)).unwrap();
        assert!(!sealed.windows(8).any(|bytes| bytes == b"the keys"));
        assert_eq!(
            open(&sealed, &passphrase()).unwrap().as_slice(),
            b"the keys"
        );
        let other = SecretText::new("correct horse batterz");
        assert_eq!(open(&sealed, &other), Err(SealError::Wrong));
    }

    #[test]
    fn a_changed_byte_anywhere_does_not_open() {
        let sealed = seal(b"keys", &passphrase(), &SeededRandom::new(1)).unwrap();
        // One byte of each field. A changed cost is refused by the tag or by the limit.
        for at in [0, 4, 11, 15, 16, 40, HEAD, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&changed, &passphrase()).is_err(), "byte {at}");
        }
        for length in [0, 3, HEAD - 1, HEAD, sealed.len() - 1] {
            assert!(open(&sealed[..length], &passphrase()).is_err());
        }
    }

    #[test]
    fn a_short_passphrase_and_an_excessive_cost_are_refused() {
        let short = SecretText::new("elevenchars");
        let refused = seal(b"keys", &short, &SeededRandom::new(1));
        assert_eq!(refused, Err(SealError::TooShort));
        let mut dear = seal(b"keys", &passphrase(), &SeededRandom::new(1)).unwrap();
        dear[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(open(&dear, &passphrase()), Err(SealError::Malformed));
    }
}
