//! Assertions: independent verification by the published keys, for one audience, and never in place of an access
//! token.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, TokenData, Validation};
use serde_json::{Value, json};

use super::{ALGORITHMS, Issuance, NOW, session, user};
use crate::tokens::assertion::{Subject, TYP};
use crate::tokens::issue::IssueError;
use crate::tokens::jwks::jwks;
use crate::tokens::settings::{ASSERTION_LIFE as LIFE, Algorithm};
use crate::tokens::{Asserter, Refusal};
use crate::types::time::Timestamp;

const AUDIENCE: &str = "http://app.example.org:3000";

fn asserter(issuance: &Issuance) -> Asserter {
    let keys = Arc::clone(&issuance.keys);
    Asserter::new(keys, "sidegate", AUDIENCE, issuance.random.clone())
}

fn assertion(issuance: &Issuance, amr: &[&str], now: Timestamp) -> Result<String, IssueError> {
    let session = session();
    let user = user(&session);
    let amr: Vec<_> = amr.iter().map(|method| (*method).to_owned()).collect();
    let subject = Subject {
        session: &session.key,
        roles: &user.roles,
        amr: &amr,
    };
    asserter(issuance).sign(subject, now)
}

/// Verifies as an application does: by the key set that is published at `now`.
fn verified(issuance: &Issuance, token: &str, now: Timestamp) -> Option<TokenData<Value>> {
    let header = jsonwebtoken::decode_header(token).unwrap();
    let set: JwkSet = serde_json::from_slice(&jwks(&issuance.keys.ring(), now)).unwrap();
    let key = DecodingKey::from_jwk(set.find(&header.kid?)?).unwrap();
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&["sidegate"]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["aud", "exp", "iss", "sub"]);
    // The clock of the test is not the machine's.
    validation.validate_exp = false;
    jsonwebtoken::decode(token, &key, &validation).ok()
}

fn with_key_pairs() -> impl Iterator<Item = Algorithm> {
    ALGORITHMS.into_iter().filter(|a| *a != Algorithm::HS256)
}

#[test]
fn an_application_verifies_an_assertion_with_the_published_keys() {
    for algorithm in with_key_pairs() {
        let issuance = Issuance::new(algorithm);
        let token = assertion(&issuance, &["pwd", "otp", "mfa"], NOW).unwrap();
        let data = verified(&issuance, &token, NOW).unwrap();
        assert_eq!(data.header.typ.as_deref(), Some(TYP));
        let session = session();
        let mut claims = data.claims;
        assert!(claims["jti"].take().as_str().is_some());
        assert_eq!(
            claims,
            json!({
                "iss": "sidegate",
                "sub": session.key.owner.user.to_string(),
                "aud": AUDIENCE,
                "sid": session.key.id.to_string(),
                "roles": ["admin", "user"],
                "amr": ["pwd", "otp", "mfa"],
                "acr": "aal2",
                "tenantId": "default",
                "iat": NOW.as_secs(),
                "exp": NOW.as_secs() + LIFE.as_secs(),
                "jti": null,
            }),
            "{algorithm:?}"
        );
    }
}

#[test]
fn a_changed_assertion_does_not_verify() {
    let issuance = Issuance::new(Algorithm::EdDSA);
    let token = assertion(&issuance, &["pwd"], NOW).unwrap();
    let header = token.find('.').unwrap();
    let letters = token.char_indices().skip(header);
    for (at, letter) in letters.filter(|(_, letter)| *letter != '.') {
        let mut changed = token.clone();
        let other = if letter == 'A' { "B" } else { "A" };
        changed.replace_range(at..=at, other);
        assert!(verified(&issuance, &changed, NOW).is_none(), "{at}");
    }
}

#[test]
fn two_assertions_about_one_caller_have_different_ids() {
    let issuance = Issuance::new(Algorithm::EdDSA);
    let id = || {
        let token = assertion(&issuance, &["pwd"], NOW).unwrap();
        verified(&issuance, &token, NOW).unwrap().claims["jti"].clone()
    };
    assert_ne!(id(), id());
}

#[test]
fn one_factor_is_aal1() {
    let issuance = Issuance::new(Algorithm::EdDSA);
    for amr in [&["pwd"][..], &["otp"], &[]] {
        let token = assertion(&issuance, amr, NOW).unwrap();
        let claims = verified(&issuance, &token, NOW).unwrap().claims;
        assert_eq!(claims["acr"], "aal1", "{amr:?}");
    }
}

#[test]
fn s18_an_assertion_is_no_access_token_and_an_access_token_is_no_assertion() {
    for algorithm in with_key_pairs() {
        // The access tokens of this issuance have the audience of the application.
        let issuance = Issuance::with(algorithm, |settings| {
            settings.audience = vec![AUDIENCE.to_owned()];
        });
        let token = assertion(&issuance, &["pwd"], NOW).unwrap();
        let refused = issuance.verifier.verify(token.as_bytes(), NOW);
        assert_eq!(refused.err(), Some(Refusal::Header), "{algorithm:?}");
        let access = verified(&issuance, &issuance.token(), NOW).unwrap();
        assert_eq!(access.header.typ.as_deref(), Some("at+jwt"));
        // Without that audience it already fails where the application checks `aud`.
        let issuance = Issuance::new(algorithm);
        assert!(verified(&issuance, &issuance.token(), NOW).is_none());
    }
}

#[test]
fn s18_an_assertion_with_all_claims_of_an_access_token_is_refused_by_its_type() {
    use data_encoding::BASE64URL_NOPAD;
    let issuance = Issuance::new(Algorithm::EdDSA);
    let access = issuance.token();
    let assertion = assertion(&issuance, &["pwd"], NOW).unwrap();
    let (header, _) = assertion.split_once('.').unwrap();
    let claims = access.split('.').nth(1).unwrap();
    let message = format!("{header}.{claims}");
    let ring = issuance.keys.ring();
    let key = ring.signer(NOW).unwrap().encoding().unwrap();
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), key, jsonwebtoken::Algorithm::EdDSA);
    let token = format!("{message}.{}", signature.unwrap());
    assert!(BASE64URL_NOPAD.decode(header.as_bytes()).is_ok());
    let refused = issuance.verifier.verify(token.as_bytes(), NOW);
    assert_eq!(refused.err(), Some(Refusal::Header));
}

#[test]
fn a_shared_secret_signs_no_assertion() {
    let issuance = Issuance::new(Algorithm::HS256);
    let refused = assertion(&issuance, &["pwd"], NOW);
    assert!(matches!(refused, Err(IssueError::Key(_))), "{refused:?}");
}

#[test]
fn s24_an_assertion_of_a_replaced_key_verifies_for_its_life() {
    for algorithm in with_key_pairs() {
        // Access tokens that live shorter than an assertion do not shorten that.
        let issuance = Issuance::with(algorithm, |settings| {
            settings.access_ttl = Duration::from_secs(10);
            settings.leeway = Duration::ZERO;
        });
        let old = assertion(&issuance, &["pwd"], NOW).unwrap();
        let kid = issuance
            .keys
            .rotate(NOW, Duration::ZERO, &*issuance.random)
            .unwrap();
        let end = NOW.plus(LIFE);
        issuance.keys.reload(end, &*issuance.random).unwrap();
        assert!(verified(&issuance, &old, end).is_some(), "{algorithm:?}");
        let new = assertion(&issuance, &["pwd"], NOW).unwrap();
        assert_eq!(
            verified(&issuance, &new, NOW).unwrap().header.kid,
            Some(kid)
        );
        let later = end.plus(LIFE);
        issuance.keys.reload(later, &*issuance.random).unwrap();
        assert!(verified(&issuance, &old, later).is_none(), "{algorithm:?}");
    }
}
