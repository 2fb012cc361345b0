//! A request in progress ends with its session: while its body is sent, while it waits, and while a slow
//! answer arrives. Other events, such as a refresh, do not end it.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use sidegate::service::accounts::Named;
use sidegate::types::role::Roles;
use tokio::time::Instant;

use crate::support::actors::Actor;
use crate::support::client::{Connection, TestRequest};
use crate::support::h2::{
    DATA, END_HEADERS, Frames, HEADERS, RST_STREAM, WHOLE, block, frame, get,
};
use crate::support::harness::TestApp;
use crate::support::hyper_app::{ChannelBody, application};
use crate::support::plan::ALL_PUBLIC;
use crate::support::scripted::{head, serve};
use crate::support::silent_app::{SOON, SilentApp};
use crate::support::wait::until;
use crate::support::websocket::app_before;

/// The ways to end a session that are detected differently.
const WAYS: [&str; 5] = ["logout", "disable", "reuse", "expiry", "everybody"];

/// Ends a session in this way.
async fn end(app: &TestApp, ann: &Actor, way: &str) {
    match way {
        "logout" => assert_eq!(ann.logout().await.status, 204),
        "disable" => {
            let named = Named::parse("ann").unwrap();
            app.service().operator_disable(&named).await.unwrap();
        }
        "reuse" => {
            let mut first = ann.clone();
            first.refresh().await;
            first.refresh().await;
            assert_eq!(ann.try_refresh().await.status, 401);
        }
        "everybody" => drop(app.service().operator_end_all().await.unwrap()),
        _ => app.clock.advance(Duration::from_secs(8 * 24 * 3_600)),
    }
}

/// The head of a chunked upload, with its first chunk.
fn upload(ann: &Actor) -> Vec<u8> {
    let request = TestRequest::new("PUT", "/upload").with("Transfer-Encoding", "chunked");
    let mut bytes = ann.with_credentials(request).bytes("app");
    bytes.extend_from_slice(b"5\r\nhello\r\n");
    bytes
}

#[tokio::test]
async fn an_upload_ends_with_its_session_for_every_cause() {
    for way in WAYS {
        let upstream = SilentApp::start(b"");
        let app = app_before(upstream.address, "").await;
        let ann = app.user("ann").await;
        let mut client = Connection::open(app.address).await;
        client.write(&upload(&ann)).await;
        upstream.has_read(10).await;
        end(&app, &ann, way).await;
        let ended = Instant::now();
        assert_eq!(
            client.answer("PUT").await.refusal().1,
            "session_ended",
            "{way}"
        );
        upstream.ended_soon(ended).await;
        let log = app.access_log(|log| log.contains("/upload")).await;
        assert!(log.contains("session_ended"), "{way}: {log}");
        assert!(app.service().streams().is_empty(), "{way}");
    }
}

#[tokio::test]
async fn an_upload_over_http2_ends_with_its_session_and_the_other_streams_continue() {
    let upstream = SilentApp::start(b"");
    let app = app_before(upstream.address, "").await;
    let ann = app.user("ann").await;
    let mut frames = Frames::open(app.address).await;
    let bearer = format!("Bearer {}", ann.access);
    let put = block(&[
        (":method", "PUT"),
        (":scheme", "http"),
        (":authority", "app"),
        (":path", "/upload"),
        ("authorization", &bearer),
    ]);
    frames.write(&frame(HEADERS, END_HEADERS, 1, &put)).await;
    frames.write(&frame(DATA, 0, 1, b"hello")).await;
    upstream.has_read(10).await;
    end(&app, &ann, "logout").await;
    let ended = Instant::now();
    upstream.ended_soon(ended).await;
    let received = frames.until(HEADERS).await.expect("an answer");
    assert_eq!(received.stream, 1);
    let reset = frames
        .until(RST_STREAM)
        .await
        .expect("the end of the upload");
    assert_eq!(reset.stream, 1);
    let health = get("/auth/health", &[]);
    frames.write(&frame(HEADERS, WHOLE, 3, &health)).await;
    assert_eq!(frames.until(HEADERS).await.expect("an answer").stream, 3);
    let log = app.access_log(|log| log.contains("/upload 401")).await;
    assert!(log.contains("session_ended"), "{log}");
}

#[tokio::test]
async fn a_request_that_waits_for_an_answer_ends_with_its_session() {
    for way in WAYS {
        let upstream = SilentApp::start(b"");
        let app = app_before(upstream.address, "").await;
        let ann = app.user("ann").await;
        let mut client = Connection::open(app.address).await;
        let request = ann.with_credentials(TestRequest::new("GET", "/poll"));
        client.write(&request.bytes("app")).await;
        upstream.has_request().await;
        end(&app, &ann, way).await;
        let ended = Instant::now();
        assert_eq!(
            client.answer("GET").await.refusal(),
            (401, "session_ended".to_owned())
        );
        upstream.ended_soon(ended).await;
    }
}

#[tokio::test]
async fn a_handshake_that_is_not_answered_ends_with_its_session() {
    let upstream = SilentApp::start(b"");
    let app = app_before(upstream.address, "").await;
    let ann = app.user("ann").await;
    let mut client = Connection::open(app.address).await;
    let request = ann.with_credentials(crate::support::websocket::handshake());
    client.write(&request.bytes("app")).await;
    upstream.has_request().await;
    end(&app, &ann, "logout").await;
    let ended = Instant::now();
    assert_eq!(client.answer("GET").await.refusal().1, "session_ended");
    upstream.ended_soon(ended).await;
}

#[tokio::test]
async fn a_slow_short_answer_is_cut_with_its_session() {
    for drips in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\nab"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
    ] {
        let upstream = SilentApp::start(drips);
        let app = app_before(upstream.address, "").await;
        let ann = app.user("ann").await;
        let mut client = Connection::open(app.address).await;
        let request = ann.with_credentials(TestRequest::new("GET", "/drip"));
        client.write(&request.bytes("app")).await;
        assert_eq!(client.only_head().await.status, 200);
        assert_eq!(client.read(2).await, b"ab");
        end(&app, &ann, "disable").await;
        let ended = Instant::now();
        upstream.ended_soon(ended).await;
        assert_eq!(client.rest().await, b"");
        let log = app.access_log(|log| log.contains("/drip")).await;
        assert!(log.contains("session_ended"), "{log}");
    }
}

#[tokio::test]
async fn an_unread_short_answer_over_http2_is_cut_with_its_session() {
    let upstream = SilentApp::start(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\nab");
    let app = app_before(upstream.address, "").await;
    let ann = app.user("ann").await;
    let mut frames = Frames::open(app.address).await;
    frames
        .write(&frame(
            crate::support::h2::SETTINGS,
            0,
            0,
            &[0, 4, 0, 0, 0, 0],
        ))
        .await;
    let bearer = format!("Bearer {}", ann.access);
    let head = get("/drip", &[("authorization", &bearer)]);
    frames.write(&frame(HEADERS, WHOLE, 1, &head)).await;
    assert!(frames.until(HEADERS).await.is_some());
    end(&app, &ann, "logout").await;
    upstream.ended_soon(Instant::now()).await;
    assert_eq!(frames.until(RST_STREAM).await.expect("a reset").stream, 1);
}

/// Counts the values that are alive.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_request_to_an_application_in_http2_ends_with_its_session() {
    let open = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&open);
    let port = application(None, move |request: Request<Incoming>| {
        let here = Counted::new(&counted);
        async move {
            let _here = here;
            let mut body = request.into_body();
            while let Some(Ok(_)) = http_body_util::BodyExt::frame(&mut body).await {}
            std::future::pending::<Response<ChannelBody>>().await
        }
    });
    let app = TestApp::with(&format!("[upstream]\nurl = \"h2c://127.0.0.1:{port}\"\n")).await;
    app.account("ann", &[]).await;
    for begin in [upload as fn(&Actor) -> Vec<u8>, |ann| {
        ann.with_credentials(TestRequest::new("GET", "/poll"))
            .bytes("app")
    }] {
        let ann = app.login("ann").await;
        let mut client = Connection::open(app.address).await;
        client.write(&begin(&ann)).await;
        until(|| (open.load(Ordering::SeqCst) == 1).then_some(())).await;
        end(&app, &ann, "logout").await;
        let ended = Instant::now();
        assert_eq!(client.answer("GET").await.refusal().1, "session_ended");
        until(|| (open.load(Ordering::SeqCst) == 0).then_some(())).await;
        assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
    }
}

#[tokio::test]
async fn neither_a_refresh_nor_changed_roles_end_a_request() {
    let upstream = SilentApp::start(b"");
    let app = app_before(upstream.address, "").await;
    let mut ann = app.user("ann").await;
    let mut client = Connection::open(app.address).await;
    client.write(&upload(&ann)).await;
    upstream.has_read(10).await;
    until(|| (app.service().streams().len() == 1).then_some(())).await;
    let named = Named::parse("ann").unwrap();
    let roles = Roles::new([]).unwrap();
    app.service()
        .operator_set_roles(&named, roles)
        .await
        .unwrap();
    ann.refresh().await;
    client.write(b"6\r\nlonger\r\n").await;
    upstream.has_read(21).await;
    assert_eq!(app.service().streams().len(), 1);
    end(&app, &ann, "logout").await;
    assert_eq!(client.answer("PUT").await.refusal().1, "session_ended");
}

#[tokio::test]
async fn a_request_without_a_session_is_not_bound_to_one() {
    let upstream = SilentApp::start(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\nab");
    let optional = "[policy]\ndefault = \"optional\"\n";
    let app = app_before(upstream.address, optional).await;
    let ann = app.user("ann").await;
    let mut unbound = Connection::open(app.address).await;
    let mut bound = Connection::open(app.address).await;
    let request = TestRequest::new("GET", "/drip");
    unbound.write(&request.bytes("app")).await;
    bound
        .write(&ann.with_credentials(request).bytes("app"))
        .await;
    for client in [&mut unbound, &mut bound] {
        assert_eq!(client.only_head().await.status, 200);
        assert_eq!(client.read(2).await, b"ab");
    }
    end(&app, &ann, "disable").await;
    assert_eq!(bound.rest().await, b"", "cut with its session");
    assert!(!unbound.receives_within(Duration::ZERO).await);
    assert!(app.service().streams().is_empty());
}

#[tokio::test]
async fn the_access_log_marks_an_answer_that_was_cut() {
    let upstream = serve(|mut stream| {
        while let Some(head) = head(&mut stream) {
            let length = if head.starts_with("GET /whole") {
                20_000
            } else {
                90_000
            };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            drop(stream.write_all(&[answer.as_bytes(), &vec![b'x'; 20_000]].concat()));
            if length > 20_000 {
                return;
            }
        }
    });
    let app = app_before(upstream, ALL_PUBLIC).await;
    assert_eq!(app.anon().get("/whole").await.status, 200);
    let mut client = Connection::open(app.address).await;
    client
        .write(&TestRequest::new("GET", "/part").bytes("app"))
        .await;
    assert_eq!(client.only_head().await.status, 200);
    assert!(client.rest().await.len() < 90_000);
    let log = app.access_log(|log| log.contains("/part")).await;
    let is_cut = |path: &str| {
        let line = log.lines().find(|line| line.contains(path));
        line.expect("a line").ends_with(" cut")
    };
    assert!(is_cut("/part") && !is_cut("/whole"), "{log}");
}
