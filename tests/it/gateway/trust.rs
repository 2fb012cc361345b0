//! Which peers and headers of a check are trusted: contradictions, forged names, credentials.

use std::collections::BTreeMap;
use std::time::Duration;

use super::original::{IDENTITY, OriginalRequest, RECORDED, RULES, TRUSTED, identity, trusting};
use crate::support::client::TestRequest;
use crate::support::harness::{PASSWORD, TestApp};
use crate::support::program::Program;

/// A bug: a gateway missing from the list got 200 for every user, independent of the rules.
#[tokio::test]
async fn an_untrusted_peer_gets_no_decision_about_another_request() {
    let refusal = (403, "untrusted_gateway".to_owned());
    for trusted in ["", "[server]\ntrusted_proxies = [\"203.0.113.0/24\"]\n"] {
        let app = TestApp::with(&format!("{trusted}{RULES}")).await;
        let ann = app.user("ann").await;
        for target in [
            "/public/x",
            "/admin/x",
            "/orders?x=1",
            "/public/never",
            "/a/../b",
        ] {
            for held in [
                OriginalRequest::new("GET", target),
                OriginalRequest::new("POST", target).by(&ann),
            ] {
                for request in held.every_way() {
                    let answer = request.send(app.address).await;
                    assert_eq!(answer.refusal(), refusal, "{request:?}");
                    assert_eq!(identity(&answer), BTreeMap::new());
                    let contradiction = request.with("X-Original-URI", "/else");
                    assert_eq!(contradiction.send(app.address).await.refusal(), refusal);
                }
            }
        }
        for (gateway, recorded) in RECORDED {
            let bytes = recorded.replace("TOKEN", &ann.access);
            let answer = String::from_utf8(app.raw(bytes.as_bytes()).await).expect("a text");
            assert!(answer.starts_with("HTTP/1.1 403 "), "{gateway}: {answer}");
        }
    }
}

#[tokio::test]
async fn an_untrusted_peer_is_refused_for_a_single_header_of_a_check() {
    let app = TestApp::with(RULES).await;
    let ann = app.user("ann").await;
    let plain = OriginalRequest::new("GET", "/auth/verify")
        .by(&ann)
        .direct();
    for name in [
        "X-Original-URI",
        "X-Original-URL",
        "X-Original-Method",
        "X-Original-Host",
        "X-Forwarded-Uri",
        "X-Forwarded-Method",
        "X-Forwarded-Host",
        "X-Forwarded-Path",
        "X-Envoy-Original-Path",
        "X-Auth-Request-Redirect",
        "X-Rewrite-URL",
        "X-Replaced-Path",
    ] {
        for value in ["/orders", "", "?"] {
            let answer = plain.clone().with(name, value).send(app.address).await;
            assert_eq!(
                answer.refusal(),
                (403, "untrusted_gateway".into()),
                "{name}: {value}"
            );
        }
    }
    // Headers that any proxy adds do not make a check, and a page may check itself.
    let on_the_way = plain
        .with("X-Forwarded-For", "192.0.2.1")
        .with("X-Forwarded-Proto", "https");
    let answer = on_the_way.send(app.address).await;
    assert_eq!(
        (answer.status, identity(&answer)["x-user-name"].as_str()),
        (200, "ann")
    );
    let nobody = OriginalRequest::new("GET", "/auth/verify").direct();
    assert_eq!(
        nobody.send(app.address).await.refusal(),
        (401, "missing_token".into())
    );
    // The same headers are ignored on other routes.
    let elsewhere = ann
        .send(TestRequest::new("GET", "/auth/me").with("X-Original-URI", "/x"))
        .await;
    assert_eq!(elsewhere.status, 200);
}

#[tokio::test]
async fn the_log_names_the_gateway_that_is_not_trusted_and_the_setting() {
    let program = Program::with_ann();
    let server = program.serve().await;
    for _ in 0..20 {
        let request = TestRequest::new("GET", "/auth/verify").with("X-Original-URI", "/admin/x");
        assert_eq!(request.send(server.address).await.status, 403);
    }
    let line = server.logged("server.trusted_proxies").await;
    assert!(
        line.contains("127.0.0.1") && line.contains("x-original-uri"),
        "{line}"
    );
    let lines = server.log().matches("asks about another request").count();
    assert_eq!(lines, 1, "not one a request");
}

#[tokio::test]
async fn headers_that_a_client_adds_to_a_check_grant_nothing() {
    let app = trusting("").await;
    let ann = app.user("ann").await;
    let held = OriginalRequest::new("POST", "/admin/users").by(&ann);
    for request in held.every_way() {
        for (name, value) in [
            ("X-Forwarded-Uri", "/public/x"),
            ("X-Forwarded-Method", "GET"),
            ("X-Forwarded-Host", "open.example.org"),
            ("X-Original-URI", "/public/x"),
            ("X-Original-Method", "GET"),
            ("X-Original-URL", "https://app.example.org/public/x"),
            ("X-Original-URL", "https://open.example.org/admin/users"),
            ("X-Forwarded-Uri", ""),
            ("X-Forwarded-Uri", "/admin/users"),
        ] {
            let request = request.clone().with(name, value);
            let answer = request.send(app.address).await;
            assert_eq!(answer.status, 403, "{request:?}: {}", answer.text());
        }
        for (name, value) in [
            ("X-HTTP-Method-Override", "GET"),
            ("X-Rewrite-URL", "/public/x"),
            ("X_Original_URI", "/public/x"),
            ("X-Forwarded-Prefix", "/public"),
            ("Connection", "X-Forwarded-Uri, X-Original-URI"),
        ] {
            let request = request.clone().with(name, value);
            let answer = request.send(app.address).await;
            assert_eq!(
                answer.refusal(),
                (403, "missing_role".into()),
                "{request:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_check_without_the_original_request_or_with_half_of_it_is_refused() {
    let app = trusting("").await;
    let ann = app.user("ann").await;
    let silent = ann.get("/auth/verify").await;
    assert_eq!(silent.refusal(), (403, "bad_request".into()));
    assert!(silent.text().contains("trusted proxy"), "{}", silent.text());
    let with_query = ann.get("/auth/verify?/public/x").await;
    assert_eq!(with_query.refusal(), (403, "bad_request".into()));
    let held = OriginalRequest::new("GET", "/public/x").by(&ann);
    for whole in [held.forwarded(), held.original(), held.ingress()] {
        let received = |(name, _): &(String, String)| {
            let name = name.to_lowercase();
            name.starts_with("x-original") || name == "x-forwarded-uri" || name.ends_with("method")
        };
        for at in 0..whole.headers.len() {
            if received(&whole.headers[at]) {
                let mut part = whole.clone();
                part.headers.remove(at);
                let answer = part.send(app.address).await;
                assert_eq!(answer.refusal(), (403, "bad_request".into()), "{part:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_answer_names_the_session_and_never_what_the_client_claims() {
    let app = trusting("").await;
    let ann = app.user("ann").await;
    let forge = |mut request: TestRequest| {
        for name in IDENTITY {
            request = request
                .with(name, "evil")
                .with(&name.replace('-', "_"), "evil");
        }
        request
    };
    for target in ["/public/x", "/maybe/x"] {
        for request in OriginalRequest::new("GET", target).every_way() {
            let answer = forge(request).send(app.address).await;
            assert_eq!((answer.status, identity(&answer)), (200, BTreeMap::new()));
            let extra = |(name, _): &&(String, String)| name.to_lowercase().starts_with("x-");
            assert_eq!(answer.headers.iter().find(extra), None);
        }
    }
    for request in OriginalRequest::new("GET", "/maybe/x").by(&ann).every_way() {
        let answer = forge(request).send(app.address).await;
        let named = identity(&answer);
        assert_eq!(named["x-user-name"], "ann");
        assert_eq!(named["x-session-id"], ann.session);
        assert!(
            !named.contains_key("x-user-email"),
            "what has no value is absent"
        );
        assert!(named.values().all(|value| value != "evil"));
    }
}

#[tokio::test]
async fn s34_a_check_of_a_handshake_by_cookie_passes_only_from_a_page_of_the_site() {
    let app = trusting("public_url = \"https://app.example.org\"\n").await;
    let ann = app.user("ann").await;
    let cookie = format!("__Host-sidegate_access={}", ann.access);
    let by_bearer = OriginalRequest::new("GET", "/socket").by(&ann);
    let mut by_cookie = OriginalRequest::new("GET", "/socket");
    by_cookie.credential = Some(("Cookie".to_owned(), cookie));
    for received in ["Sec-WebSocket-Key", "Sec-WebSocket-Version"] {
        for origin in [
            None,
            Some("null"),
            Some("https://evil.example"),
            Some("https://app.example.org"),
        ] {
            let is_ours = origin.is_some_and(|origin| origin.ends_with("app.example.org"));
            for (held, allowed) in [(&by_cookie, is_ours), (&by_bearer, true)] {
                for request in held.every_way() {
                    let request = request.with(received, "13");
                    let request = origin
                        .into_iter()
                        .fold(request, |request, o| request.with("Origin", o));
                    let answer = request.send(app.address).await;
                    let expected = if allowed { 200 } else { 403 };
                    assert_eq!(answer.status, expected, "{request:?}");
                    assert!(allowed || answer.refusal().1 == "cross_site");
                }
            }
        }
    }
    // On a public path there is no identity, and only a handshake needs proof of origin.
    let public = OriginalRequest::new("GET", "/public/x").original();
    let public = public.with("Sec-WebSocket-Key", "x");
    assert_eq!(public.send(app.address).await.status, 200);
    assert_eq!(by_cookie.original().send(app.address).await.status, 200);
}

#[tokio::test]
async fn a_credential_that_cannot_be_read_is_a_refusal() {
    let app = trusting("").await;
    let ann = app.user("ann").await;
    let bob = app.user("bob").await;
    let good = format!("sidegate_access={}", ann.access);
    for (name, value, status, code) in [
        ("Authorization", "Bearer", 401, "invalid_token"),
        ("Authorization", "Bearer a b", 401, "invalid_token"),
        ("Authorization", "Bearer garbage", 401, "invalid_token"),
        ("Cookie", "sidegate_access=", 401, "invalid_token"),
        ("Cookie", "sidegate_access=\"x\"", 401, "invalid_token"),
        (
            "Cookie",
            &format!("{good}x; sidegate_access=y"),
            401,
            "invalid_token",
        ),
        (
            "Cookie",
            &format!("sidegate_access={}\u{1}", ann.access),
            400,
            "",
        ),
    ] {
        for target in ["/orders", "/maybe/x"] {
            for request in OriginalRequest::new("GET", target).every_way() {
                let answer = request.with(name, value).send(app.address).await;
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (status, code),
                    "{value}"
                );
            }
        }
    }
    let two = OriginalRequest::new("GET", "/maybe/x").by(&bob);
    for request in two.every_way() {
        let answer = request.with("Cookie", &good).send(app.address).await;
        assert_eq!(answer.refusal(), (403, "two_credentials".into()));
    }
}

#[tokio::test]
async fn s58_a_check_that_needs_a_store_that_does_not_answer_is_refused() {
    let mount = "[[mount]]\nprefix = \"/auth\"\ndelivery = \"cookies\"\nverify_renews = true\n";
    let (app, faults) = TestApp::with_faults(&format!("{TRUSTED}{mount}{RULES}")).await;
    app.account("ann", &["user"]).await;
    let received = app.anon().try_login("ann", PASSWORD).await;
    app.clock.advance(Duration::from_secs(3600));
    faults.fail_reads(true);
    let mut held = OriginalRequest::new("GET", "/orders");
    let refresh = received.cookie_pair("sidegate_refresh");
    held.credential = Some(("Cookie".to_owned(), refresh));
    for request in held.every_way() {
        let answer = request.send(app.address).await;
        assert_eq!(answer.refusal(), (503, "store_unavailable".into()));
        assert_eq!(identity(&answer), BTreeMap::new());
    }
}
