//! Headers that belong to one connection, and trailers, are not forwarded. Naming an identity header in
//! `Connection` does not remove it.

use super::RULES;
use crate::support::client::{Connection, TestRequest};
use crate::support::harness::TestApp;
use crate::support::received::{one, seen};

#[tokio::test]
async fn s12_naming_identity_headers_in_connection_changes_nothing() {
    let app = TestApp::with(RULES).await;
    let ann = app.user("ann").await;
    for value in [
        "x-user-id",
        "X-User-Id, x-user-role",
        "close, X_USER_ID",
        "keep-alive,x-user-id,x-forwarded-for,x-request-id,host,content-length",
        "authorization",
        ",,x-session-id,,",
        "upgrade, x-user-name",
    ] {
        let seen = seen(&ann.with_header("Connection", value).get("/x").await);
        assert_eq!(one(&seen, "X_USER_NAME"), Some("ann"), "{value}");
        for name in [
            "X_USER_ID",
            "X_USER_ROLE",
            "X_SESSION_ID",
            "HOST",
            "X_FORWARDED_FOR",
        ] {
            assert!(one(&seen, name).is_some(), "{value}: {name}");
        }
        assert_eq!(one(&seen, "CONNECTION"), None);
    }
    let two = ann
        .with_header("Connection", "x-user-id")
        .with_header("Connection", "X-Mine");
    let seen = seen(
        &two.with_header("X-Mine", "1")
            .with_header("X-Other", "2")
            .get("/x")
            .await,
    );
    assert!(one(&seen, "X_USER_ID").is_some());
    assert_eq!(
        (one(&seen, "X_MINE"), one(&seen, "X_OTHER")),
        (None, Some("2"))
    );
}

#[tokio::test]
async fn s12_hop_by_hop_headers_and_upgrades_are_not_forwarded() {
    let app = TestApp::with(RULES).await;
    let mut asking = app.anon();
    for (name, value) in [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("Proxy-Authenticate", "Basic"),
        ("TE", "trailers"),
        ("Trailer", "X-User-Id"),
        ("Proxy", "http://evil"),
    ] {
        asking = asking.with_header(name, value);
    }
    let seen = seen(&asking.get("/public/x").await);
    let names: Vec<_> = seen.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "HOST",
        "X_FORWARDED_FOR",
        "X_FORWARDED_HOST",
        "X_FORWARDED_PROTO",
        "X_FORWARDED_PORT",
        "X_REQUEST_ID",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn s11_trailers_of_a_request_are_dropped() {
    let app = TestApp::with(RULES).await;
    let ann = app.user("ann").await;
    let text = format!(
        "POST /x HTTP/1.1\r\nHost: app\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\
         Trailer: X-User-Role\r\n\r\n2\r\nhi\r\n0\r\nX-User-Role: admin\r\nX-User-Id: 0\r\n\r\n",
        ann.access
    );
    let mut connection = Connection::open(app.address).await;
    connection.write(text.as_bytes()).await;
    let answer = connection.answer("POST").await;
    assert_eq!(one(&seen(&answer), "X_USER_ROLE"), Some("user"));
    assert_eq!(answer.json()["body_len"], 2);
    // The next request on both connections is unaffected.
    let next = connection
        .request(&ann.with_credentials(TestRequest::new("GET", "/y")))
        .await;
    assert_eq!(one(&seen(&next), "X_USER_ROLE"), Some("user"));
    assert_eq!(next.json()["target"], "/y");
}
