//! A handshake that does not end is closed, and plain HTTP on the TLS port gets an error.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::support::certificates::{Site, presented_certificate, tls_connect};
use crate::support::client::DEADLINE;
use crate::support::harness::TestApp;

#[tokio::test]
async fn s10_an_incomplete_handshake_closes_the_connection() {
    let site = Site::new();
    let app = TestApp::with(&site.with("handshake_timeout = \"1s\"", "")).await;
    // No bytes; the beginning of a record; single bytes at intervals.
    for prefix in [&b""[..], b"\x16\x03\x01\x02\x00"] {
        let mut stream = TcpStream::connect(app.address).await.expect("a connection");
        stream.write_all(prefix).await.expect("bytes");
        let began = Instant::now();
        let mut received = Vec::new();
        let end = timeout(DEADLINE, stream.read_to_end(&mut received)).await;
        drop(end.expect("an end in time"));
        assert!(began.elapsed() < Duration::from_secs(30));
    }
    let mut slow = TcpStream::connect(app.address).await.expect("a connection");
    slow.write_all(b"\x16\x03\x01\x02\x00")
        .await
        .expect("bytes");
    let ended = async {
        while slow.write_all(b"\x01").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(30), ended)
        .await
        .expect("an end in time");
    let page = app.admin_get("/metrics").await.text();
    assert!(page.contains("tls_handshake_failures_total 3\n"), "{page}");
    // Other clients are served, if they are fast enough.
    let deadline = Instant::now() + DEADLINE;
    while presented_certificate(app.address, "app.example.org", &site)
        .await
        .is_none()
    {
        assert!(Instant::now() < deadline, "no handshake is completed");
    }
}

#[tokio::test]
async fn s10_a_silent_client_after_the_handshake_is_closed() {
    let site = Site::new();
    let text = site.with("", "").replacen(
        "[server.tls]",
        "[server]\nheader_timeout = \"1s\"\n[server.tls]",
        1,
    );
    let app = TestApp::with(&text).await;
    for alpn in ["h2", "http/1.1"] {
        let mut stream = tls_connect(app.address, "app.example.org", site.client(), &[alpn])
            .await
            .expect("a handshake");
        let began = Instant::now();
        let mut received = Vec::new();
        let end = timeout(DEADLINE, stream.read_to_end(&mut received)).await;
        drop(end.expect("an end in time"));
        assert!(began.elapsed() < Duration::from_secs(30), "{alpn}");
    }
}

#[tokio::test]
async fn a_client_hello_may_arrive_byte_by_byte() {
    let site = Site::new();
    let app = TestApp::with(&site.with("", "")).await;
    let (near, far) = tokio::io::duplex(1);
    let to = app.address;
    let mut carrying = JoinSet::new();
    carrying.spawn(async move {
        let stream = TcpStream::connect(to).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let (mut far, mut stream) = (far, stream);
        drop(tokio::io::copy_bidirectional(&mut far, &mut stream).await);
    });
    let name = ServerName::try_from("app.example.org").expect("a name");
    let shaking = TlsConnector::from(Arc::new(site.client())).connect(name, near);
    let shaken = timeout(DEADLINE, shaking).await.expect("in time");
    assert!(shaken.is_ok(), "{shaken:?}");
}

#[tokio::test]
async fn plain_http_on_the_tls_port_gets_an_error() {
    let site = Site::new();
    let app = TestApp::with(&site.with("", "")).await;
    let received = app.raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let received = String::from_utf8_lossy(&received).into_owned();
    assert!(received.starts_with("HTTP/1.1 400 "), "{received}");
    assert!(received.ends_with("this port speaks TLS\n"), "{received}");
    assert_eq!(app.raw(b"\0\0\0\0").await, b"");
}

#[tokio::test]
async fn s10_over_tls_a_connection_too_many_is_closed_before_the_handshake() {
    let site = Site::new();
    let app = TestApp::with(&site.with("", "").replacen(
        "[server.tls]",
        "[server]\nmax_connections_per_address = 1\n[server.tls]",
        1,
    ))
    .await;
    let first = tls_connect(app.address, "app.example.org", site.client(), &[]).await;
    let second = tls_connect(app.address, "app.example.org", site.client(), &[]).await;
    assert!(first.is_ok() && second.is_err());
    drop(first);
    let address = app.address;
    let deadline = Instant::now() + DEADLINE;
    while presented_certificate(address, "app.example.org", &site)
        .await
        .is_none()
    {
        assert!(Instant::now() < deadline, "the slot is never free again");
    }
}
