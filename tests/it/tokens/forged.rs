//! Access tokens of an attacker, and their verification by an application, for every algorithm.

use std::time::Duration;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use sidegate::crypto::signing::SigningKey;

use crate::support::actors::Actor;
use crate::support::forge::{SECRET, but, header, signed, signer};
use crate::support::harness::{TestApp, claims};

const ALGORITHMS: &[&str] = &["EdDSA", "ES256", "RS256", "HS256"];

async fn app(algorithm: &str, more: &str) -> TestApp {
    let secret = if algorithm == "HS256" {
        format!("secret = \"{SECRET}\"\n")
    } else {
        String::new()
    };
    TestApp::with(&format!(
        "[tokens]\nalgorithm = \"{algorithm}\"\n{secret}{more}"
    ))
    .await
}

async fn refused(ann: &Actor, token: &str, code: &str, case: &str) {
    for path in ["/orders", "/auth/me"] {
        let answer = ann.with_access(token).get(path).await;
        assert_eq!(answer.refusal(), (401, code.to_owned()), "{case}: {path}");
        let challenge = answer.header("www-authenticate").expect("a challenge");
        assert!(
            challenge.starts_with("Bearer error=\"invalid_token\""),
            "{case}: {challenge}"
        );
    }
}

#[tokio::test]
async fn every_algorithm_logs_in_and_passes() {
    for algorithm in ALGORITHMS {
        let app = app(algorithm, "").await;
        let mut ann = app.user("ann").await;
        assert_eq!(header(&ann.access)["alg"], *algorithm);
        assert_eq!(header(&ann.access)["typ"], "at+jwt");
        assert_eq!(ann.get("/orders").await.status, 200);
        ann.refresh().await;
        assert_eq!(ann.get("/orders").await.status, 200);
    }
}

#[tokio::test]
async fn the_key_set_verifies_access_tokens_and_contains_no_secret() {
    for algorithm in ["EdDSA", "ES256", "RS256"] {
        let app = app(algorithm, "").await;
        let ann = app.user("ann").await;
        let set = app.anon().get("/auth/jwks.json").await;
        let well_known = app.anon().get("/.well-known/jwks.json").await;
        assert_eq!(set.body, well_known.body);
        assert_eq!(set.header("content-type"), Some("application/json"));
        let keys = set.json()["keys"].as_array().expect("keys").clone();
        let [key] = keys.as_slice() else {
            panic!("one key: {keys:?}")
        };
        assert_eq!(
            (&key["use"], &key["alg"]),
            (&json!("sig"), &json!(algorithm))
        );
        assert_eq!(key["kid"], header(&ann.access)["kid"]);
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert_eq!(key[private], Value::Null, "{private}");
        }
        let (message, signature) = ann.access.rsplit_once('.').expect("a signature");
        let signature = BASE64URL_NOPAD
            .decode(signature.as_bytes())
            .expect("base64url");
        let member = |name: &str| {
            let text = key[name].as_str().expect("a member");
            BASE64URL_NOPAD.decode(text.as_bytes()).expect("base64url")
        };
        let message = message.as_bytes();
        let verified = match algorithm {
            "EdDSA" => UnparsedPublicKey::new(&ED25519, member("x")).verify(message, &signature),
            "ES256" => {
                let point = [vec![4], member("x"), member("y")].concat();
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                key.verify(message, &signature)
            }
            _ => {
                let key = RsaPublicKeyComponents {
                    n: member("n"),
                    e: member("e"),
                };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, &signature)
            }
        };
        assert!(verified.is_ok(), "{algorithm}");
    }
    let app = app("HS256", "").await;
    assert_eq!(
        app.anon().get("/auth/jwks.json").await.json(),
        json!({"keys": []})
    );
}

#[tokio::test]
async fn s18_a_forged_header_is_refused_with_any_signature() {
    for algorithm in ALGORITHMS {
        let app = app(algorithm, "").await;
        let ann = app.user("ann").await;
        let (key, head, body) = (
            signer(&app, algorithm),
            header(&ann.access),
            claims(&ann.access),
        );
        let well_signed = signed(&key, &head, &body);
        assert_eq!(
            ann.with_access(&well_signed).get("/orders").await.status,
            200,
            "the forger's tools work"
        );
        let other = if *algorithm == "ES256" {
            "RS256"
        } else {
            "ES256"
        };
        for change in [
            json!({"alg": "none"}),
            json!({"alg": "None"}),
            json!({"alg": other}),
            json!({"alg": algorithm.to_lowercase() + "x"}),
            json!({"alg": null}),
            json!({"kid": "aaaaaaaaaaaaaaaa"}),
            json!({"kid": ""}),
            json!({"kid": null}),
            json!({"kid": "../../etc/passwd"}),
            json!({"typ": "JWT"}),
            json!({"typ": "rt+jwt"}),
            json!({"typ": null}),
            json!({"crit": ["exp"]}),
            json!({"jku": "https://evil.example/jwks.json"}),
            json!({"jwk": {"kty": "oct", "k": "AAAA"}}),
            json!({"x5u": "https://evil.example/x.pem"}),
            json!({"x5c": []}),
            json!({"zip": "DEF"}),
            json!({"b64": false}),
            json!({"cty": "JWT"}),
        ] {
            let token = signed(&key, &but(&head, &change), &body);
            refused(
                &ann,
                &token,
                "invalid_token",
                &format!("{algorithm} {change}"),
            )
            .await;
        }
    }
}

#[tokio::test]
async fn s18_a_public_key_is_not_accepted_as_a_shared_secret() {
    for algorithm in ["EdDSA", "ES256", "RS256"] {
        let app = app(algorithm, "").await;
        let ann = app.user("ann").await;
        let set = app.anon().get("/auth/jwks.json").await.json();
        let head = but(&header(&ann.access), &json!({"alg": "HS256"}));
        for name in ["x", "n"] {
            let Some(public) = set["keys"][0][name].as_str() else {
                continue;
            };
            let raw = BASE64URL_NOPAD
                .decode(public.as_bytes())
                .expect("base64url");
            for secret in [raw, public.as_bytes().to_vec()] {
                let key = SigningKey::from_secret(&secret);
                let token = signed(&key, &head, &claims(&ann.access));
                refused(&ann, &token, "invalid_token", algorithm).await;
            }
        }
    }
}

#[tokio::test]
async fn s19_forged_claims_are_refused_with_any_signature() {
    for algorithm in ALGORITHMS {
        let app = app(
            algorithm,
            "audience = [\"orders\"]\nissuer = \"https://id.example\"",
        )
        .await;
        let ann = app.user("ann").await;
        let (key, head, body) = (
            signer(&app, algorithm),
            header(&ann.access),
            claims(&ann.access),
        );
        let now = body["iat"].as_u64().expect("a time");
        for (change, code) in [
            (
                json!({"exp": now - 6, "iat": now - 100, "nbf": now - 100}),
                "token_expired",
            ),
            (json!({"exp": now + 86_400}), "invalid_token"),
            (json!({"exp": "soon"}), "invalid_token"),
            (json!({"exp": null}), "invalid_token"),
            (json!({"nbf": now + 60}), "invalid_token"),
            (
                json!({"iat": now + 60, "nbf": now + 60, "exp": now + 120}),
                "invalid_token",
            ),
            (json!({"iat": null}), "invalid_token"),
            (json!({"iss": "https://evil.example"}), "invalid_token"),
            (json!({"iss": "https://id.example/"}), "invalid_token"),
            (json!({"iss": null}), "invalid_token"),
            (json!({"aud": "billing"}), "invalid_token"),
            (json!({"aud": ["orders", "billing"]}), "invalid_token"),
            (json!({"aud": null}), "invalid_token"),
            (json!({"sub": null}), "invalid_token"),
            (json!({"sub": "ann"}), "invalid_token"),
            (json!({"sid": null}), "invalid_token"),
            (json!({"sid": "1"}), "invalid_token"),
            (json!({"roles": "admin"}), "invalid_token"),
            (json!({"roles": ["admin", "a,b"]}), "invalid_token"),
            (json!({"role": "admin"}), "invalid_token"),
            (json!({"gen": -1}), "invalid_token"),
            (json!({"tenantId": "../x"}), "invalid_token"),
            (
                json!({"username": "a\r\nX-User-Role: admin"}),
                "invalid_token",
            ),
        ] {
            let token = signed(&key, &head, &but(&body, &change));
            refused(&ann, &token, code, &format!("{algorithm} {change}")).await;
        }
    }
}

#[tokio::test]
async fn s22_a_damaged_token_is_refused() {
    for algorithm in ALGORITHMS {
        let app = app(algorithm, "").await;
        let ann = app.user("ann").await;
        let good = &ann.access;
        let parts: Vec<&str> = good.split('.').collect();
        let (head, body, signature) = (parts[0], parts[1], parts[2]);
        let flipped = if signature.starts_with('A') { "B" } else { "A" };
        for bad in [
            format!("{head}.{body}."),
            format!("{head}.{body}"),
            format!("{head}..{signature}"),
            format!(".{body}.{signature}"),
            format!("{good}.{signature}"),
            format!("{good}="),
            format!("{head}.{body}.{flipped}{}", &signature[1..]),
            format!("{head}.{body}.{}", &signature[..signature.len() - 4]),
            format!("{head}.{body}.{signature}{signature}"),
            format!("{head}.{}.{signature}", &body[4..]),
            format!("{body}.{head}.{signature}"),
            good.to_lowercase(),
            format!("{good}\u{e9}"),
            format!("{good} x"),
            format!("{good},{good}"),
            "x".repeat(9_000),
            "...".to_owned(),
            "null".to_owned(),
        ] {
            refused(&ann, &bad, "invalid_token", &format!("{algorithm} {bad}")).await;
        }
        assert_eq!(ann.get("/orders").await.status, 200);
    }
}

#[tokio::test]
async fn s20_neither_token_works_in_place_of_the_other() {
    for algorithm in ALGORITHMS {
        let app = app(algorithm, "").await;
        let mut ann = app.user("ann").await;
        refused(&ann, &ann.refresh_token, "invalid_token", algorithm).await;
        let body = json!({"refreshToken": ann.access});
        let answer = app.anon().post("/auth/refresh", body).await;
        // A refresh token is never as long as a token signed with RSA.
        let refusal = if ann.access.len() > 512 {
            (400, "invalid_field".to_owned())
        } else {
            (401, "invalid_refresh_token".to_owned())
        };
        assert_eq!(answer.refusal(), refusal, "{algorithm}");
        ann.refresh().await;
    }
}

#[tokio::test]
async fn a_token_is_valid_until_its_expiry_plus_the_leeway() {
    let app = TestApp::with("[tokens]\naccess_ttl = \"1m\"\nleeway = \"3s\"").await;
    let ann = app.user("ann").await;
    app.clock.advance(Duration::from_millis(62_999));
    assert_eq!(ann.get("/orders").await.status, 200);
    app.clock.advance(Duration::from_millis(1));
    refused(&ann, &ann.access, "token_expired", "expired").await;
}

#[tokio::test]
async fn a_token_of_another_installation_is_refused_over_http() {
    let (here, there) = (TestApp::start().await, TestApp::start().await);
    let ann = here.user("ann").await;
    let foreign = there.user("ann").await.at(&here);
    refused(&ann, &foreign.access, "invalid_token", "other keys").await;
    assert_eq!(
        foreign.try_refresh().await.refusal(),
        (401, "invalid_refresh_token".into())
    );
}

#[tokio::test]
async fn another_authorization_scheme_is_not_an_access_token() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let anon = app.anon();
    for value in ["Basic YW5uOng=", "bearerx y", "Token x", "Digest a=b"] {
        let answer = anon
            .with_header("Authorization", value)
            .get("/orders")
            .await;
        assert_eq!(answer.refusal(), (401, "missing_token".into()), "{value}");
    }
    for value in ["Bearer", "Bearer ", "bearer a b"] {
        let answer = anon
            .with_header("Authorization", value)
            .get("/orders")
            .await;
        assert_eq!(answer.refusal(), (401, "invalid_token".into()), "{value}");
    }
    let lower = anon.with_header("Authorization", &format!("bEaReR  {}", ann.access));
    assert_eq!(lower.get("/orders").await.status, 200);
}
