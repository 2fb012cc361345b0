//! Which claims of a token are required, and which values are refused?

use std::time::Duration;

use serde_json::{Value, json};

use super::verify::{SECOND, claims_of, refusal};
use super::{Issuance, NOW, TTL};
use crate::tokens::settings::Algorithm;
use crate::tokens::{Refusal, Verifier};
use crate::types::time::Timestamp;

/// Valid claims with one of them changed, signed with our own key.
pub(super) fn with(issuance: &Issuance, name: &str, value: Option<Value>) -> String {
    let mut claims = claims_of(&issuance.token());
    let members = claims.as_object_mut().unwrap();
    match value {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    issuance.sign(&claims.to_string())
}

#[test]
fn s19_every_claim_is_required_typed_and_unique() {
    let issuance = Issuance::new(Algorithm::HS256);
    let good = claims_of(&issuance.token());
    for name in good.as_object().unwrap().keys() {
        // An account may have no verified address, and tokens of earlier releases have no `ver`.
        if name != "email" && name != "ver" {
            let missing = with(&issuance, name, None);
            assert_eq!(
                refusal(&issuance, &missing),
                Some(Refusal::Claims),
                "{name}"
            );
        }
        let value = &good[name];
        for wrong in [
            json!(null),
            json!({}),
            json!([[1]]),
            json!(true),
            json!(-1),
            json!(1.5),
        ] {
            let token = with(&issuance, name, Some(wrong.clone()));
            assert_eq!(
                refusal(&issuance, &token),
                Some(Refusal::Claims),
                "{name} {wrong}"
            );
        }
        let listed = with(&issuance, name, Some(json!([value])));
        assert_eq!(
            refusal(&issuance, &listed),
            Some(Refusal::Claims),
            "{name} in a list"
        );
        let text = good.to_string();
        let double = format!("{},\"{name}\":{value}}}", &text[..text.len() - 1]);
        assert_eq!(
            refusal(&issuance, &issuance.sign(&double)),
            Some(Refusal::Claims),
            "{name} twice"
        );
    }
}

#[test]
fn s19_claims_that_contradict_or_are_spelled_otherwise_are_refused() {
    let issuance = Issuance::new(Algorithm::HS256);
    let good = claims_of(&issuance.token());
    let upper = |name: &str| json!(good[name].as_str().unwrap().to_uppercase());
    for (name, value) in [
        ("role", json!("user")),
        ("roles", json!([])),
        ("roles", json!(["admin", "admin"])),
        ("roles", json!(["a,b"])),
        ("sub", upper("sub")),
        ("sid", upper("sid")),
        ("jti", json!("")),
        ("tenantId", json!("")),
        ("tenantId", json!("A B")),
        ("username", json!("a\r\nX-Role: admin")),
        ("gen", json!(4_294_967_296_u64)),
        ("iat", json!("1700000000")),
    ] {
        let token = with(&issuance, name, Some(value.clone()));
        assert_eq!(
            refusal(&issuance, &token),
            Some(Refusal::Claims),
            "{name} {value}"
        );
    }
    for garbage in ["", "{", "[]", "null", "{}", "\u{feff}{}", "{}{}"] {
        let token = issuance.sign(garbage);
        assert!(refusal(&issuance, &token).is_some(), "{garbage}");
    }
    let unknown = with(&issuance, "partner", Some(json!({"a": 1})));
    assert_eq!(refusal(&issuance, &unknown), None);
}

#[test]
fn s19_the_issuer_is_one_exact_string() {
    let issuance = Issuance::new(Algorithm::HS256);
    for other in ["", "Sidegate", "sidegate ", "sidegate/"] {
        let token = with(&issuance, "iss", Some(json!(other)));
        assert_eq!(refusal(&issuance, &token), Some(Refusal::Issuer), "{other}");
    }
}

#[test]
fn s19_the_audience_has_exactly_the_issued_form() {
    let none = Issuance::new(Algorithm::HS256);
    let one = Issuance::with(Algorithm::HS256, |s| s.audience = vec!["app".to_owned()]);
    let two = Issuance::with(Algorithm::HS256, |s| {
        s.audience = vec!["app".to_owned(), "api".to_owned()];
    });
    let forms = [
        None,
        Some(json!("app")),
        Some(json!(["app", "api"])),
        Some(json!(["app"])),
        Some(json!(["api", "app"])),
        Some(json!(["app", "api", "evil"])),
        Some(json!("api")),
        Some(json!([])),
        Some(json!("")),
    ];
    for (issuance, fits) in [(&none, 0), (&one, 1), (&two, 2)] {
        assert_eq!(refusal(issuance, &issuance.token()), None);
        for (at, form) in forms.iter().enumerate() {
            let token = with(issuance, "aud", form.clone());
            let expected = (at != fits).then_some(Refusal::Audience);
            assert_eq!(refusal(issuance, &token), expected, "{form:?}");
        }
        assert_eq!(
            refusal(issuance, &with(issuance, "aud", Some(json!(null)))),
            Some(Refusal::Claims)
        );
        assert_eq!(
            refusal(issuance, &with(issuance, "aud", Some(json!(7)))),
            Some(Refusal::Claims)
        );
    }
}

#[test]
fn s19_times_are_checked_with_exactly_the_leeway() {
    let issuance = Issuance::new(Algorithm::HS256);
    let token = issuance.token();
    let at = |now: Timestamp| issuance.verifier.verify(token.as_bytes(), now).err();
    let leeway = Duration::from_secs(5);
    let millisecond = Duration::from_millis(1);
    let end = NOW.plus(TTL).plus(leeway);
    assert_eq!(at(end.minus(millisecond)), None);
    assert_eq!(at(end), Some(Refusal::Expired));
    assert_eq!(at(Timestamp::MAX), Some(Refusal::Expired));
    let start = NOW.minus(leeway);
    assert_eq!(at(start), None);
    assert_eq!(at(start.minus(millisecond)), Some(Refusal::NotYet));
    assert_eq!(at(Timestamp::default()), Some(Refusal::NotYet));
    let later = json!(NOW.plus(leeway).plus(SECOND).as_secs());
    for name in ["nbf", "iat"] {
        let token = with(&issuance, name, Some(later.clone()));
        assert_eq!(refusal(&issuance, &token), Some(Refusal::NotYet), "{name}");
    }
}

#[test]
fn s19_the_leeway_is_at_most_half_a_minute() {
    let issuance = Issuance::with(Algorithm::HS256, |s| s.leeway = Duration::from_secs(3600));
    let late = NOW.plus(TTL).plus(Verifier::MAX_LEEWAY);
    let effect = issuance.verifier.verify(issuance.token().as_bytes(), late);
    assert_eq!(effect.err(), Some(Refusal::Expired));
}

#[test]
fn s19_a_lifetime_above_the_configured_one_is_refused() {
    let issuance = Issuance::new(Algorithm::HS256);
    let end = |secs: u64| json!(NOW.as_secs() + secs);
    for (exp, why) in [
        (end(901), None),
        (end(902), Some(Refusal::Lifetime)),
        (end(u32::MAX.into()), Some(Refusal::Lifetime)),
        (json!(u64::MAX), Some(Refusal::Lifetime)),
        (json!(NOW.as_secs() - 1), Some(Refusal::Lifetime)),
    ] {
        assert_eq!(
            refusal(&issuance, &with(&issuance, "exp", Some(exp.clone()))),
            why,
            "{exp}"
        );
    }
}

#[test]
fn only_an_otherwise_valid_token_is_reported_as_expired() {
    let issuance = Issuance::new(Algorithm::HS256);
    let late = NOW.plus(Duration::from_secs(3600));
    let refusal = |token: &str| issuance.verifier.verify(token.as_bytes(), late).err();
    assert_eq!(refusal(&issuance.token()), Some(Refusal::Expired));
    let forged = format!("{}A", issuance.token());
    assert_ne!(refusal(&forged), Some(Refusal::Expired));
    let foreign = with(&issuance, "iss", Some(json!("other")));
    assert_eq!(refusal(&foreign), Some(Refusal::Issuer));
}
