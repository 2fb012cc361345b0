//! The minimum rate of the body of a forwarded request. The test takes as long as the window of the
//! average.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sidegate::tls::provider;
use tokio::time::Instant;

use crate::support::answer::Answer;
use crate::support::certificates::Authority;
use crate::support::client::{Connection, DEADLINE};
use crate::support::h2::{DATA, END_HEADERS, Frame, Frames, HEADERS, WHOLE, block, frame};
use crate::support::harness::TestApp;
use crate::support::plan::ALL_PUBLIC;
use crate::support::scripted::serve;

#[tokio::test]
async fn a_body_below_the_minimum_rate_times_out() {
    let app = TestApp::with(ALL_PUBLIC).await;
    // Over HTTP/1.1 a content type does not make a gRPC call, which could be silent.
    let grpc = trickle(&app, "Content-Type: application/grpc\r\n");
    let (plain, grpc, chosen) = tokio::join!(trickle(&app, ""), grpc, trickle_to_http1());
    assert_eq!(plain.refusal(), (408, "request_timeout".to_owned()));
    assert_eq!(plain.header("connection"), Some("close"));
    assert_eq!(grpc.header("grpc-status"), Some("4"));
    assert_eq!(chosen.flags, WHOLE, "{chosen:?}");
}

/// An application that offers HTTP/2 and selects HTTP/1.1.
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

/// The end of a call over HTTP/2 whose bytes arrive singly, to an application that selected HTTP/1.1: it
/// is not a stream that may be silent.
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
        if frames.receives_within(Duration::from_millis(200)).await {
            let frame = frames.read().await.expect("an answer");
            if frame.kind == HEADERS {
                return frame;
            }
        }
    }
}

/// The final answer to a client that sends five bytes a second.
async fn trickle(app: &TestApp, lines: &str) -> Answer {
    let head = format!("POST /a HTTP/1.1\r\nHost: app\r\n{lines}Content-Length: 100000\r\n\r\n");
    let mut slow = Connection::open(app.address).await;
    slow.write(head.as_bytes()).await;
    let deadline = Instant::now() + DEADLINE;
    while !slow.receives_within(Duration::from_millis(200)).await {
        assert!(Instant::now() < deadline, "a trickle is let pass");
        slow.write(b"x").await;
    }
    let answer = slow.answer("POST").await;
    assert_eq!(slow.rest().await, b"");
    answer
}
