//! An answer cannot outlive its session: answers that begin late, never pause, or follow a declined
//! handshake.

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::support::client::{Connection, TestRequest};
use crate::support::scripted::{head, serve};
use crate::support::wait::until;
use crate::support::websocket::{app_before, handshake};

/// An application that declines handshakes and streams events without end.
const EVENTS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";

#[tokio::test]
async fn s30_the_answer_to_a_declined_handshake_ends_with_its_session() {
    let upstream = serve(|mut stream| {
        while head(&mut stream).is_some() {
            drop(stream.write_all(EVENTS));
        }
    });
    let app = app_before(upstream, "").await;
    let ann = app.user("ann").await;
    let mut stream = Connection::open(app.address).await;
    stream
        .write(&ann.with_credentials(handshake()).bytes("app"))
        .await;
    assert_eq!(stream.only_head().await.status, 200);
    assert_eq!(stream.read(14).await, b"9\r\ndata: 1\n\n\r\n");
    assert_eq!(ann.sessions().await[0]["openStreams"], 1);
    assert_eq!(ann.logout().await.status, 204);
    assert_eq!(stream.read(5).await, b"0\r\n\r\n");
    until(|| app.service().streams().is_empty().then_some(())).await;
}

#[tokio::test]
async fn s30_an_answer_that_begins_after_the_end_of_its_session_is_cut() {
    const LENGTH: usize = 64 << 20;
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let (sender, received) = channel();
    let sender = Mutex::new(sender);
    let upstream = serve(move |mut stream| {
        drop(head(&mut stream));
        sender.lock().unwrap().send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
        drop(stream.write_all(&[head.as_bytes(), &vec![0; LENGTH]].concat()));
    });
    let app = app_before(upstream, "").await;
    let ann = app.user("ann").await;
    let mut stream = Connection::open(app.address).await;
    let request = ann.with_credentials(TestRequest::new("GET", "/export"));
    stream.write(&request.bytes("app")).await;
    until(|| received.try_recv().ok()).await;
    assert_eq!(ann.logout().await.status, 204);
    go.send(()).unwrap();
    let got = stream.rest().await.len();
    assert!(got < 4096, "{got} bytes of an answer after the log-out");
}

#[tokio::test]
async fn s30_an_answer_that_never_pauses_ends_when_its_session_expires() {
    let upstream = serve(|mut stream| {
        drop(head(&mut stream));
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n"));
        let portion = vec![b'x'; 64 * 1024];
        while stream.write_all(&portion).is_ok() {}
    });
    let app = app_before(upstream, "[sessions]\nlifetime = \"2h\"\n").await;
    let ann = app.user("ann").await;
    let mut stream = Connection::open(app.address).await;
    let request = ann.with_credentials(TestRequest::new("GET", "/endless"));
    stream.write(&request.bytes("app")).await;
    assert_eq!(stream.only_head().await.status, 200);
    stream.read(16 << 20).await;
    app.clock.advance(Duration::from_secs(7_201));
    stream.rest().await;
}
