//! How does a test sign tokens with other headers and claims, with the key of the app?

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::Value;
use sidegate::crypto::signing::{KeyKind, SigningKey};

use crate::support::harness::TestApp;

/// The secret of apps that sign with HS256.
pub(crate) const SECRET: &str = "3mP0uWkQv7Zr1xYd8Tn5sLb2HcGj9eFa6Kq4RtXy";

/// Signs claims as an app does.
pub(crate) struct Forger {
    key: SigningKey,
    header: Value,
}

impl Forger {
    /// Uses the key that signed this token of the app, an Ed25519 one.
    pub(crate) fn of(app: &TestApp, token: &str) -> Self {
        Self {
            key: signer(app, "EdDSA"),
            header: header(token),
        }
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        signed(&self.key, &self.header, claims)
    }
}

/// The signing key of the app.
pub(crate) fn signer(app: &TestApp, algorithm: &str) -> SigningKey {
    let kind = match algorithm {
        "EdDSA" => KeyKind::Ed25519,
        "ES256" => KeyKind::P256,
        "RS256" => KeyKind::Rsa,
        _ => return SigningKey::from_secret(SECRET.as_bytes()),
    };
    let files = std::fs::read_dir(app.home().join("keys")).expect("the keys");
    let mut paths = files.map(|entry| entry.expect("a file").path());
    let pem = paths.find(|path| path.extension().is_some_and(|e| e == "pem"));
    let text = std::fs::read_to_string(pem.expect("a key")).expect("a text");
    let inner: String = text
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let der = BASE64.decode(inner.as_bytes()).expect("base64");
    SigningKey::from_pkcs8(kind, &der).expect("a key")
}

pub(crate) fn header(token: &str) -> Value {
    let part = token.split('.').next().expect("a header");
    let json = BASE64URL_NOPAD.decode(part.as_bytes()).expect("base64url");
    serde_json::from_slice(&json).expect("JSON")
}

pub(crate) fn signed(key: &SigningKey, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = key.sign(message.as_bytes()).expect("a signature");
    format!("{message}.{}", BASE64URL_NOPAD.encode(&signature))
}

/// A copy with members replaced; `null` removes one.
pub(crate) fn but(value: &Value, members: &Value) -> Value {
    let mut changed = value.clone();
    let object = changed.as_object_mut().expect("an object");
    for (name, member) in members.as_object().expect("an object") {
        match member {
            Value::Null => object.remove(name),
            other => object.insert(name.clone(), other.clone()),
        };
    }
    changed
}
