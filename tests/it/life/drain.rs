//! A stop and open streams: each kind is closed in its own way, and only what must finish is waited for.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::client::{Connection, TestRequest, send_until_answered};
use crate::support::h2::{END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame, get};
use crate::support::h2_client::{BodyPart, H2Answer, H2Client};
use crate::support::harness::TestApp;
use crate::support::hyper_app::application;
use crate::support::scripted::{head, serve};
use crate::support::wait::until;
use crate::support::websocket::{app_before, echo, handshake, send_handshake};

const AWAY: &[u8] = b"\x88\x0c\x03\xe9going away";

/// Much less than the `drain_timeout` of 30 s.
const SOON: Duration = Duration::from_secs(15);

/// Answers `/events` with one event and no end; any other path in two halves, the second when the test
/// sends it.
fn half() -> (SocketAddr, std::sync::mpsc::Sender<()>) {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let address = serve(move |mut stream| {
        while let Some(head) = head(&mut stream) {
            if head.contains("/events") {
                let begun =
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
                drop(stream.write_all(begun));
                while let Ok(1..) = stream.read(&mut [0; 64]) {}
                return;
            }
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"));
            wait.lock().expect("a word").recv().ok();
            drop(stream.write_all(b"cd"));
        }
    });
    (address, go)
}

/// Stops the app; returns how long that took.
async fn stopped(app: TestApp) -> Duration {
    let began = Instant::now();
    app.stop().await;
    began.elapsed()
}

#[tokio::test]
async fn websockets_of_both_versions_are_closed_and_do_not_delay_the_stop() {
    let app = app_before(echo(), "").await;
    let ann = app.user("ann").await;
    let (socket, _) = send_handshake(&ann, handshake()).await;
    let mut client = H2Client::open(app.address).await;
    let other = client.socket(&ann).await;
    app.running().stop();
    assert_eq!(socket.rest().await, AWAY);
    assert_eq!(other.rest().await, AWAY);
    let took = stopped(app).await;
    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn event_streams_end_so_that_clients_reconnect() {
    let (upstream, _go) = half();
    for access in ["user", "public"] {
        let app = app_before(upstream, &format!("[policy]\ndefault = {access:?}\n")).await;
        let ann = app.user("ann").await;
        let mut plain = Connection::open(app.address).await;
        let request = ann.with_credentials(TestRequest::new("GET", "/events"));
        plain.write(&request.bytes("app")).await;
        plain.only_head().await;
        assert_eq!(plain.read(14).await, b"9\r\ndata: 1\n\n\r\n");
        let mut client = H2Client::open(app.address).await;
        let mut received = client.get(&ann, "/events").await;
        assert_eq!(received.next().await, BodyPart::Data("data: 1\n\n".into()));
        app.running().stop();
        assert_eq!(plain.rest().await, b"0\r\n\r\n");
        assert_eq!(received.next().await, BodyPart::End);
        let took = stopped(app).await;
        assert!(took < SOON, "{access}: {took:?}");
    }
}

#[tokio::test]
async fn events_that_answer_a_post_are_finished() {
    let (upstream, _go) = half();
    let app = app_before(upstream, "[server]\ndrain_timeout = \"1s\"\n").await;
    let ann = app.user("ann").await;
    let mut asking = Connection::open(app.address).await;
    let request =
        ann.with_credentials(TestRequest::new("POST", "/events").body("text/plain", "hi"));
    asking.write(&request.bytes("app")).await;
    asking.only_head().await;
    asking.read(14).await;
    app.running().stop();
    // It is cut at the `drain_timeout`, and does not look complete.
    assert_eq!(asking.rest().await, b"");
    app.stop().await;
}

#[tokio::test]
async fn a_download_is_finished_before_the_process_exits() {
    for is_http2 in [false, true] {
        let (upstream, go) = half();
        let app = app_before(upstream, "").await;
        let ann = app.user("ann").await;
        if is_http2 {
            let mut client = H2Client::open(app.address).await;
            let mut received = client.get(&ann, "/film").await;
            assert_eq!(received.next().await, BodyPart::Data("ab".into()));
            app.running().stop();
            go.send(()).expect("an application");
            assert_eq!(received.next().await, BodyPart::Data("cd".into()));
            assert_eq!(received.next().await, BodyPart::End);
            client.ends().await;
        } else {
            let mut asking = Connection::open(app.address).await;
            asking
                .write(
                    &ann.with_credentials(TestRequest::new("GET", "/film"))
                        .bytes("app"),
                )
                .await;
            asking.only_head().await;
            assert_eq!(asking.read(2).await, b"ab");
            app.running().stop();
            go.send(()).expect("an application");
            assert_eq!(asking.rest().await, b"cd");
        }
        let took = stopped(app).await;
        assert!(took < SOON, "{took:?}");
    }
}

#[tokio::test]
async fn a_call_is_cut_at_the_drain_timeout() {
    let app = calling("1s").await;
    let ann = app.user("ann").await;
    let mut client = H2Client::open(app.address).await;
    let (_held, request) = client.call(&ann, "/svc/Watch");
    let mut watch = H2Answer(client.send(request).await);
    assert!(matches!(watch.next().await, BodyPart::Data(_)));
    app.running().stop();
    assert_eq!(watch.next().await, BodyPart::Cut);
    app.stop().await;
}

/// Sidegate in front of an application of gRPC calls.
async fn calling(drain_timeout: &str) -> TestApp {
    let port = application(None, crate::support::h2_app::play);
    TestApp::with(&format!(
        "[upstream]\nurl = \"h2c://127.0.0.1:{port}\"\n\
         [server]\ndrain_timeout = {drain_timeout:?}\n"
    ))
    .await
}

#[tokio::test]
async fn a_call_continues_until_it_ends() {
    let app = calling("10m").await;
    let ann = app.user("ann").await;
    let mut client = H2Client::open(app.address).await;
    let (feeder, request) = client.call(&ann, "/svc/Chat");
    let mut chat = H2Answer(client.send(request).await);
    assert!(matches!(chat.next().await, BodyPart::Data(_)));
    app.running().stop();
    // After GOAWAY open streams continue.
    let more = bytes::Bytes::from_static(b"\0\0\0\0\x01!");
    let message = http_body::Frame::data(more.clone());
    feeder.send(message).expect("a call");
    assert_eq!(chat.next().await, BodyPart::Data(more));
    drop(feeder);
    assert_eq!(chat.next().await, BodyPart::End);
    let took = stopped(app).await;
    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn during_a_drain_delay_streams_continue_and_can_be_opened() {
    let app = app_before(echo(), "[server]\ndrain_delay = \"10m\"\n").await;
    let ann = app.user("ann").await;
    let mut client = H2Client::open(app.address).await;
    let mut socket = client.socket(&ann).await;
    app.running().stop();
    until(|| {
        let phase = app.running().lifecycle().phase();
        (phase == sidegate::net::lifecycle::Phase::Ending).then_some(())
    })
    .await;
    socket.echoes(b"\x82\x80\0\0\0\0").await;
    let bytes = ann.with_credentials(handshake()).bytes("app");
    let mut fresh = send_until_answered(|| Connection::open(app.address), &bytes).await;
    assert_eq!(fresh.only_head().await.status, 101);
    // The same for HTTP/2: the first request is answered, a second one must use another connection.
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, b""));
    let request = get("/auth/health", &[]);
    bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, 1, &request));
    let fresh = send_until_answered(|| Connection::open(app.address), &bytes).await;
    let received = String::from_utf8_lossy(&fresh.rest().await).into_owned();
    assert!(received.contains("{\"status\":\"ok\"}"), "{received:?}");
}
