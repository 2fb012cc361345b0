//! How fast the body of a forwarded request must come. The one test takes as long as the window is that
//! the rate is averaged over.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sidegate::tls::provider;
use tokio::time::Instant;

use crate::client::{Answer, Connection, DEADLINE};
use crate::h2::{DATA, END_HEADERS, END_STREAM, Frame, Frames, HEADERS, block, frame};
use crate::harness::TestApp;
use crate::scripted::serve;
use crate::site::Authority;

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_told_so() {
    let app = TestApp::with("[policy]\ndefault = \"public\"\n").await;
    // Over HTTP/1.1 a content type makes no call of gRPC, which might be quiet.
    let grpc = trickle(&app, "Content-Type: application/grpc\r\n");
    let (plain, grpc, chosen) = tokio::join!(trickle(&app, ""), grpc, trickle_to_http1());
    assert_eq!(plain.verdict(), (408, "request_timeout".to_owned()));
    assert_eq!(plain.header("connection"), Some("close"));
    assert_eq!(grpc.header("grpc-status"), Some("4"));
    assert_eq!(chosen.flags, END_HEADERS | END_STREAM, "{chosen:?}");
}

/// An application that may speak HTTP/2, and chooses 1.1.
fn application(authority: &Authority) -> SocketAddr {
    let (certificate, key) = authority.signs(&["localhost"], "server");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key);
    let mut config = config.expect("a configuration");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    serve(move |stream| {
        let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
        let mut stream = StreamOwned::new(session, stream);
        drop(io::copy(&mut stream, &mut io::sink()));
    })
}

/// The end of a call over HTTP/2 whose bytes come one by one, to an application that chose HTTP/1.1: there
/// it is no stream that may be quiet.
async fn trickle_to_http1() -> Frame {
    let authority = Authority::new();
    let address = application(&authority);
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).expect("a file");
    let app = TestApp::with(&format!(
        "[policy]\ndefault = \"public\"\n[upstream]\nurl = \"https://localhost:{}\"\ntls.ca = {ca:?}\n",
        address.port()
    ))
    .await;
    let mut frames = Frames::open(app.address).await;
    let lines = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/a"),
        (":authority", "app"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let head = frame(HEADERS, END_HEADERS, 1, &block(&lines));
    frames.write(&head).await;
    let deadline = Instant::now() + DEADLINE;
    loop {
        frames.write(&frame(DATA, 0, 1, b"x")).await;
        assert!(Instant::now() < deadline, "a trickle is let pass");
        if frames.hears_within(Duration::from_millis(200)).await {
            let frame = frames.read().await.expect("an answer");
            if frame.kind == HEADERS {
                return frame;
            }
        }
    }
}

/// What a client is told in the end that sends five bytes a second.
async fn trickle(app: &TestApp, lines: &str) -> Answer {
    let head = format!("POST /a HTTP/1.1\r\nHost: app\r\n{lines}Content-Length: 100000\r\n\r\n");
    let mut slow = Connection::open(app.address).await;
    slow.write(head.as_bytes()).await;
    let deadline = Instant::now() + DEADLINE;
    while !slow.hears_within(Duration::from_millis(200)).await {
        assert!(Instant::now() < deadline, "a trickle is let pass");
        slow.write(b"x").await;
    }
    let answer = slow.answer("POST").await;
    assert_eq!(slow.rest().await, b"");
    answer
}
