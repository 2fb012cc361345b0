//! How is a signing key given to the library that makes assertions?

use data_encoding::BASE64;
use jsonwebtoken::EncodingKey;
use zeroize::Zeroizing;

use crate::crypto::signing::{BadKey, SigningKey};
use crate::tokens::settings::Algorithm;

/// The registered name of an algorithm, as the library spells it.
pub(super) const fn registered(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
    }
}

/// A key pair in the library's form, which erases its bytes when it is dropped.
pub(super) fn encoding_key(algorithm: Algorithm, key: &SigningKey) -> Result<EncodingKey, BadKey> {
    let pkcs8 = key.pkcs8()?;
    match algorithm {
        Algorithm::HS256 => Err(BadKey),
        Algorithm::EdDSA => Ok(EncodingKey::from_ed_der(&pkcs8)),
        Algorithm::ES256 => Ok(EncodingKey::from_ec_der(&pkcs8)),
        // Its DER form is PKCS#1, and only the PEM form may be PKCS#8.
        Algorithm::RS256 => {
            let body = Zeroizing::new(BASE64.encode(&pkcs8));
            let pem = Zeroizing::new(format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
                body.as_str()
            ));
            EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| BadKey)
        }
    }
}
