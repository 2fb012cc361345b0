//! The public keys as a JWK set (RFC 7517), for programs that verify our tokens themselves.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::crypto::signing::PublicKey;
use crate::tokens::keys::{Ring, RingKey};
use crate::types::time::Timestamp;

/// The set as JSON: every key that verifies at `now`, oldest first, also one that does not sign
/// yet. The same keys always give the same bytes. Empty when a shared secret signs.
pub fn jwks(ring: &Ring, now: Timestamp) -> Vec<u8> {
    let alive = ring.iter().filter(|key| key.validity().is_alive(now));
    let keys: Vec<Value> = alive.filter_map(jwk).collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

fn jwk(key: &RingKey) -> Option<Value> {
    let b64 = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let mut jwk = match key.public()? {
        PublicKey::Ed25519(x) => json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(&x) }),
        PublicKey::P256 { x, y } => {
            json!({ "kty": "EC", "crv": "P-256", "x": b64(&x), "y": b64(&y) })
        }
        PublicKey::Rsa { n, e } => json!({ "kty": "RSA", "n": b64(&n), "e": b64(&e) }),
    };
    let members = jwk.as_object_mut()?;
    members.insert("kid".to_owned(), json!(key.id()));
    members.insert("alg".to_owned(), json!(key.algorithm().as_str()));
    members.insert("use".to_owned(), json!("sig"));
    Some(jwk)
}
