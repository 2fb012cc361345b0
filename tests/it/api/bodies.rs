//! Which request bodies a route accepts, shown with the log-in.

use serde_json::json;

use crate::support::client::TestRequest;
use crate::support::harness::TestApp;

const JSON: &str = "application/json";
const WRONG: &str = "not the password";

/// Status, error code, field name, and the body that causes them.
const BODIES: &str = r#"
400 missing_field password {"identifier":"ann"}
400 missing_field identifier {"password":"x"}
400 missing_field identifier {"identifier":null,"password":"x"}
400 unknown_field admin {"identifier":"ann","password":"x","admin":true}
400 unknown_field Password {"identifier":"ann","password":"x","Password":"x"}
400 invalid_field identifier {"identifier":1,"password":"x"}
400 invalid_field password {"identifier":"ann","password":true}
400 invalid_field password {"identifier":"ann","password":""}
400 invalid_field remember {"identifier":"ann","password":"x","remember":"yes"}
400 invalid_field deviceName {"identifier":"ann","password":"x","deviceName":"a\u0007b"}
400 malformed_body - {"identifier":"ann","password":"x","password":"y"}
400 malformed_body - {"identifier":"ann","password":{"$ne":""}}
400 malformed_body - {"identifier":["ann"],"password":"x"}
400 malformed_body - {"identifier":"\ud800","password":"x"}
400 malformed_body - [{"identifier":"ann","password":"x"}]
400 malformed_body - null
400 malformed_body - {
400 malformed_body - {"identifier":"ann","password":"x"} {}
400 malformed_body - identifier=ann&password=x
"#;

#[tokio::test]
async fn s43_a_log_in_body_is_one_flat_object_of_known_fields() {
    let app = TestApp::start().await;
    let rows = BODIES.lines().filter(|row| !row.is_empty()).map(|row| {
        let mut cells = row.splitn(4, ' ');
        [(); 4].map(|()| cells.next().expect("four cells"))
    });
    let empty = ["400", "malformed_body", "-", ""];
    for [status, code, field, body] in rows.chain([empty]) {
        let request = TestRequest::new("POST", "/auth/login").body(JSON, body);
        let answer = request.send(app.address).await;
        let expected = (status.parse().expect("a status"), code.to_owned());
        assert_eq!(answer.refusal(), expected, "{body}");
        assert_eq!(
            answer.json()["field"].as_str().unwrap_or("-"),
            field,
            "{body}"
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn only_json_is_accepted_with_any_parameters() {
    let app = TestApp::start().await;
    let body = json!({"identifier": "ann", "password": WRONG}).to_string();
    let request = |kind: &str| TestRequest::new("POST", "/auth/login").body(kind, body.clone());
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "json",
    ] {
        let answer = request(kind).send(app.address).await;
        assert_eq!(
            answer.refusal(),
            (415, "unsupported_media_type".into()),
            "{kind}"
        );
    }
    for kind in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/json ;x=y",
    ] {
        assert_eq!(request(kind).send(app.address).await.status, 401, "{kind}");
    }
}

#[tokio::test]
async fn a_body_without_a_type_or_with_two_is_refused() {
    let app = TestApp::start().await;
    let body = json!({"identifier": "ann", "password": WRONG}).to_string();
    let mut untyped = TestRequest::new("POST", "/auth/login").body(JSON, body.clone());
    untyped.headers.retain(|(name, _)| name != "Content-Type");
    let answer = untyped.send(app.address).await;
    assert_eq!(answer.refusal(), (415, "unsupported_media_type".into()));
    let doubled = TestRequest::new("POST", "/auth/login").body(JSON, body);
    let doubled = doubled.with("Content-Type", "text/plain");
    assert_eq!(doubled.send(app.address).await.status, 415);
}

#[tokio::test]
async fn a_body_or_field_that_is_too_large_is_refused() {
    let app = TestApp::with("[limits]\nbody = \"4KiB\"").await;
    let large = format!(
        r#"{{"identifier":"ann","password":"{}"}}"#,
        "x".repeat(5_000)
    );
    let received = TestRequest::new("POST", "/auth/login").body(JSON, large.clone());
    let answer = received.send(app.address).await;
    assert_eq!(answer.refusal(), (413, "body_too_large".into()));
    let chunked = format!(
        "POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    let answer = String::from_utf8_lossy(&app.raw(chunked.as_bytes()).await).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    for (field, length) in [("password", 1025), ("identifier", 321), ("deviceName", 129)] {
        let mut body = json!({"identifier": "ann", "password": WRONG});
        body[field] = json!("x".repeat(length));
        let answer = app.anon().post("/auth/login", body).await;
        assert_eq!(answer.refusal(), (400, "invalid_field".into()), "{field}");
        assert_eq!(answer.json()["field"], field);
    }
}
