//! The decision of the rules, in the format of each gateway.

use super::original::{OriginalRequest, RECORDED, identity, trusting};
use crate::support::client::Connection;

#[tokio::test]
async fn every_gateway_gets_the_decision_of_the_rules_for_its_request() {
    let app = trusting("").await;
    let anon = app.anon();
    let ann = app.user("ann").await;
    let root = app.user_with_roles("root", &["user", "admin"]).await;
    for (method, target, expected) in [
        ("GET", "/orders/7?x=1", [401, 200, 200]),
        ("POST", "/orders", [401, 200, 200]),
        ("DELETE", "/orders/7", [401, 200, 200]),
        ("OPTIONS", "/orders", [401, 200, 200]),
        ("HEAD", "/orders", [401, 200, 200]),
        ("GET", "/public/x", [200, 200, 200]),
        ("GET", "/public/never", [403, 403, 403]),
        ("GET", "/maybe/x", [200, 200, 200]),
        ("GET", "/admin/users", [401, 403, 200]),
        ("GET", "/Admin/users", [401, 403, 200]),
        ("GET", "/reports", [200, 200, 200]),
        ("HEAD", "/reports", [200, 200, 200]),
        ("POST", "/reports", [401, 200, 200]),
        ("GET", "/hosted/x", [401, 200, 200]),
        ("GET", "/", [401, 200, 200]),
        ("GET", "/x?/public/x", [401, 200, 200]),
        ("GET", "/auth/me", [401, 200, 200]),
    ] {
        for (actor, expected) in [&anon, &ann, &root].into_iter().zip(expected) {
            let held = OriginalRequest::new(method, target).by(actor);
            for request in held.every_way() {
                let answer = request.send(app.address).await;
                let case = format!("{request:?}: {}", answer.text());
                assert_eq!(answer.status, expected, "{case}");
                assert_eq!(answer.header("cache-control"), Some("no-store"), "{case}");
                let challenged = answer.header("www-authenticate").is_some();
                assert!(expected != 401 || challenged, "{case}");
                if answer.status == 200 {
                    assert!(answer.body.is_empty(), "{case}");
                    let open = target.starts_with("/public/") || target == "/reports";
                    let needs_session = !open || method == "POST";
                    let known = !actor.access.is_empty() && needs_session;
                    let named = identity(&answer).contains_key("x-user-name");
                    assert_eq!(named, known, "{case}");
                }
            }
        }
    }
    let hosted = OriginalRequest {
        host: "open.example.org:8443".to_owned(),
        ..OriginalRequest::new("GET", "/hosted/x")
    };
    for request in hosted.every_way() {
        assert_eq!(request.send(app.address).await.status, 200, "{request:?}");
    }
    assert_eq!(app.upstream.count(), 0, "a check reaches no application");
}

#[tokio::test]
async fn the_recorded_check_of_each_gateway_is_parsed() {
    let only = "[[rule]]\npath = \"/orders/*\"\nmethods = [\"POST\"]\nhost = \"app.example.org\"\n\
                roles = [\"user\"]\n[policy]\ndefault = \"deny\"\n";
    let app = trusting(only).await;
    let ann = app.user("ann").await;
    let eve = app.user_with_roles("eve", &["guest"]).await;
    for (gateway, question) in RECORDED {
        for (token, status) in [(&ann.access, 200), (&eve.access, 403)] {
            let mut connection = Connection::open(app.address).await;
            let question = question.replace("TOKEN", token);
            connection.write(question.as_bytes()).await;
            let answer = connection.answer("GET").await;
            assert_eq!(answer.status, status, "{gateway}: {}", answer.text());
            let name = (status == 200).then_some("ann");
            assert_eq!(answer.header("x-user-name"), name, "{gateway}");
        }
    }
    let is_complete = |log: &str| log.matches(" POST /orders/7 200 ").count() == RECORDED.len();
    let log = app.access_log(is_complete).await;
    let from_client = |line: &&str| line.contains(" 203.0.113.7 ");
    assert!(
        log.lines()
            .filter(|l| l.contains("/orders/7"))
            .all(|l| from_client(&l)),
        "{log}"
    );
}

#[tokio::test]
async fn a_check_by_any_method_is_a_check_and_its_body_is_not_read() {
    let app = trusting("").await;
    let ann = app.user("ann").await;
    let held = OriginalRequest::new("POST", "/orders").by(&ann);
    for method in ["GET", "HEAD", "POST", "PUT", "OPTIONS"] {
        let mut request = held.forwarded();
        request.method = method.to_owned();
        let answer = request
            .body("text/plain", "not JSON")
            .send(app.address)
            .await;
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(answer.header("x-user-name"), Some("ann"), "{method}");
    }
    let mut connection = Connection::open(app.address).await;
    for _ in 0..3 {
        let with_body = held.path().body("text/plain", vec![b'x'; 1_000]);
        assert_eq!(connection.request(&with_body).await.status, 200);
        assert_eq!(connection.request(&held.original()).await.status, 200);
    }
}

#[tokio::test]
async fn a_path_with_two_readings_is_refused_in_every_header_that_carries_it() {
    let app = trusting("").await;
    let root = app.user_with_roles("root", &["admin"]).await;
    for target in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..%2fadmin",
        "/public/%2e%2e%2fadmin",
        "/public/%252e%252e/../admin",
        "/public//x",
        "//public/x",
        "/public/./x",
        "/public/x%00",
        "/public\\..\\admin",
        "/public/;/../admin",
        "/public/x%zz",
    ] {
        for request in OriginalRequest::new("GET", target).by(&root).every_way() {
            let answer = request.send(app.address).await;
            assert_eq!(answer.refusal(), (403, "bad_request".into()), "{request:?}");
        }
    }
    for target in [
        "http://app.example.org/public/x",
        "*",
        "public/x",
        "",
        "/public/x#/admin",
    ] {
        let held = OriginalRequest::new("GET", target).by(&root);
        for request in [held.forwarded(), held.original()] {
            let answer = request.send(app.address).await;
            assert_eq!(answer.refusal(), (403, "bad_request".into()), "{request:?}");
        }
    }
    let long = OriginalRequest::new("GET", &format!("/public/{}", "a".repeat(8 * 1024)));
    let answer = long.forwarded().send(app.address).await;
    assert_eq!(answer.status, 403);
    for method in ["TRACE", "CONNECT", "get", "BREW"] {
        let answer = OriginalRequest::new(method, "/public/x")
            .forwarded()
            .send(app.address)
            .await;
        assert_eq!(answer.refusal(), (403, "method_not_allowed".into()));
        assert_eq!(answer.header("allow"), None, "not that of the check");
    }
}

#[tokio::test]
async fn path_allowances_follow_the_original_path() {
    let app = trusting(
        "[paths]\nallow = []\n[[paths.prefix]]\npath = \"/files\"\nallow = [\"encoded-slash\"]\n",
    )
    .await;
    let ann = app.user("ann").await;
    for (target, expected) in [("/files/a%2fb", 200), ("/other/a%2fb", 403)] {
        for request in OriginalRequest::new("GET", target).by(&ann).every_way() {
            assert_eq!(
                request.send(app.address).await.status,
                expected,
                "{request:?}"
            );
        }
    }
}
