//! The PROXY protocol: a trusted balancer names the address of the client, and no other peer can.

use crate::support::client::Connection;
use crate::support::harness::TestApp;

const TRUSTED: &str = "[policy]\ndefault = \"public\"\n[server]\nproxy_protocol = true\n\
    trusted_proxies = [\"127.0.0.1\"]\n";

const ASK: &str = "GET /x HTTP/1.1\r\nHost: app\r\nConnection: close\r\n";

async fn exchange(app: &TestApp, header: &[u8], more: &str) -> String {
    let bytes = [header, ASK.as_bytes(), more.as_bytes(), b"\r\n"].concat();
    // The request asks to close the connection. The client keeps its end open until the answer has
    // arrived.
    let mut connection = Connection::open(app.address).await;
    connection.write(&bytes).await;
    String::from_utf8_lossy(&connection.rest().await).into_owned()
}

/// The `X-Forwarded-For` of the only request.
fn chain(app: &TestApp) -> String {
    let heads = app.upstream.take_heads();
    assert_eq!(heads.len(), 1);
    let head = String::from_utf8_lossy(&heads[0]).to_lowercase();
    let line = head
        .lines()
        .find(|line| line.starts_with("x-forwarded-for: "));
    line.expect("the line")
        .trim_start_matches("x-forwarded-for: ")
        .to_owned()
}

fn version2(address: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f".to_vec();
    header.extend(address);
    header.extend(b"\x0a\0\0\x01\x01\0\x01\xbb\x20\0\0");
    header
}

#[tokio::test]
async fn the_balancer_names_the_client_in_both_versions() {
    let app = TestApp::with(TRUSTED).await;
    let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n";
    for header in [&line[..], &version2([192, 0, 2, 7])] {
        let received = exchange(&app, header, "").await;
        assert!(received.starts_with("HTTP/1.1 200 "), "{received}");
        assert_eq!(chain(&app), "192.0.2.7");
    }
    let log = app.access_log(|log| log.lines().count() >= 2).await;
    assert!(log.contains("192.0.2.7"), "{log}");
    let received = exchange(&app, b"PROXY UNKNOWN\r\n", "").await;
    assert!(received.starts_with("HTTP/1.1 200 "), "{received}");
    assert_eq!(chain(&app), "127.0.0.1");
}

#[tokio::test]
async fn s16_a_connection_without_a_client_address_is_not_trusted() {
    let app = TestApp::with(TRUSTED).await;
    let forged = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n";
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let unspecified = b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0";
    for header in [&b"PROXY UNKNOWN\r\n"[..], local, unspecified] {
        let received = exchange(&app, header, forged).await;
        assert!(received.starts_with("HTTP/1.1 200 "), "{received}");
        assert_eq!(chain(&app), "127.0.0.1");
    }
}

#[tokio::test]
async fn a_header_in_pieces_is_read_as_a_whole() {
    let app = TestApp::with(TRUSTED).await;
    let mut connection = Connection::open(app.address).await;
    for byte in version2([192, 0, 2, 8]) {
        connection.write(&[byte]).await;
        tokio::task::yield_now().await;
    }
    connection.write(ASK.as_bytes()).await;
    connection.write(b"\r\n").await;
    assert_eq!(connection.answer("GET").await.status, 200);
    assert_eq!(chain(&app), "192.0.2.8");
}

#[tokio::test]
async fn a_client_named_by_a_balancer_is_not_trusted() {
    let app = TestApp::with(TRUSTED).await;
    let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n";
    let forged = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n";
    exchange(&app, line, forged).await;
    assert_eq!(chain(&app), "192.0.2.7");
    // A trusted proxy behind the balancer may set the client address.
    let line = b"PROXY TCP4 127.0.0.1 10.0.0.1 5000 443\r\n";
    exchange(&app, line, forged).await;
    assert_eq!(chain(&app), "6.6.6.6, 127.0.0.1");
}

#[tokio::test]
async fn a_trusted_peer_without_a_header_is_not_served() {
    let app = TestApp::with(TRUSTED).await;
    for header in [
        &b""[..],
        b"PROXY TCP4 999.0.2.7 10.0.0.1 5000 443\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ] {
        assert_eq!(exchange(&app, header, "").await, "");
    }
    assert_eq!(app.upstream.count(), 0);
}

#[tokio::test]
async fn an_untrusted_peer_cannot_name_an_address() {
    let strangers = "[policy]\ndefault = \"public\"\n[server]\nproxy_protocol = true\n\
        trusted_proxies = [\"10.0.0.0/8\"]\n";
    let app = TestApp::with(strangers).await;
    let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n";
    for header in [&line[..], &version2([192, 0, 2, 7])] {
        let received = exchange(&app, header, "").await;
        assert!(
            received.starts_with("HTTP/1.1 400 ") || received.is_empty(),
            "{received}"
        );
    }
    assert_eq!(app.upstream.count(), 0);
    assert!(exchange(&app, b"", "").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(chain(&app), "127.0.0.1");
}

#[tokio::test]
async fn s10_a_missing_header_closes_the_connection() {
    let text = TRUSTED.replace("[server]\n", "[server]\nheader_timeout = \"1s\"\n");
    let app = TestApp::with(&text).await;
    for prefix in [&b""[..], b"PROXY TCP4 192."] {
        let mut connection = Connection::open(app.address).await;
        connection.write(prefix).await;
        assert_eq!(connection.rest().await, b"");
    }
}

#[tokio::test]
async fn s10_clients_behind_a_balancer_are_counted_by_their_own_addresses() {
    let text = TRUSTED.replace("[server]\n", "[server]\nmax_connections_per_address = 1\n");
    let app = TestApp::with(&text).await;
    let one = b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n";
    let mut kept = Connection::open(app.address).await;
    kept.write(one).await;
    kept.write(b"GET /x HTTP/1.1\r\nHost: app\r\n\r\n").await;
    assert_eq!(kept.answer("GET").await.status, 200);
    let received = exchange(&app, one, "").await;
    assert!(received.starts_with("HTTP/1.1 503 "), "{received}");
    let other = b"PROXY TCP4 192.0.2.8 10.0.0.1 5000 443\r\n";
    let received = exchange(&app, other, "").await;
    assert!(received.starts_with("HTTP/1.1 200 "));
}
