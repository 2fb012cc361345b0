//! An answer that breaks off is never forwarded as a complete one. Before its head it becomes a 502.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use hyper::body::Incoming;

use crate::support::client::{Connection, TestRequest};
use crate::support::harness::TestApp;
use crate::support::hyper_app::application;
use crate::support::plan::ALL_PUBLIC;
use crate::support::scripted::{head, serve};
use crate::support::silent_app::SilentApp;
use crate::support::websocket::app_before;

/// The bytes that an application sends before it closes the connection within its answer.
const FAULTS: [&str; 5] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
    "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
];

#[tokio::test]
async fn a_fault_in_the_first_packets_of_an_answer_is_a_502() {
    for fault in FAULTS {
        let upstream = serve(move |mut stream| {
            drop(head(&mut stream));
            // One packet that also closes the connection.
            socket2::SockRef::from(&stream).set_tcp_cork(true).unwrap();
            drop(stream.write_all(fault.as_bytes()));
        });
        let app = app_before(upstream, ALL_PUBLIC).await;
        let answer = app.anon().get("/broken").await;
        assert_eq!(
            answer.refusal(),
            (502, "upstream_bad_response".to_owned()),
            "{fault}"
        );
        let log = app.access_log(|log| log.contains("/broken")).await;
        assert!(log.contains("/broken 502"), "{log}");
    }
}

#[tokio::test]
async fn a_reset_directly_after_the_head_is_a_502() {
    for length in [
        "Content-Length: 5\r\n",
        "",
        "Transfer-Encoding: chunked\r\n",
    ] {
        let upstream = serve(move |mut stream| {
            drop(head(&mut stream));
            let linger = Some(Duration::ZERO);
            socket2::SockRef::from(&stream).set_linger(linger).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\n{length}\r\n");
            drop(stream.write_all(head.as_bytes()));
        });
        let app = app_before(upstream, ALL_PUBLIC).await;
        assert_eq!(app.anon().get("/reset").await.refusal().0, 502, "{length}");
    }
}

#[tokio::test]
async fn a_stream_of_an_application_in_http2_that_is_reset_at_once_is_a_502() {
    let port = application(None, |_request: Request<Incoming>| async {
        Response::new(Broken)
    });
    let text =
        format!("[policy]\ndefault = \"public\"\n[upstream]\nurl = \"h2c://127.0.0.1:{port}\"\n");
    let app = TestApp::with(&text).await;
    assert_eq!(app.anon().get("/broken").await.refusal().0, 502);
}

/// A body that fails on the first read.
struct Broken;

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(Some(Err(std::io::ErrorKind::Other.into())))
    }
}

#[tokio::test]
async fn the_head_of_an_answer_does_not_wait_for_a_delayed_body() {
    for head in [
        &b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ] {
        let upstream = SilentApp::start(head);
        let app = app_before(upstream.address, ALL_PUBLIC).await;
        let mut client = Connection::open(app.address).await;
        client.write(&TestRequest::new("GET", "/slow").bytes("app")).await;
        assert_eq!(client.only_head().await.status, 200);
        assert_eq!(upstream.ended.load(Ordering::SeqCst), 0);
    }
}
