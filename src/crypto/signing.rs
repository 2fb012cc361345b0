//! Keys that sign and verify access tokens. They are prepared once, so that a check costs only the signature
//! arithmetic. A key has one algorithm; nothing in a token can select another.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::digest::Sha256;
use crate::types::random::Random;

/// The kind of a key pair. Each kind has exactly one signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA over P-256 with SHA-256, fixed-length signatures.
    P256,
    /// RSA PKCS#1 v1.5 with SHA-256, 2048 to 8192 bits.
    Rsa,
}

/// A key that signs.
pub struct SigningKey(Signer);

enum Signer {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
    Hmac(Box<hmac::Key>),
}

impl SigningKey {
    /// Makes a key pair. Returns its PKCS#8 form for the key directory. P-256 and RSA keys come from the crypto
    /// library's own generator.
    pub fn generate(
        kind: KeyKind,
        random: &dyn Random,
    ) -> Result<(Self, Zeroizing<Vec<u8>>), BadKey> {
        let signer = match kind {
            KeyKind::Ed25519 => {
                let seed = Zeroizing::new(random.bytes::<32>());
                let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice());
                Signer::Ed25519(pair.map_err(|_| BadKey)?)
            }
            KeyKind::P256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
                Signer::P256(pair.map_err(|_| BadKey)?)
            }
            KeyKind::Rsa => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| BadKey)?;
                Signer::Rsa(Box::new(pair))
            }
        };
        let key = Self(signer);
        let pkcs8 = key.pkcs8()?;
        Ok((key, pkcs8))
    }

    /// The key pair as PKCS#8, for the key directory and for a library with its own form of keys. A shared secret
    /// has no such form.
    pub fn pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, BadKey> {
        let bytes = match &self.0 {
            Signer::Ed25519(pair) => pair.to_pkcs8v1().map_err(|_| BadKey)?.as_ref().to_vec(),
            Signer::P256(pair) => pair.to_pkcs8v1().map_err(|_| BadKey)?.as_ref().to_vec(),
            Signer::Rsa(pair) => pair.as_der().map_err(|_| BadKey)?.as_ref().to_vec(),
            Signer::Hmac(_) => return Err(BadKey),
        };
        Ok(Zeroizing::new(bytes))
    }

    /// Reads a key pair of this kind from PKCS#8 (RFC 5958). RSA below 2048 bits is refused.
    pub fn from_pkcs8(kind: KeyKind, der: &[u8]) -> Result<Self, BadKey> {
        let signer = match kind {
            KeyKind::Ed25519 => {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Signer::Ed25519)
            }
            KeyKind::P256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Signer::P256)
            }
            KeyKind::Rsa => RsaKeyPair::from_pkcs8(der).map(|pair| Signer::Rsa(Box::new(pair))),
        };
        let key = Self(signer.map_err(|_| BadKey)?);
        match key.public() {
            Some(PublicKey::Rsa { n, .. }) if n.len() < 256 => Err(BadKey),
            _ => Ok(key),
        }
    }

    /// A key that signs and verifies by HMAC-SHA-256. `strength::check_secret` checks the secret.
    pub fn from_secret(secret: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self(Signer::Hmac(Box::new(key)))
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BadKey> {
        // ECDSA takes its nonce, and RSA its blinding, from the library's generator.
        let random = SystemRandom::new();
        match &self.0 {
            Signer::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Signer::P256(pair) => {
                let signature = pair.sign(&random, message).map_err(|_| BadKey)?;
                Ok(signature.as_ref().to_vec())
            }
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| BadKey)?;
                Ok(signature)
            }
            Signer::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
        }
    }

    /// The public half; none for a shared secret.
    pub fn public(&self) -> Option<PublicKey> {
        match &self.0 {
            Signer::Ed25519(pair) => {
                let x = pair.public_key().as_ref().try_into().ok()?;
                Some(PublicKey::Ed25519(x))
            }
            Signer::P256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point.strip_prefix(&[4])?.split_first_chunk::<32>()?;
                Some(PublicKey::P256 {
                    x: *x,
                    y: y.try_into().ok()?,
                })
            }
            Signer::Rsa(pair) => Some(PublicKey::Rsa {
                n: pair
                    .public_key()
                    .modulus()
                    .big_endian_without_leading_zero()
                    .to_vec(),
                e: pair
                    .public_key()
                    .exponent()
                    .big_endian_without_leading_zero()
                    .to_vec(),
            }),
            Signer::Hmac(_) => None,
        }
    }

    /// The key that verifies signatures of this one.
    pub fn verifying(&self) -> Result<VerifyingKey, BadKey> {
        match (&self.0, self.public()) {
            (Signer::Hmac(key), _) => Ok(VerifyingKey(Checker::Hmac(key.clone()))),
            (_, Some(public)) => VerifyingKey::from_public(&public),
            (_, None) => Err(BadKey),
        }
    }

    /// A short name of the key, derived from the key: sixteen letters.
    pub fn id(&self) -> String {
        let whole = match (&self.0, self.public()) {
            (_, Some(public)) => public.thumbprint(),
            // Computed with the key itself, so it reveals no more than a signature.
            (Signer::Hmac(key), None) => {
                BASE64URL_NOPAD.encode(hmac::sign(key, b"sidegate key id").as_ref())
            }
            (_, None) => String::new(),
        };
        whole.chars().take(16).collect()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.id())
    }
}

/// The public half of a key pair, as a JWK states it (RFC 7517, RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// The encoded point.
    Ed25519([u8; 32]),
    /// The coordinates.
    P256 {
        /// The first one.
        x: [u8; 32],
        /// The second one.
        y: [u8; 32],
    },
    /// Big-endian numbers without leading zeros.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
}

impl PublicKey {
    /// The JWK thumbprint (RFC 7638) by SHA-256, base64url.
    pub fn thumbprint(&self) -> String {
        let b64 = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let canonical = match self {
            Self::Ed25519(x) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, b64(x)),
            Self::P256 { x, y } => format!(
                r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#,
                b64(x),
                b64(y)
            ),
            Self::Rsa { n, e } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, b64(e), b64(n))
            }
        };
        let mut hash = Sha256::new();
        hash.update(canonical.as_bytes());
        b64(&hash.finish())
    }
}

/// A key that verifies.
#[derive(Debug, Clone)]
pub struct VerifyingKey(Checker);

#[derive(Debug, Clone)]
enum Checker {
    Public(Box<ParsedPublicKey>),
    Hmac(Box<hmac::Key>),
}

impl VerifyingKey {
    /// Prepares a public key. Refuses a point that is not on its curve, RSA below 2048 bits, and an RSA
    /// exponent that is even or too small.
    pub fn from_public(public: &PublicKey) -> Result<Self, BadKey> {
        let parsed = match public {
            PublicKey::Ed25519(x) => ParsedPublicKey::new(&ED25519, x),
            PublicKey::P256 { x, y } => {
                let point = [[4].as_slice(), x, y].concat();
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            }
            PublicKey::Rsa { n, e } => {
                let is_small = matches!(e.as_slice(), [] | [0..3]);
                if n.len() < 256 || is_small || e.last().is_some_and(|b| b % 2 == 0) {
                    return Err(BadKey);
                }
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            }
        };
        Ok(Self(Checker::Public(Box::new(parsed.map_err(|_| BadKey)?))))
    }

    /// Whether the signature of the message was made with this key.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Checker::Public(key) => key.verify_sig(message, signature).is_ok(),
            Checker::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}

/// A key that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key is damaged, too short or of another kind")]
pub struct BadKey;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::random::SeededRandom;

    #[test]
    fn every_kind_signs_verifies_and_survives_its_stored_form() {
        for kind in [KeyKind::Ed25519, KeyKind::P256, KeyKind::Rsa] {
            let (key, pkcs8) = SigningKey::generate(kind, &SeededRandom::new(1)).unwrap();
            let again = SigningKey::from_pkcs8(kind, &pkcs8).unwrap();
            assert_eq!(key.id(), again.id(), "{kind:?}");
            assert_eq!(again.pkcs8().unwrap(), pkcs8, "{kind:?}");
            assert_eq!(key.id().len(), 16);
            let signature = again.sign(b"message").unwrap();
            let verifying = key.verifying().unwrap();
            assert!(verifying.verify(b"message", &signature), "{kind:?}");
            assert!(!verifying.verify(b"massage", &signature), "{kind:?}");
            for at in 0..signature.len() {
                let mut broken = signature.clone();
                broken[at] ^= 1;
                assert!(!verifying.verify(b"message", &broken), "{kind:?} {at}");
            }
            assert!(!verifying.verify(b"message", &vec![0; signature.len()]));
            assert!(!verifying.verify(b"message", &[]));
        }
    }

    #[test]
    fn a_key_is_refused_as_another_kind() {
        let (_, ed) = SigningKey::generate(KeyKind::Ed25519, &SeededRandom::new(1)).unwrap();
        for kind in [KeyKind::P256, KeyKind::Rsa] {
            assert_eq!(SigningKey::from_pkcs8(kind, &ed).unwrap_err(), BadKey);
        }
        assert!(SigningKey::from_pkcs8(KeyKind::Ed25519, b"junk").is_err());
    }

    #[test]
    fn unsound_public_keys_are_refused() {
        for public in [
            PublicKey::P256 {
                x: [1; 32],
                y: [1; 32],
            },
            PublicKey::P256 {
                x: [0; 32],
                y: [0; 32],
            },
            PublicKey::Rsa {
                n: vec![0xFF; 128],
                e: vec![1, 0, 1],
            },
            PublicKey::Rsa {
                n: vec![0xFF; 256],
                e: vec![1],
            },
            PublicKey::Rsa {
                n: vec![0xFF; 256],
                e: vec![4],
            },
            PublicKey::Rsa {
                n: vec![0xFF; 256],
                e: vec![],
            },
        ] {
            assert!(VerifyingKey::from_public(&public).is_err(), "{public:?}");
        }
    }

    #[test]
    fn the_thumbprint_matches_rfc_7638() {
        // RFC 8037, A.3.
        let x = BASE64URL_NOPAD.decode(b"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        let public = PublicKey::Ed25519(x.unwrap().try_into().unwrap());
        assert_eq!(
            public.thumbprint(),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn a_shared_secret_has_no_public_key_and_a_silent_debug_output() {
        let key = SigningKey::from_secret(b"0123456789abcdef0123456789abcdef");
        assert_eq!(key.public(), None);
        assert_eq!(key.pkcs8().unwrap_err(), BadKey);
        assert!(!format!("{key:?}").contains("0123"));
        let tag = key.sign(b"message").unwrap();
        assert!(key.verifying().unwrap().verify(b"message", &tag));
        assert!(!key.verifying().unwrap().verify(b"message", &tag[..16]));
    }
}
