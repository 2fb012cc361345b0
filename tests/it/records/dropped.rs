//! Connections that are closed before a request could be refused are counted by reason.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::support::certificates::Site;
use crate::support::client::{Connection, DEADLINE, PROMPT};
use crate::support::harness::TestApp;

/// The count of this reason, out of all.
async fn only(app: &TestApp, reason: &str) -> u64 {
    let page = app.admin_get("/metrics").await.text();
    let name = "sidegate_connections_dropped_total{reason=\"";
    let mut found = None;
    for line in page.lines().filter_map(|line| line.strip_prefix(name)) {
        let (label, count) = line.split_once("\"} ").expect("a sample");
        let count: u64 = count.parse().expect("a number");
        if label == reason {
            found = Some(count);
        } else {
            assert_eq!(count, 0, "{label}");
        }
    }
    found.unwrap_or_else(|| panic!("{reason} is not in\n{page}"))
}

#[tokio::test]
async fn s50_a_connection_too_many_is_counted() {
    for (limit, reason) in [
        ("max_connections", "full"),
        ("max_connections_per_address", "address_full"),
    ] {
        let app = TestApp::with(&format!("[server]\n{limit} = 1\n")).await;
        let mut first = Connection::open(app.address).await;
        assert_eq!(first.get("/x").await.status, 401);
        assert_eq!(only(&app, reason).await, 0);
        for _ in 0..2 {
            let mut more = Connection::open(app.address).await;
            assert_eq!(more.answer("GET").await.status, 503);
        }
        assert_eq!(only(&app, reason).await, 2);
    }
}

#[tokio::test]
async fn s50_a_client_that_sends_its_head_too_slowly_is_counted() {
    for (prefix, reason) in [(&b""[..], "silent"), (b"GET /x HT", "slow_head")] {
        let deadline = Instant::now() + DEADLINE;
        while !is_counted(prefix, reason).await {
            assert!(Instant::now() < deadline, "never as quick as it takes");
        }
    }
}

/// Whether the test sent its first bytes before the server closed the connection, which must then be
/// counted under this reason. A client without a first byte is silent.
async fn is_counted(prefix: &[u8], reason: &str) -> bool {
    let app = TestApp::with("[server]\nheader_timeout = \"1s\"\n").await;
    let began = Instant::now();
    let mut slow = Connection::open(app.address).await;
    slow.write(prefix).await;
    let is_prompt = began.elapsed() < PROMPT;
    assert_eq!(slow.rest().await, b"");
    if is_prompt {
        assert_eq!(only(&app, reason).await, 1);
    }
    is_prompt
}

#[tokio::test]
async fn s50_a_handshake_that_does_not_end_is_counted() {
    let site = Site::new();
    let app = TestApp::with(&site.with("handshake_timeout = \"1s\"", "")).await;
    let mut slow = TcpStream::connect(app.address).await.expect("a connection");
    slow.write_all(b"\x16\x03\x01\x02\x00").await.expect("room");
    // The connection ends with or without an alert.
    let end = timeout(DEADLINE, tokio::io::copy(&mut slow, &mut tokio::io::sink())).await;
    drop(end.expect("an end in time"));
    assert_eq!(only(&app, "slow_handshake").await, 1);
}

#[tokio::test]
async fn s50_a_trusted_peer_without_a_header_is_counted() {
    let app =
        TestApp::with("[server]\nproxy_protocol = true\ntrusted_proxies = [\"127.0.0.0/8\"]\n")
            .await;
    let mut peer = Connection::open(app.address).await;
    peer.write(b"GET /x HTTP/1.1\r\nHost: app\r\n\r\n").await;
    assert_eq!(peer.rest().await, b"");
    assert_eq!(only(&app, "proxy_header").await, 1);
}
