//! What is open when the process is told to end: each kind is told in its own way, and nothing is
//! waited for that need not be.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Ask, Connection, begun};
use crate::h2::{END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame, get};
use crate::harness::{TestApp, until};
use crate::live_h2::{Heard, Next, Talk};
use crate::scripted::{head, serve};
use crate::served::application;
use crate::websocket::{app_before, echo, handshake, shake};

const AWAY: &[u8] = b"\x88\x0c\x03\xe9going away";

/// Much less than `drain_timeout`, which is 30 s here.
const SOON: Duration = Duration::from_secs(15);

/// Answers `/events` with an event and then nothing; anything else in two halves, the second when
/// the test says so.
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

/// Ends the app, and says how long that took.
async fn stopped(app: TestApp) -> Duration {
    let began = Instant::now();
    app.stop().await;
    began.elapsed()
}

#[tokio::test]
async fn websockets_of_both_versions_are_told_and_hold_nothing_up() {
    let app = app_before(echo(), "").await;
    let ann = app.user("ann").await;
    let (socket, _) = shake(&ann, handshake()).await;
    let mut talk = Talk::open(app.address).await;
    let other = talk.socket(&ann).await;
    app.running().stop();
    assert_eq!(socket.rest().await, AWAY);
    assert_eq!(other.rest().await, AWAY);
    let took = stopped(app).await;
    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn event_streams_end_for_their_clients_come_again() {
    let (upstream, _go) = half();
    for access in ["user", "public"] {
        let app = app_before(upstream, &format!("[policy]\ndefault = {access:?}\n")).await;
        let ann = app.user("ann").await;
        let mut plain = Connection::open(app.address).await;
        let ask = ann.dress(Ask::new("GET", "/events"));
        plain.write(&ask.bytes("app")).await;
        plain.only_head().await;
        assert_eq!(plain.read(14).await, b"9\r\ndata: 1\n\n\r\n");
        let mut talk = Talk::open(app.address).await;
        let mut heard = talk.get(&ann, "/events").await;
        assert_eq!(heard.next().await, Next::Data("data: 1\n\n".into()));
        app.running().stop();
        assert_eq!(plain.rest().await, b"0\r\n\r\n");
        assert_eq!(heard.next().await, Next::End);
        let took = stopped(app).await;
        assert!(took < SOON, "{access}: {took:?}");
    }
}

#[tokio::test]
async fn events_that_answer_a_post_have_an_end_that_is_waited_for() {
    let (upstream, _go) = half();
    let app = app_before(upstream, "[server]\ndrain_timeout = \"1s\"\n").await;
    let ann = app.user("ann").await;
    let mut asking = Connection::open(app.address).await;
    let ask = ann.dress(Ask::new("POST", "/events").body("text/plain", "hi"));
    asking.write(&ask.bytes("app")).await;
    asking.only_head().await;
    asking.read(14).await;
    app.running().stop();
    // Cut by drain_timeout, never ended as if it were whole.
    assert_eq!(asking.rest().await, b"");
    app.stop().await;
}

#[tokio::test]
async fn a_download_is_finished_and_then_the_process_goes() {
    for is_http2 in [false, true] {
        let (upstream, go) = half();
        let app = app_before(upstream, "").await;
        let ann = app.user("ann").await;
        if is_http2 {
            let mut talk = Talk::open(app.address).await;
            let mut heard = talk.get(&ann, "/film").await;
            assert_eq!(heard.next().await, Next::Data("ab".into()));
            app.running().stop();
            go.send(()).expect("an application");
            assert_eq!(heard.next().await, Next::Data("cd".into()));
            assert_eq!(heard.next().await, Next::End);
            talk.ends().await;
        } else {
            let mut asking = Connection::open(app.address).await;
            asking
                .write(&ann.dress(Ask::new("GET", "/film")).bytes("app"))
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
async fn a_call_is_cut_when_its_time_is_over() {
    let app = calling("1s").await;
    let ann = app.user("ann").await;
    let mut talk = Talk::open(app.address).await;
    let (_held, request) = talk.call(&ann, "/svc/Watch");
    let mut watch = Heard(talk.send(request).await);
    assert!(matches!(watch.next().await, Next::Data(_)));
    app.running().stop();
    assert_eq!(watch.next().await, Next::Cut);
    app.stop().await;
}

/// In front of an application of calls.
async fn calling(drain_timeout: &str) -> TestApp {
    let port = application(None, crate::live_h2::play);
    TestApp::with(&format!(
        "[upstream]\nurl = \"h2c://127.0.0.1:{port}\"\n\
         [server]\ndrain_timeout = {drain_timeout:?}\n"
    ))
    .await
}

#[tokio::test]
async fn a_call_goes_on_until_it_ends() {
    let app = calling("10m").await;
    let ann = app.user("ann").await;
    let mut talk = Talk::open(app.address).await;
    let (feeder, request) = talk.call(&ann, "/svc/Chat");
    let mut chat = Heard(talk.send(request).await);
    assert!(matches!(chat.next().await, Next::Data(_)));
    app.running().stop();
    // After GOAWAY what is open is still carried.
    let more = bytes::Bytes::from_static(b"\0\0\0\0\x01!");
    let said = http_body::Frame::data(more.clone());
    feeder.send(said).expect("a call");
    assert_eq!(chat.next().await, Next::Data(more));
    drop(feeder);
    assert_eq!(chat.next().await, Next::End);
    let took = stopped(app).await;
    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn while_it_drains_streams_go_on_and_are_begun() {
    let app = app_before(echo(), "[server]\ndrain_delay = \"10m\"\n").await;
    let ann = app.user("ann").await;
    let mut talk = Talk::open(app.address).await;
    let mut socket = talk.socket(&ann).await;
    app.running().stop();
    until(|| {
        let phase = app.running().lifecycle().phase();
        (phase == sidegate::server::lifecycle::Phase::Ending).then_some(())
    })
    .await;
    socket.echoes(b"\x82\x80\0\0\0\0").await;
    let bytes = ann.dress(handshake()).bytes("app");
    let mut fresh = begun(|| Connection::open(app.address), &bytes).await;
    assert_eq!(fresh.only_head().await.status, 101);
    // Of HTTP/2 as well: its first request is answered, a second one belongs on another connection.
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, b""));
    let ask = get("/auth/health", &[]);
    bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, 1, &ask));
    let fresh = begun(|| Connection::open(app.address), &bytes).await;
    let heard = String::from_utf8_lossy(&fresh.rest().await).into_owned();
    assert!(heard.contains("{\"status\":\"ok\"}"), "{heard:?}");
}
