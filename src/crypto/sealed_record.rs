//! A small record, sealed with a key of the key directory: AES-256-GCM under a key that is derived from a refresh
//! key for this purpose only (HMAC-SHA-256 as the KDF of NIST SP 800-108, one block).
//!
//! ```text
//! kid (1) | nonce (12) | ciphertext and tag
//! ```
//!
//! A record stays readable as long as the key that sealed it is in the directory. The context is authenticated, so a
//! sealed record cannot be moved to another place.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::crypto::refresh::RefreshKeys;
use crate::types::random::Random;

const NONCE: usize = 12;

/// What records are sealed for. Each purpose has keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The queue of mails.
    Mail,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Mail => b"sg-seal1 mail",
        }
    }
}

impl RefreshKeys {
    /// Seals a record with the current key. `None` if the cipher fails, which no input causes.
    pub fn seal(
        &self,
        purpose: Purpose,
        context: &[u8],
        plain: &[u8],
        random: &dyn Random,
    ) -> Option<Vec<u8>> {
        let kid = self.current();
        let nonce = random.bytes::<NONCE>();
        let mut bytes = plain.to_vec();
        self.sealing_key(kid, purpose)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context),
                &mut bytes,
            )
            .ok()?;
        Some([&[kid], nonce.as_slice(), &bytes].concat())
    }

    /// Opens a sealed record. `None` when it was changed or moved, or its key is gone.
    pub fn open(
        &self,
        purpose: Purpose,
        context: &[u8],
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let (kid, rest) = sealed.split_first()?;
        let (nonce, body) = rest.split_first_chunk::<NONCE>()?;
        let mut bytes = Zeroizing::new(body.to_vec());
        let length = self
            .sealing_key(*kid, purpose)?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(context),
                &mut bytes,
            )
            .ok()?
            .len();
        bytes.truncate(length);
        Some(bytes)
    }

    fn sealing_key(&self, kid: u8, purpose: Purpose) -> Option<LessSafeKey> {
        let key = hmac::sign(self.key(kid)?, purpose.label());
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).ok()?;
        Some(LessSafeKey::new(key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::random::SeededRandom;
    use crate::types::secret::SecretBytes;

    fn keys(numbers: &[u8], current: u8) -> RefreshKeys {
        let key = |n: &u8| (*n, SecretBytes::new(vec![*n; 32]));
        RefreshKeys::new(numbers.iter().map(key), current).unwrap()
    }

    fn sealed() -> Vec<u8> {
        let keys = keys(&[1], 1);
        let sealed = keys.seal(
            Purpose::Mail,
            b"place",
            b"ann@example.org",
            &SeededRandom::new(1),
        );
        sealed.unwrap()
    }

    fn open(keys: &RefreshKeys, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        keys.open(Purpose::Mail, context, sealed)
            .map(|bytes| bytes.to_vec())
    }

    #[test]
    fn a_record_opens_in_its_place_only_and_as_long_as_its_key_is_there() {
        let sealed = sealed();
        assert!(!sealed.windows(3).any(|bytes| bytes == b"ann"));
        let plain = Some(b"ann@example.org".to_vec());
        assert_eq!(open(&keys(&[1], 1), b"place", &sealed), plain);
        // Another key became the current one.
        assert_eq!(open(&keys(&[1, 2], 2), b"place", &sealed), plain);
        assert_eq!(open(&keys(&[2], 2), b"place", &sealed), None);
        assert_eq!(open(&keys(&[1], 1), b"other place", &sealed), None);
    }

    proptest! {
        #[test]
        fn any_other_bytes_do_not_open(
            at in 0_usize..44, flip in 1_u8..=255, cut in 0_usize..44,
            any in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let (keys, sealed) = (keys(&[1], 1), sealed());
            let mut changed = sealed.clone();
            changed[at] ^= flip;
            prop_assert_eq!(open(&keys, b"place", &changed), None);
            prop_assert_eq!(open(&keys, b"place", &sealed[..cut]), None);
            prop_assert_eq!(open(&keys, b"place", &any), None);
        }
    }
}
