//! A client that does not read cannot keep a stream of an ended session open, over HTTP/1.1 and HTTP/2.

use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::support::client::{Connection, TestRequest};
use crate::support::h2::{DATA, Frames, HEADERS, RST_STREAM, SETTINGS, WHOLE, frame, get};
use crate::support::h2_app::app_before;
use crate::support::h2_app::play;
use crate::support::hyper_app::application;
use crate::support::scripted::{head, serve};
use crate::support::wait::until;
use crate::support::websocket;

/// One second is required, the rest allows for a busy machine. A stalled write would take much longer.
const SOON: Duration = Duration::from_secs(20);

/// An application that sends without end until the client closes.
struct EndlessApp {
    address: SocketAddr,
    /// The number of its open answers.
    open: Arc<AtomicUsize>,
    /// The number of consecutive writes without progress.
    stuck: Arc<AtomicUsize>,
}

impl EndlessApp {
    fn start(head_of_answer: &'static str) -> Self {
        let (open, stuck) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let (counted, waited) = (Arc::clone(&open), Arc::clone(&stuck));
        let address = serve(move |mut stream| {
            if head(&mut stream).is_none() {
                return;
            }
            counted.fetch_add(1, Ordering::SeqCst);
            let patience = Some(Duration::from_millis(300));
            stream.set_write_timeout(patience).expect("a socket");
            let mut rest = head_of_answer.as_bytes().to_vec();
            loop {
                match stream.write(&rest) {
                    Ok(0) => break,
                    Ok(_) => {
                        waited.store(0, Ordering::SeqCst);
                        rest = vec![b'x'; 65_536];
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        waited.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(_) => break,
                }
            }
            counted.fetch_sub(1, Ordering::SeqCst);
        });
        Self {
            address,
            open,
            stuck,
        }
    }

    /// Waits until all buffers up to the client are full.
    async fn is_stuck(&self) {
        until(|| (self.stuck.load(Ordering::SeqCst) > 4).then_some(())).await;
    }

    /// Waits until no answer is open, which must be soon.
    async fn ends_soon(&self) {
        let began = Instant::now();
        until(|| (self.open.load(Ordering::SeqCst) == 0).then_some(())).await;
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn s30_a_client_of_http_1_1_that_reads_nothing_loses_its_connection() {
    for answer in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
    ] {
        let upstream = EndlessApp::start(answer);
        let app = websocket::app_before(upstream.address, "").await;
        let ann = app.user("ann").await;
        let mut stuck = Connection::open(app.address).await;
        stuck
            .write(
                &ann.with_credentials(TestRequest::new("GET", "/pour"))
                    .bytes("app"),
            )
            .await;
        upstream.is_stuck().await;
        assert_eq!(ann.logout().await.status, 204);
        upstream.ends_soon().await;
        let log = app.access_log(|log| log.contains("/pour")).await;
        assert_eq!(log.matches("/pour").count(), 1, "{log}");
        // The end of an event stream may be queued behind the stalled bytes.
        if !answer.contains("event-stream") {
            let rest = stuck.rest().await;
            assert!(!rest.ends_with(b"0\r\n\r\n"), "it looks whole");
        }
    }
}

#[tokio::test]
async fn s30_a_client_that_reads_nothing_is_cut_when_its_session_expires() {
    let upstream = EndlessApp::start("HTTP/1.1 200 OK\r\n\r\n");
    let app = websocket::app_before(upstream.address, "[sessions]\nlifetime = \"2h\"\n").await;
    let ann = app.user("ann").await;
    let mut stuck = Connection::open(app.address).await;
    stuck
        .write(
            &ann.with_credentials(TestRequest::new("GET", "/pour"))
                .bytes("app"),
        )
        .await;
    upstream.is_stuck().await;
    until(|| (app.service().streams().len() == 1).then_some(())).await;
    app.clock.advance(Duration::from_secs(7_201));
    upstream.ends_soon().await;
}

#[tokio::test]
async fn s30_a_websocket_whose_client_reads_nothing_is_cut() {
    let upstream = EndlessApp::start(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    let app = websocket::app_before(upstream.address, "").await;
    let ann = app.user("ann").await;
    let (_socket, answer) = websocket::send_handshake(&ann, websocket::handshake()).await;
    assert_eq!(answer.status, 101);
    upstream.is_stuck().await;
    assert_eq!(ann.logout().await.status, 204);
    upstream.ends_soon().await;
}

#[tokio::test]
async fn s30_an_answer_to_a_declined_handshake_ends_with_its_session_too() {
    let upstream = EndlessApp::start("HTTP/1.1 200 OK\r\n\r\n");
    let app = websocket::app_before(upstream.address, "").await;
    let ann = app.user("ann").await;
    let (reading, answer) = websocket::send_handshake(&ann, websocket::handshake()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(ann.logout().await.status, 204);
    upstream.ends_soon().await;
    let rest = reading.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it looks whole");
}

#[tokio::test]
async fn s30_a_stream_with_a_closed_window_is_reset_and_the_others_continue() {
    let app = app_before(application(None, play), "").await;
    app.account("ann", &[]).await;
    let bob = app.user("bob").await;
    for window in [0_u32, 1, 65_535] {
        let ann = app.login("ann").await;
        let mut frames = Frames::open(app.address).await;
        let [a, b, c, d] = window.to_be_bytes();
        frames
            .write(&frame(SETTINGS, 0, 0, &[0, 4, a, b, c, d]))
            .await;
        let bearer = format!("Bearer {}", ann.access);
        let others = format!("Bearer {}", bob.access);
        for (stream, bearer) in [(1, &others), (3, &bearer)] {
            let head = get("/pour", &[("authorization", bearer)]);
            frames.write(&frame(HEADERS, WHOLE, stream, &head)).await;
        }
        until(|| (app.service().streams().len() == 2).then_some(())).await;
        assert_eq!(ann.logout().await.status, 204);
        let ended = Instant::now();
        let reset = frames.until(RST_STREAM).await.expect("a reset");
        assert_eq!(reset.stream, 3, "window {window}");
        assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
        assert_eq!(app.service().streams().len(), 1);
        let health = get("/auth/nothing", &[]);
        frames.write(&frame(HEADERS, WHOLE, 5, &health)).await;
        let answer = frames.until(HEADERS).await.expect("an answer");
        assert_eq!(answer.stream, 5);
        drop(frames);
        until(|| app.service().streams().is_empty().then_some(())).await;
    }
}

#[tokio::test]
async fn s30_an_event_stream_with_a_closed_window_ends_too() {
    let app = app_before(application(None, play), "").await;
    let ann = app.user("ann").await;
    let mut frames = Frames::open(app.address).await;
    frames
        .write(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]))
        .await;
    let bearer = format!("Bearer {}", ann.access);
    let head = get("/events", &[("authorization", &bearer)]);
    frames.write(&frame(HEADERS, WHOLE, 1, &head)).await;
    until(|| (app.service().streams().len() == 1).then_some(())).await;
    assert_eq!(ann.logout().await.status, 204);
    until(|| app.service().streams().is_empty().then_some(())).await;
    let received = loop {
        let frame = frames.read().await.expect("a frame");
        if frame.kind == RST_STREAM || frame.kind == DATA {
            break frame;
        }
    };
    assert!(received.kind == RST_STREAM, "{received:?}");
}
