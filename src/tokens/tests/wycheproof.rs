//! Project Wycheproof's vectors, checked by the same code that checks our tokens: shape, base64url, one
//! algorithm per key, prepared keys. The vectors have other headers and claims than our tokens, so the rules
//! for those have their own tests.

use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

use crate::crypto::signing::{PublicKey, SigningKey, VerifyingKey};
use crate::tokens::verify::{Parts, decode};

const SIGNATURES: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/wycheproof/json_web_signature_test.json"
));
const KEYS: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/wycheproof/json_web_key_test.json"
));

/// Whether a token is valid under a key that is given as a JWK.
fn holds(jwk: &Value, token: &str) -> Option<bool> {
    let (alg, key) = import(jwk)?;
    let parts = Parts::split(token.as_bytes()).ok()?;
    let header: Value = serde_json::from_slice(&decode(parts.header).ok()?).ok()?;
    let signature = decode(parts.signature).ok()?;
    decode(parts.claims).ok()?;
    let is_same = header.get("alg")?.as_str()? == alg && header.get("crit").is_none();
    Some(is_same && key.verify(parts.signed, &signature))
}

/// Reads a JWK for signatures with its one algorithm. Sidegate itself never imports a JWK; the tests need it to
/// create the prepared keys.
fn import(jwk: &Value) -> Option<(String, VerifyingKey)> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bytes = |name: &str| BASE64URL_NOPAD.decode(text(name)?.as_bytes()).ok();
    let for_signatures = text("use").is_none_or(|u| u == "sig");
    let ops = jwk.get("key_ops").and_then(Value::as_array);
    let may_verify = ops.is_none_or(|ops| {
        ops.iter()
            .filter_map(Value::as_str)
            .any(|op| op.contains("verify"))
    });
    if !for_signatures || !may_verify {
        return None;
    }
    let alg = text("alg")?;
    let key = match (alg, text("kty")?, text("crv")) {
        ("HS256", "oct", None) => {
            let secret = bytes("k").filter(|k| k.len() >= 32)?;
            SigningKey::from_secret(&secret).verifying()
        }
        ("ES256", "EC", Some("P-256")) => VerifyingKey::from_public(&PublicKey::P256 {
            x: bytes("x")?.try_into().ok()?,
            y: bytes("y")?.try_into().ok()?,
        }),
        ("RS256", "RSA", None) => VerifyingKey::from_public(&PublicKey::Rsa {
            n: bytes("n")?,
            e: bytes("e")?,
        }),
        _ => return None,
    };
    Some((alg.to_owned(), key.ok()?))
}

/// Vectors whose result differs from the label, each with the reason.
const SIGNATURE_EXCEPTIONS: [(u64, &str); 5] = [
    (
        259,
        "an empty payload: our tokens always hold claims, an empty part is refused by shape",
    ),
    (
        367,
        "labelled invalid, yet byte for byte vector 357, which is labelled valid",
    ),
    (
        370,
        "labelled invalid, yet byte for byte vector 357, which is labelled valid",
    ),
    (
        372,
        "labelled valid though its header holds a `?`: foreign letters are refused",
    ),
    (
        373,
        "labelled valid though its payload holds a `?`: foreign letters are refused",
    ),
];

/// As above, for the key vectors.
const KEY_EXCEPTIONS: [(u64, &str); 3] = [
    (
        7,
        "a key with the ROCA weakness: only keys we made ourselves get into the ring",
    ),
    (14, "HS384 is no algorithm of ours"),
    (15, "HS512 is no algorithm of ours"),
];

#[test]
fn s60_every_signature_vector_has_its_expected_result() {
    let file: Value = serde_json::from_str(SIGNATURES).unwrap();
    let (mut run, mut wrong) = (0, Vec::new());
    for group in file["testGroups"].as_array().unwrap() {
        let key = group.get("public").unwrap_or(&group["private"]);
        let alg = key["alg"].as_str().unwrap_or_default();
        let is_known = matches!(alg, "HS256" | "ES256" | "RS256");
        for test in group["tests"].as_array().unwrap() {
            let id = test["tcId"].as_u64().unwrap();
            let accepted = test["jws"].as_str().and_then(|jws| holds(key, jws)) == Some(true);
            let valid = test["result"] == "valid";
            run += usize::from(is_known);
            // Unsupported algorithms are refused, whatever the label of the vector is.
            let expected = valid && is_known;
            let excepted = SIGNATURE_EXCEPTIONS.iter().any(|(e, _)| *e == id);
            if (accepted != expected) != excepted {
                wrong.push((
                    id,
                    test["comment"].to_string(),
                    valid,
                    accepted,
                    test["jws"].to_string(),
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(run > 280, "{run}");
}

#[test]
fn s60_every_key_vector_has_its_expected_result() {
    let file: Value = serde_json::from_str(KEYS).unwrap();
    let mut wrong = Vec::new();
    for group in file["testGroups"].as_array().unwrap() {
        let set = group.get("public").unwrap_or(&group["private"]);
        let keys = set["keys"].as_array().unwrap();
        for test in group["tests"].as_array().unwrap() {
            let id = test["tcId"].as_u64().unwrap();
            let jws = test["jws"].as_str().unwrap_or_default();
            let accepted = holds_by_set(keys, jws) == Some(true);
            let excepted = KEY_EXCEPTIONS.iter().any(|(e, _)| *e == id);
            if (accepted != (test["result"] == "valid")) != excepted {
                wrong.push((id, group["comment"].to_string(), test.to_string(), accepted));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// As in the ring: the key id names exactly one key, and all keys have one algorithm.
fn holds_by_set(keys: &[Value], token: &str) -> Option<bool> {
    let header = decode(Parts::split(token.as_bytes()).ok()?.header).ok()?;
    let header: Value = serde_json::from_slice(&header).ok()?;
    let named: Vec<_> = keys
        .iter()
        .filter(|key| key.get("kid") == header.get("kid"))
        .collect();
    let is_mixed = keys
        .iter()
        .any(|key| key.get("kty") != keys.first().and_then(|k| k.get("kty")));
    let [key] = named.as_slice() else {
        return Some(false);
    };
    if is_mixed {
        return Some(false);
    }
    holds(key, token)
}
