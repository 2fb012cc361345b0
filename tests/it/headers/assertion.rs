//! With `headers.assertion`, the application receives a signed statement about the caller with every request, which
//! it can verify by the published keys. No client can send one, and it is no access token.

use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;
use sidegate::types::random::SystemRandom;
use sidegate::types::time::Clock as _;

use super::RULES;
use crate::support::actors::Actor;
use crate::support::answer::Answer;
use crate::support::client::TestRequest;
use crate::support::forge::{SECRET, header};
use crate::support::h2_client::H2Client;
use crate::support::harness::{TestApp, claims};
use crate::support::hyper_app;
use crate::support::received::{one, seen};
use crate::support::spellings::spellings;
use crate::support::upstream::{Echo, Raw};
use crate::support::websocket::{SWITCHED, app_before, handshake, send_handshake};

const ON: &str = "[headers]\nassertion = true\n";

const NAME: &str = "X_SIDEGATE_ASSERTION";

async fn asserting(more: &str) -> TestApp {
    TestApp::with(&format!("{ON}{more}")).await
}

/// The claims of an assertion that an application with this origin accepts now.
#[track_caller]
fn accepted(app: &TestApp, set: &[u8], token: &str, origin: &str) -> Value {
    let set: JwkSet = serde_json::from_slice(set).expect("a key set");
    let head = jsonwebtoken::decode_header(token).expect("a header");
    assert_eq!(head.typ.as_deref(), Some("sidegate-assertion+jwt"));
    let key = set.find(&head.kid.expect("a key id")).expect("a known key");
    let mut validation = Validation::new(head.alg);
    validation.set_issuer(&["sidegate"]);
    validation.set_audience(&[origin]);
    validation.set_required_spec_claims(&["aud", "exp", "iss", "sub"]);
    validation.validate_exp = false; // the clock of the app is not the machine's
    let key = DecodingKey::from_jwk(key).expect("a key");
    let data = jsonwebtoken::decode::<Value>(token, &key, &validation).expect("a valid one");
    let now = app.clock.now().as_secs();
    let times = ["iat", "exp"].map(|name| data.claims[name].as_u64().expect("a time"));
    assert!(times[0] <= now && now < times[1], "{now} {times:?}");
    assert!(times[1] - times[0] <= 60);
    data.claims
}

async fn key_set(app: &TestApp) -> Vec<u8> {
    let set = app.anon().get("/.well-known/jwks.json").await;
    assert_eq!(set.status, 200);
    set.body
}

/// The assertion in what the application received.
#[track_caller]
fn sent(answer: &Answer) -> String {
    let seen = seen(answer);
    one(&seen, NAME).expect("an assertion").to_owned()
}

/// The values of the header in the bytes of a head.
fn in_head(head: &[u8]) -> Vec<String> {
    let head = String::from_utf8_lossy(head).into_owned();
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-sidegate-assertion"))
        .map(|(_, value)| value.to_owned())
        .collect()
}

#[tokio::test]
async fn an_application_receives_a_statement_that_the_published_keys_verify() {
    for algorithm in ["EdDSA", "ES256", "RS256"] {
        let app = asserting(&format!("[tokens]\nalgorithm = \"{algorithm}\"\n")).await;
        let ann = app.user_with_roles("ann", &["admin", "user"]).await;
        let me = ann.get("/auth/me").await.json();
        let token = sent(&ann.get("/orders/7").await);
        assert_eq!(header(&token)["alg"], algorithm);
        let origin = format!("http://{}", app.upstream.address);
        let claims = accepted(&app, &key_set(&app).await, &token, &origin);
        assert_eq!(claims["sub"], me["user"]["id"]);
        assert_eq!(claims["sid"], ann.session.as_str());
        assert_eq!(claims["roles"], serde_json::json!(["admin", "user"]));
        assert_eq!(claims["amr"], serde_json::json!(["pwd"]));
        assert_eq!(claims["acr"], "aal1");
        assert_eq!(claims["tenantId"], "default");
        assert_eq!(claims.as_object().map(serde_json::Map::len), Some(11));
    }
}

#[tokio::test]
async fn only_requests_with_a_known_caller_have_one() {
    let app = asserting(RULES).await;
    let ann = app.user("ann").await;
    for (actor, path, has) in [
        (&ann, "/x", true),
        (&ann, "/optional/x", true),
        (&app.anon(), "/optional/x", false),
        (&ann, "/public/x", false),
        (&app.anon(), "/public/x", false),
    ] {
        let seen = seen(&actor.get(path).await);
        assert_eq!(one(&seen, NAME).is_some(), has, "{path}");
    }
    let off = TestApp::start().await;
    let seen = seen(&off.user("ann").await.get("/x").await);
    assert_eq!(one(&seen, NAME), None);
}

#[tokio::test]
async fn s11_no_client_sends_an_assertion_whether_they_are_on_or_off() {
    let (on, off) = (asserting(RULES).await, TestApp::with(RULES).await);
    let (ann, bob) = (on.user("ann").await, on.user("bob").await);
    let stolen = sent(&bob.get("/x").await);
    let off_ann = off.user("ann").await;
    let cases: [(&Actor, &str, bool); 4] = [
        (&ann, "/x", true),
        (&ann, "/public/x", false),
        (&on.anon(), "/optional/x", false),
        (&off_ann, "/x", false),
    ];
    for (actor, path, has) in cases {
        for name in [
            "x-sidegate-assertion",
            "x-pomerium-jwt-assertion",
            "cf-access-jwt-assertion",
        ] {
            let mut request = TestRequest::new("GET", path);
            for spelling in spellings(name) {
                request = request.with(&spelling, &stolen);
            }
            let seen = seen(&actor.send(request).await);
            assert!(
                seen.iter().all(|(_, value)| *value != stolen),
                "{path} {name}"
            );
            assert_eq!(one(&seen, NAME).is_some(), has, "{path} {name}");
        }
    }
}

#[tokio::test]
async fn presets_have_the_header_that_their_applications_read() {
    for (preset, name) in [
        ("pomerium", "X_POMERIUM_JWT_ASSERTION"),
        ("cloudflare", "CF_ACCESS_JWT_ASSERTION"),
    ] {
        let app = TestApp::with(&format!("{ON}preset = \"{preset}\"\n")).await;
        let ann = app.user("ann").await;
        let forged = ann.with_header("Cf-Access-Jwt-Assertion", "forged");
        let forged = forged.with_header("X-Pomerium-Jwt-Assertion", "forged");
        let seen = seen(&forged.get("/x").await);
        let ours = one(&seen, NAME).expect("an assertion");
        assert_eq!(one(&seen, name), Some(ours), "{preset}");
        assert!(!seen.iter().any(|(_, value)| value == "forged"), "{preset}");
        let origin = format!("http://{}", app.upstream.address);
        accepted(&app, &key_set(&app).await, ours, &origin);
    }
}

#[tokio::test]
async fn requests_and_handshakes_over_http2_have_one_too() {
    let app = asserting("").await;
    let ann = app.user("ann").await;
    let mut client = H2Client::open(app.address).await;
    app.upstream.take_heads();
    client.get(&ann, "/over-h2").await;
    let heads = app.upstream.take_heads();
    assert_eq!(
        heads.iter().map(|head| in_head(head).len()).sum::<usize>(),
        1
    );

    let application = Raw::start(vec![SWITCHED.to_vec()]);
    let app = app_before(application.address, ON).await;
    let ann = app.user("ann").await;
    let (_socket, answer) = send_handshake(&ann, handshake()).await;
    assert_eq!(answer.status, 101);
    let mut client = H2Client::open(app.address).await;
    let answer = client.open_websocket(&ann, &[]).await;
    assert_eq!(answer.status(), 200);
    let heads = application.take_heads();
    assert_eq!(heads.len(), 2);
    let origin = format!("http://{}", application.address);
    for head in heads {
        let [token] = <[String; 1]>::try_from(in_head(&head)).expect("one assertion");
        accepted(&app, &key_set(&app).await, &token, &origin);
    }
}

#[tokio::test]
async fn an_application_over_http2_receives_one() {
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::body::Incoming;
    let port = hyper_app::application(None, |request: http::Request<Incoming>| async move {
        let all = request.headers().get_all("x-sidegate-assertion");
        let all: Vec<_> = all.iter().map(|v| v.to_str().unwrap_or("?")).collect();
        http::Response::new(Full::new(Bytes::from(all.join("\n"))))
    });
    let app = asserting(&format!("[upstream]\nurl = \"h2c://127.0.0.1:{port}\"\n")).await;
    let answer = app.user("ann").await.get("/x").await;
    assert_eq!(answer.status, 200);
    let origin = format!("http://127.0.0.1:{port}");
    accepted(&app, &key_set(&app).await, &answer.text(), &origin);
}

#[tokio::test]
async fn a_gateway_gets_the_assertion_for_its_application() {
    let trusting = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    for (more, about_another) in [(trusting, true), ("", false)] {
        let app = asserting(more).await;
        let ann = app.user("ann").await;
        let mut request = TestRequest::new("GET", "/auth/verify");
        if about_another {
            request = request
                .with("X-Forwarded-Method", "GET")
                .with("X-Forwarded-Uri", "/orders")
                .with("X-Forwarded-Host", "app.example.org");
        }
        request = request.with("X-Sidegate-Assertion", "forged");
        let answer = ann.send(request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let token = answer.header("x-sidegate-assertion").expect("an assertion");
        let origin = format!("http://{}", app.upstream.address);
        accepted(&app, &key_set(&app).await, token, &origin);
    }
}

#[tokio::test]
async fn s18_an_assertion_is_no_access_token() {
    // Access tokens with the audience of the application, so that only the type differs.
    let echo = Echo::start();
    let app = asserting(&format!(
        "[upstream]\nurl = \"http://{0}\"\n[tokens]\naudience = [\"http://{0}\"]\n",
        echo.address
    ))
    .await;
    let ann = app.user("ann").await;
    let token = sent(&ann.get("/x").await);
    for path in ["/x", "/auth/me", "/auth/verify"] {
        let refused = app.anon().with_access(&token).get(path).await;
        assert_eq!(
            refused.refusal(),
            (401, "invalid_token".to_owned()),
            "{path}"
        );
        let cookie = format!("sidegate_access={token}");
        let refused = app.anon().with_header("Cookie", &cookie).get(path).await;
        assert_eq!(
            refused.refusal(),
            (401, "invalid_token".to_owned()),
            "{path}"
        );
    }
    assert_eq!(claims(&ann.access)["aud"], claims(&token)["aud"]);
    assert_ne!(header(&ann.access)["typ"], header(&token)["typ"]);
}

#[tokio::test]
async fn an_assertion_is_sent_for_half_a_minute_and_then_signed_again() {
    let app = TestApp::with(&format!("{ON}[server]\nthreads = 1\n")).await;
    let ann = app.user("ann").await;
    let set = key_set(&app).await;
    let origin = format!("http://{}", app.upstream.address);
    let first = sent(&ann.get("/x").await);
    app.clock.advance(Duration::from_secs(29));
    assert_eq!(sent(&ann.get("/x").await), first);
    accepted(&app, &set, &first, &origin);
    app.clock.advance(Duration::from_secs(1));
    let second = sent(&ann.get("/x").await);
    assert_ne!(second, first);
    accepted(&app, &set, &second, &origin);
    let id = |token: &str| claims(token)["jti"].clone();
    assert_ne!(id(&first), id(&second));
}

#[tokio::test]
async fn s24_after_a_rotation_the_new_key_signs_and_the_old_one_is_still_published() {
    // Access tokens that live shorter than assertions.
    let app = asserting("[tokens]\naccess_ttl = \"10s\"\nleeway = \"0s\"\n").await;
    let mut ann = app.user("ann").await;
    let origin = format!("http://{}", app.upstream.address);
    let old = sent(&ann.get("/x").await);
    let keys = app.running().keys();
    let kid = keys.rotate(app.clock.now(), Duration::ZERO, &SystemRandom);
    let kid = kid.expect("a rotation");
    let new = sent(&ann.get("/x").await);
    assert_eq!(header(&new)["kid"], kid.as_str());
    assert_ne!(header(&old)["kid"], kid.as_str());
    app.clock.advance(Duration::from_secs(59));
    app.running().reload().expect("a reload");
    accepted(&app, &key_set(&app).await, &old, &origin);
    ann.refresh().await;
    let renewed = sent(&ann.get("/x").await);
    accepted(&app, &key_set(&app).await, &renewed, &origin);
}

#[tokio::test]
async fn a_reload_turns_assertions_on_and_off_and_changes_their_audience() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let reload = |text: &str| {
        app.rewrite(text);
        app.running().reload()
    };
    assert_eq!(one(&seen(&ann.get("/x").await), NAME), None);
    reload(ON).expect("a reload");
    let token = sent(&ann.get("/x").await);
    let origin = format!("http://{}", app.upstream.address);
    accepted(&app, &key_set(&app).await, &token, &origin);
    let other = Echo::start();
    let origin = format!("http://{}", other.address);
    reload(&format!("{ON}[upstream]\nurl = \"{origin}\"\n")).expect("a reload");
    let token = sent(&ann.get("/x").await);
    accepted(&app, &key_set(&app).await, &token, &origin);
    reload("").expect("a reload");
    assert_eq!(one(&seen(&ann.get("/x").await), NAME), None);
}

#[tokio::test]
async fn a_reload_to_assertions_is_refused_while_a_shared_secret_signs() {
    let hs256 = format!("[tokens]\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\n");
    let app = TestApp::with(&hs256).await;
    let ann = app.user("ann").await;
    // The file names another algorithm, which waits for a restart.
    for text in [format!("{ON}{hs256}"), ON.to_owned()] {
        app.rewrite(&text);
        let refused = app.running().reload().expect_err("no such reload");
        assert!(refused.contains("headers.assertion"), "{refused}");
        let seen = seen(&ann.get("/x").await);
        assert_eq!(one(&seen, NAME), None);
    }
}
