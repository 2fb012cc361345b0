//! Which tokens verify: shape, header, signature, and secrets that are not accepted at the start?

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::claims::with;
use super::{ALGORITHMS, Issuance, NOW, SECRET, TTL, session, user};
use crate::crypto::signing::SigningKey;
use crate::tokens::settings::Algorithm;
use crate::tokens::{Refusal, Verifier};

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn b64(text: &str) -> String {
    BASE64URL_NOPAD.encode(text.as_bytes())
}

pub(super) fn claims_of(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
}

pub(super) fn refusal(issuance: &Issuance, token: &str) -> Option<Refusal> {
    issuance.verifier.verify(token.as_bytes(), NOW).err()
}

#[test]
fn an_issued_token_verifies_for_every_algorithm() {
    for algorithm in ALGORITHMS {
        let issuance = Issuance::new(algorithm);
        let session = session();
        let (token, expires_at) = issuance
            .issuer
            .issue(&session, &user(&session), NOW)
            .unwrap();
        assert_eq!(expires_at, NOW.plus(TTL));
        let verified = issuance.verifier.verify(token.expose().as_bytes(), NOW);
        let claims = verified.unwrap().claims;
        assert_eq!(claims.session, session.key, "{algorithm:?}");
        assert_eq!(claims.generation, session.generation);
        assert_eq!(claims.username, "ann");
        assert_eq!(claims.email.as_deref(), Some("ann@example.org"));
        assert_eq!(claims.roles.joined(), "admin,user");
        assert_eq!(claims.amr, ["pwd"]);
        assert_eq!(claims.expires_at, expires_at);
        assert!(token.expose().len() < 1024);
    }
}

#[test]
fn a_token_carries_the_documented_claims_and_no_other() {
    let claims = claims_of(&Issuance::new(Algorithm::EdDSA).token());
    let mut names: Vec<_> = claims.as_object().unwrap().keys().cloned().collect();
    names.sort();
    assert_eq!(
        names,
        [
            "amr",
            "auth_time",
            "email",
            "exp",
            "gen",
            "iat",
            "iss",
            "jti",
            "nbf",
            "role",
            "roles",
            "sid",
            "sub",
            "tenantId",
            "username",
            "ver"
        ]
    );
    assert_eq!(claims["role"], "admin");
    assert_eq!(claims["gen"], 3);
    assert_eq!(claims["ver"], 1);
}

#[test]
fn a_token_never_outlives_its_session() {
    let issuance = Issuance::new(Algorithm::HS256);
    let session = session();
    let late = session.ends_at().minus(Duration::from_millis(1_500));
    let (token, expires_at) = issuance
        .issuer
        .issue(&session, &user(&session), late)
        .unwrap();
    assert!(expires_at <= session.ends_at());
    assert!(
        issuance
            .verifier
            .verify(token.expose().as_bytes(), late)
            .is_ok()
    );
}

#[test]
fn s18_an_unexpected_header_is_refused() {
    for algorithm in ALGORITHMS {
        let issuance = Issuance::new(algorithm);
        let ring = issuance.keys.ring();
        let key = ring.signer(NOW).unwrap();
        let (kid, alg) = (key.id(), algorithm.as_str());
        let body = issuance.token().split('.').nth(1).unwrap().to_owned();
        let table = [
            (
                format!(r#"{{"alg":"none","kid":"{kid}","typ":"at+jwt"}}"#),
                Refusal::Header,
            ),
            (
                format!(r#"{{"alg":" {alg}","kid":"{kid}","typ":"at+jwt"}}"#),
                Refusal::Header,
            ),
            (
                format!(r#"{{"alg":"HS512","kid":"{kid}","typ":"at+jwt"}}"#),
                Refusal::Header,
            ),
            (
                format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"JWT"}}"#),
                Refusal::Header,
            ),
            (
                format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"AT+JWT"}}"#),
                Refusal::Header,
            ),
            (
                format!(r#"{{"alg":"{alg}","kid":"{kid}"}}"#),
                Refusal::Header,
            ),
            (
                format!(r#"{{"alg":"{alg}","typ":"at+jwt"}}"#),
                Refusal::Header,
            ),
            (
                format!(r#"{{"kid":"{kid}","typ":"at+jwt"}}"#),
                Refusal::Header,
            ),
            (
                format!(r#"{{"alg":"{alg}","kid":"x","typ":"at+jwt"}}"#),
                Refusal::Key,
            ),
            (
                format!(r#"{{"alg":"{alg}","kid":"../../x","typ":"at+jwt"}}"#),
                Refusal::Key,
            ),
            (
                format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"at+jwt","crit":["exp"]}}"#),
                Refusal::Header,
            ),
            (
                format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"at+jwt","jku":"https://e"}}"#),
                Refusal::Header,
            ),
            (
                format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"at+jwt","jwk":{{}}}}"#),
                Refusal::Header,
            ),
            (
                format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"at+jwt","x5u":"x"}}"#),
                Refusal::Header,
            ),
            (
                format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"at+jwt","x5c":[]}}"#),
                Refusal::Header,
            ),
            (
                format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"at+jwt","zip":"DEF"}}"#),
                Refusal::Header,
            ),
            (
                format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"at+jwt","b64":false}}"#),
                Refusal::Header,
            ),
            (
                format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"at+jwt","cty":"JWT"}}"#),
                Refusal::Header,
            ),
            (
                format!(r#"{{"alg":"{alg}","alg":"{alg}","kid":"{kid}","typ":"at+jwt"}}"#),
                Refusal::Header,
            ),
            (
                format!(r#"{{"alg":["{alg}"],"kid":"{kid}","typ":"at+jwt"}}"#),
                Refusal::Header,
            ),
            (r#"["alg"]"#.to_owned(), Refusal::Header),
            ("null".to_owned(), Refusal::Header),
        ];
        for (header, why) in table {
            // Signed with our own key over exactly this header: only the header can refuse it.
            let signed = format!("{}.{body}", b64(&header));
            let secret = SigningKey::from_secret(SECRET);
            let signature = BASE64URL_NOPAD.encode(&secret.sign(signed.as_bytes()).unwrap());
            let token = format!("{signed}.{signature}");
            assert_eq!(refusal(&issuance, &token), Some(why), "{header}");
        }
    }
}

#[test]
fn a_public_key_is_not_accepted_as_an_hs256_secret() {
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256] {
        let issuance = Issuance::new(algorithm);
        let jwks = crate::tokens::jwks::jwks(&issuance.keys.ring(), NOW);
        let kid = issuance.keys.ring().signer(NOW).unwrap().id().to_owned();
        for alg in ["HS256", algorithm.as_str()] {
            let header = format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"at+jwt"}}"#);
            let body = issuance.token().split('.').nth(1).unwrap().to_owned();
            let signed = format!("{}.{body}", b64(&header));
            let forged = SigningKey::from_secret(&jwks)
                .sign(signed.as_bytes())
                .unwrap();
            let token = format!("{signed}.{}", BASE64URL_NOPAD.encode(&forged));
            assert!(matches!(
                refusal(&issuance, &token),
                Some(Refusal::Header | Refusal::Signature)
            ));
        }
    }
}

#[test]
fn s22_shape_and_length_are_checked_before_decoding() {
    let issuance = Issuance::new(Algorithm::HS256);
    let good = issuance.token();
    let parts: Vec<_> = good.split('.').collect();
    let (h, c, s) = (parts[0], parts[1], parts[2]);
    let long = "a".repeat(Verifier::MAX_TOKEN + 1);
    let dots = ".".repeat(Verifier::MAX_TOKEN);
    assert_eq!(refusal(&issuance, &long), Some(Refusal::TooLong));
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        dots,
        format!("{h}.{c}"),
        format!("{h}.{c}."),
        format!(".{c}.{s}"),
        format!("{h}..{s}"),
        format!("{h}.{c}.{s}."),
        format!("{h}.{c}.{s}.{s}"),
        format!("{h}.{c}.{s}.{s}.{s}"),
        format!("{h}.{c}.{s}="),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{h}.{c}.{s}+"),
        format!("{h}.{c}.{s}/"),
    ] {
        assert_eq!(
            refusal(&issuance, &bad),
            Some(Refusal::Malformed),
            "{bad:.40}"
        );
    }
    assert_eq!(refusal(&issuance, &good), None);
}

#[test]
fn every_changed_letter_of_a_token_is_refused() {
    let issuance = Issuance::new(Algorithm::EdDSA);
    let good = issuance.token();
    for at in 0..good.len() {
        for letter in ['A', 'B', 'w', '9', '-', '.'] {
            let changed = format!("{}{letter}{}", &good[..at], &good[at + 1..]);
            if changed != good {
                assert!(refusal(&issuance, &changed).is_some(), "{at} {letter}");
            }
        }
        assert!(refusal(&issuance, &good[..at]).is_some(), "{at}");
    }
}

#[test]
fn s23_a_start_without_a_real_secret_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for secret in [
        None,
        Some("secret"),
        Some("short-but-random-9x2"),
        Some("changeme-changeme-changeme-changeme"),
    ] {
        let mut settings = super::settings(Algorithm::HS256, directory.path());
        settings.secret = secret.map(|s| crate::types::secret::SecretBytes::new(s.as_bytes()));
        let random = crate::types::random::SeededRandom::new(1);
        let opened = super::Keys::open(&settings, NOW, &random);
        let error = opened.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.starts_with("tokens.secret: "), "{secret:?}: {error}");
    }
}

#[test]
fn s23_a_secret_that_is_also_a_refresh_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = super::settings(Algorithm::HS256, directory.path());
    let random = crate::types::random::SeededRandom::new(1);
    super::Keys::open(&settings, NOW, &random).unwrap();
    let key = std::fs::read(directory.path().join("refresh-1.key")).unwrap();
    settings.secret = Some(crate::types::secret::SecretBytes::new(&key[..]));
    let error = super::Keys::open(&settings, NOW, &random).unwrap_err();
    assert!(error.to_string().contains("same secret"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn s51_any_bytes_are_verified_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let issuance = Issuance::new(Algorithm::HS256);
        prop_assert!(issuance.verifier.verify(&bytes, NOW).is_err());
    }

    #[test]
    fn s51_any_signed_text_is_verified_without_a_panic(text in "\\PC{0,60}", name in "[a-z]{1,8}") {
        let issuance = Issuance::new(Algorithm::HS256);
        let effect = issuance.verifier.verify(issuance.sign(&text).as_bytes(), NOW);
        prop_assert!(effect.is_err());
        let effect = issuance.verifier.verify(with(&issuance, &name, Some(json!(text))).as_bytes(), NOW);
        // A claim that means something is checked; one that means nothing is skipped.
        let means = claims_of(&issuance.token()).get(&name).is_some() || name == "aud";
        prop_assert!(name == "email" || effect.is_ok() != means);
    }
}
