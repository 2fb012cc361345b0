//! The address, host and scheme of a request: a client cannot claim them, a trusted proxy can.

use super::RULES;
use crate::support::harness::TestApp;
use crate::support::received::{one, seen};

#[tokio::test]
async fn s16_an_untrusted_peer_cannot_set_the_client_address() {
    let app = TestApp::with(RULES).await;
    let lying = app
        .anon()
        .with_header("X-Forwarded-For", "10.0.0.1")
        .with_header("X-Forwarded-For", "127.0.0.1")
        .with_header("X-Forwarded-Host", "evil.example")
        .with_header("X-Forwarded-Proto", "https")
        .with_header("X-Forwarded-Port", "1")
        .with_header("X-Forwarded-Prefix", "/evil")
        .with_header("Forwarded", "for=10.0.0.1;host=evil")
        .with_header("X-Request-Id", "chosen")
        .with_header("X-Real-Ip", "10.0.0.1");
    let answer = lying.get("/public/x").await;
    let seen = seen(&answer);
    let host = app.address.to_string();
    let port = app.address.port().to_string();
    for (name, value) in [
        ("X_FORWARDED_FOR", Some("127.0.0.1")),
        ("X_FORWARDED_HOST", Some(host.as_str())),
        ("X_FORWARDED_PROTO", Some("http")),
        ("X_FORWARDED_PORT", Some(port.as_str())),
        ("X_FORWARDED_PREFIX", None),
        ("FORWARDED", None),
        ("X_REAL_IP", None),
    ] {
        assert_eq!(one(&seen, name), value, "{name}");
    }
    let id = one(&seen, "X_REQUEST_ID").unwrap();
    assert!(
        id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
        "{id}"
    );
    let log = app.access_log(|log| log.contains(id)).await;
    assert!(
        log.contains(" 127.0.0.1 ") && !log.contains("10.0.0.1"),
        "{log}"
    );
}

#[tokio::test]
async fn s16_a_trusted_proxy_sets_the_client_address() {
    let trusting = format!("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n{RULES}");
    let app = TestApp::with(&trusting).await;
    let proxy = app
        .anon()
        .with_header("X-Forwarded-For", "6.6.6.6, 198.51.100.7")
        .with_header("X-Forwarded-For", "127.0.0.9")
        .with_header("X-Forwarded-Host", "app.example.org")
        .with_header("X-Forwarded-Proto", "https")
        .with_header("X-Forwarded-Port", "8443")
        .with_header("X-Forwarded-Prefix", "/app")
        .with_header("X-Request-Id", "edge-42");
    let received = seen(&proxy.get("/public/x").await);
    for (name, value) in [
        (
            "X_FORWARDED_FOR",
            "6.6.6.6, 198.51.100.7, 127.0.0.9, 127.0.0.1",
        ),
        ("X_FORWARDED_HOST", "app.example.org"),
        ("X_FORWARDED_PROTO", "https"),
        ("X_FORWARDED_PORT", "8443"),
        ("X_FORWARDED_PREFIX", "/app"),
        ("X_REQUEST_ID", "edge-42"),
    ] {
        assert_eq!(one(&received, name), Some(value));
    }
    let log = app.access_log(|log| log.contains("edge-42")).await;
    assert!(log.contains(" 198.51.100.7 edge-42 "), "{log}");
    // An unparsable list makes the peer the client. An invalid request id is replaced.
    for (name, value) in [
        ("X-Forwarded-For", "198.51.100.7, unknown"),
        ("X-Forwarded-For", "1.2.3"),
    ] {
        let odd = app
            .anon()
            .with_header(name, value)
            .with_header("X-Request-Id", "a b");
        let received = seen(&odd.get("/public/x").await);
        let id = one(&received, "X_REQUEST_ID").unwrap().to_owned();
        assert_eq!(id.len(), 32);
        let log = app.access_log(|log| log.contains(&id)).await;
        assert!(log.contains(&format!(" 127.0.0.1 {id} ")), "{log}");
    }
}
