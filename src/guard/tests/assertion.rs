//! When is an assertion signed, when is the last one sent again, and what happens when none can be signed?

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::*;
use crate::guard::assertion::{Assertions, RENEWED_AFTER};
use crate::tokens::Asserter;
use crate::tokens::settings::ASSERTION_LIFE;

const AUDIENCE: &str = "http://127.0.0.1:3000";

fn gate(preset: &Preset) -> Gate {
    let gate = Gate::new();
    let asserter = Asserter::new(
        Arc::clone(&gate.keys),
        "sidegate",
        AUDIENCE,
        gate.random.clone(),
    );
    Gate {
        guard: gate.guard.asserting(Assertions::new(asserter, preset)),
        ..gate
    }
}

fn native() -> Gate {
    gate(&Preset::Named("native".to_owned()))
}

/// The assertions in the headers of a permitted request, with their names.
fn sent(permit: &Permit) -> Vec<(String, String)> {
    let mut sent = Vec::new();
    let each = |name: &HeaderName, value: &HeaderValue| {
        if name.as_str().ends_with("assertion") {
            let value = value.to_str().unwrap().to_owned();
            sent.push((name.to_string(), value));
        }
    };
    permit.identity().unwrap().each_header(each);
    sent
}

impl Gate {
    fn assertion_at(&self, headers: &HeaderMap, now: Timestamp) -> String {
        let permit = self.decide(self.authorize_at("/a", headers, now)).unwrap();
        let [(name, value)] = <[_; 1]>::try_from(sent(&permit)).unwrap();
        assert_eq!(name, "x-sidegate-assertion");
        value
    }
}

/// A member of the header (part 0) or the claims (part 1).
fn member(token: &str, part: usize, name: &str) -> Value {
    let text = token.split('.').nth(part).unwrap();
    let json = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes());
    let value: Value = serde_json::from_slice(&json.unwrap()).unwrap();
    value[name].clone()
}

#[test]
fn an_assertion_is_signed_once_and_sent_for_half_of_its_life() {
    let gate = native();
    let headers = bearer(&gate.token());
    let first = gate.assertion_at(&headers, NOW);
    let last_moment = NOW.plus(RENEWED_AFTER).minus(Duration::from_millis(1));
    assert_eq!(gate.assertion_at(&headers, NOW), first);
    assert_eq!(gate.assertion_at(&headers, last_moment), first);
    let renewed = NOW.plus(RENEWED_AFTER);
    let second = gate.assertion_at(&headers, renewed);
    assert_ne!(second, first);
    for (assertion, signed_at) in [(&first, NOW), (&second, renewed)] {
        let expiry = signed_at.plus(ASSERTION_LIFE).as_secs();
        assert_eq!(member(assertion, 1, "exp"), expiry);
        assert_eq!(member(assertion, 1, "aud"), AUDIENCE);
    }
}

#[test]
fn each_token_has_assertions_of_its_own() {
    let gate = native();
    let ann = bearer(&gate.token());
    let bob = sample(NOW.plus(TTL));
    let bob_headers = bearer(&gate.token_of(&bob, "bob"));
    let (of_ann, of_bob) = (
        gate.assertion_at(&ann, NOW),
        gate.assertion_at(&bob_headers, NOW),
    );
    let session = |assertion: &str| member(assertion, 1, "sid");
    assert_eq!(session(&of_ann), gate.session.key.id.to_string());
    assert_eq!(session(&of_bob), bob.key.id.to_string());
    assert_eq!(gate.assertion_at(&ann, NOW), of_ann);
}

#[test]
fn s24_the_next_request_after_a_rotation_is_asserted_by_the_new_key() {
    let gate = native();
    let headers = bearer(&gate.token());
    let before = gate.assertion_at(&headers, NOW);
    let kid = gate.keys.rotate(NOW, Duration::ZERO, &*gate.random);
    let after = gate.assertion_at(&headers, NOW);
    assert_ne!(member(&before, 0, "kid"), member(&after, 0, "kid"));
    assert_eq!(member(&after, 0, "kid"), kid.unwrap());
}

#[test]
fn presets_with_a_name_of_their_own_have_the_same_assertion_under_both() {
    for (preset, theirs) in [
        ("pomerium", "x-pomerium-jwt-assertion"),
        ("cloudflare", "cf-access-jwt-assertion"),
    ] {
        let gate = gate(&Preset::Named(preset.to_owned()));
        let headers = bearer(&gate.token());
        let permit = gate.decide(gate.authorize_at("/a", &headers, NOW));
        let sent = sent(&permit.unwrap());
        let [(ours, one), (name, other)] = <[_; 2]>::try_from(sent).unwrap();
        assert_eq!(
            (ours.as_str(), name.as_str()),
            ("x-sidegate-assertion", theirs)
        );
        assert_eq!(one, other);
    }
    let custom = Preset::Custom(vec![("sub".to_owned(), HeaderName::from_static("x-me"))]);
    let gate = gate(&custom);
    gate.assertion_at(&bearer(&gate.token()), NOW);
}

#[test]
fn nobody_is_asserted_without_the_setting_and_on_public_routes() {
    let off = Gate::new();
    let headers = bearer(&off.token());
    let permit = off.decide(off.authorize_at("/a", &headers, NOW)).unwrap();
    assert_eq!(sent(&permit), []);
    let gate = native();
    let headers = bearer(&gate.token());
    for path in ["/public/a", "/maybe/a"] {
        let headers = match path {
            "/public/a" => &headers,
            _ => &HeaderMap::new(),
        };
        let permit = gate.decide(gate.authorize_at(path, headers, NOW));
        assert!(permit.unwrap().identity().is_none(), "{path}");
    }
}

#[test]
fn a_request_is_refused_when_its_assertion_cannot_be_signed() {
    let directory = tempfile::tempdir().unwrap();
    let settings = TokenSettings {
        issuer: "sidegate".to_owned(),
        audience: Vec::new(),
        algorithm: Algorithm::HS256,
        keys_dir: directory.path().to_owned(),
        secret: Some(crate::types::secret::SecretBytes::new(
            b"u7Yp2Qx9Lk4Vb8Nz1Rt6Wc3Hd5Jf0GmS",
        )),
        access_ttl: TTL,
        leeway: Duration::ZERO,
    };
    let gate = Gate::new();
    let keys = Keys::open(&settings, NOW, &*gate.random).unwrap().0;
    let asserter = Asserter::new(Arc::new(keys), "sidegate", AUDIENCE, gate.random.clone());
    let preset = Preset::Named("native".to_owned());
    let gate = Gate {
        guard: gate.guard.asserting(Assertions::new(asserter, &preset)),
        ..gate
    };
    let headers = bearer(&gate.token());
    // New to this guard, and known to it.
    for _ in 0..2 {
        assert_eq!(gate.ask("/a", &headers), Err(Reason::Unsigned));
    }
    assert_eq!(gate.ask("/public/a", &headers), Ok(None));
}

#[test]
fn an_asserted_identity_is_counted_with_its_assertion() {
    let (with, without) = (native(), Gate::new());
    for gate in [&with, &without] {
        let headers = bearer(&gate.token());
        assert!(gate.ask("/a", &headers).is_ok());
    }
    let signed = with.assertion_at(&bearer(&with.token()), NOW).len() as u64;
    let (with, without) = (with.guard.cache_size().1, without.guard.cache_size().1);
    assert!(with >= without + signed, "{with} {without} {signed}");
}
