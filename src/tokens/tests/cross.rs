//! Does an independent library accept and refuse the same tokens?

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde_json::Value;

use super::{ALGORITHMS, Issuance, NOW, SECRET};
use crate::tokens::jwks::jwks;
use crate::tokens::settings::Algorithm;

fn theirs(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
    }
}

fn decoding_key(issuance: &Issuance, algorithm: Algorithm, kid: &str) -> DecodingKey {
    if algorithm == Algorithm::HS256 {
        return DecodingKey::from_secret(SECRET);
    }
    let set: JwkSet = serde_json::from_slice(&jwks(&issuance.keys.ring(), NOW)).unwrap();
    DecodingKey::from_jwk(set.find(kid).unwrap()).unwrap()
}

#[test]
fn an_independent_library_accepts_issued_tokens_with_the_published_keys() {
    for algorithm in ALGORITHMS {
        let issuance = Issuance::new(algorithm);
        let token = issuance.token();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        let key = decoding_key(&issuance, algorithm, header.kid.as_deref().unwrap());
        let mut validation = Validation::new(theirs(algorithm));
        validation.set_issuer(&["sidegate"]);
        validation.validate_exp = false;
        let data = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap();
        assert_eq!(data.claims["username"], "ann", "{algorithm:?}");
        let tampered = token.replacen('.', ".e", 1);
        assert!(jsonwebtoken::decode::<Value>(&tampered, &key, &validation).is_err());
    }
}

#[test]
fn tokens_signed_by_an_independent_library_with_the_same_keys_are_accepted() {
    for algorithm in ALGORITHMS {
        let directory = tempfile::tempdir().unwrap();
        let issuance = Issuance::with(algorithm, |s| s.keys_dir = directory.path().to_owned());
        let kid = issuance.keys.ring().signer(NOW).unwrap().id().to_owned();
        let pem = || std::fs::read(directory.path().join(format!("{kid}.pem"))).unwrap();
        let key = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_pem(&pem()).unwrap(),
            Algorithm::ES256 => EncodingKey::from_ec_pem(&pem()).unwrap(),
            Algorithm::RS256 => EncodingKey::from_rsa_pem(&pem()).unwrap(),
            Algorithm::HS256 => EncodingKey::from_secret(SECRET),
        };
        let mut header = Header::new(theirs(algorithm));
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(kid);
        let ours = issuance.token();
        let claims = BASE64URL_NOPAD.decode(ours.split('.').nth(1).unwrap().as_bytes());
        let claims: Value = serde_json::from_slice(&claims.unwrap()).unwrap();
        let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
        let effect = issuance.verifier.verify(token.as_bytes(), NOW);
        assert_eq!(effect.unwrap().claims.username, "ann", "{algorithm:?}");
    }
}

#[test]
fn a_shared_secret_is_never_published() {
    let issuance = Issuance::new(Algorithm::HS256);
    assert_eq!(jwks(&issuance.keys.ring(), NOW), br#"{"keys":[]}"#);
}
