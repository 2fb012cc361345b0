//! A request that is under way ends with its caller's session: its body on the way to the application,
//! the wait for an answer, an answer that comes slowly. What ends no session ends none of these.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use hyper::body::Incoming;
use sidegate::service::accounts::Named;
use sidegate::types::role::Roles;
use tokio::time::Instant;

use crate::actors::Actor;
use crate::client::{Ask, Connection};
use crate::h2::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, block, frame, get};
use crate::harness::{TestApp, until};
use crate::scripted::{head, serve};
use crate::served::{Fed, application};
use crate::websocket::app_before;

/// "Within a second", and what a busy machine adds to that. The application and the client would wait
/// for longer.
const SOON: Duration = Duration::from_secs(20);

/// The ways to end a session that differ in how the end is found out.
const WAYS: [&str; 5] = ["logout", "disable", "reuse", "expiry", "everybody"];

/// An application that answers `before` as soon as a request comes and then reads on until its
/// connection ends.
struct Patient {
    address: SocketAddr,
    came: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl Patient {
    fn start(before: &'static [u8]) -> Self {
        let counters = <[Arc<AtomicUsize>; 3]>::default();
        let [came, bytes, ended] = counters.clone();
        let address = serve(move |mut stream| {
            if head(&mut stream).is_none() {
                return;
            }
            drop(stream.write_all(before));
            counters[0].fetch_add(1, Ordering::SeqCst);
            let mut portion = [0; 1024];
            while let Ok(count @ 1..) = stream.read(&mut portion) {
                counters[1].fetch_add(count, Ordering::SeqCst);
            }
            counters[2].fetch_add(1, Ordering::SeqCst);
        });
        Self {
            address,
            came,
            bytes,
            ended,
        }
    }

    async fn has_come(&self) {
        until(|| (self.came.load(Ordering::SeqCst) == 1).then_some(())).await;
    }

    async fn has_read(&self, bytes: usize) {
        until(|| (self.bytes.load(Ordering::SeqCst) >= bytes).then_some(())).await;
    }

    async fn ended_soon(&self, since: Instant) {
        until(|| (self.ended.load(Ordering::SeqCst) == 1).then_some(())).await;
        assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    }
}

/// Ends a session this way.
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

/// The head of an upload in chunks, with its first chunk.
fn upload(ann: &Actor) -> Vec<u8> {
    let ask = Ask::new("PUT", "/upload").with("Transfer-Encoding", "chunked");
    let mut bytes = ann.dress(ask).bytes("app");
    bytes.extend_from_slice(b"5\r\nhello\r\n");
    bytes
}

#[tokio::test]
async fn an_upload_ends_with_its_session_whatever_ends_that() {
    for way in WAYS {
        let upstream = Patient::start(b"");
        let app = app_before(upstream.address, "").await;
        let ann = app.user("ann").await;
        let mut client = Connection::open(app.address).await;
        client.write(&upload(&ann)).await;
        upstream.has_read(10).await;
        end(&app, &ann, way).await;
        let ended = Instant::now();
        assert_eq!(
            client.answer("PUT").await.verdict().1,
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
async fn an_upload_over_http2_ends_with_its_session_and_the_other_streams_go_on() {
    let upstream = Patient::start(b"");
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
    let told = frames.until(HEADERS).await.expect("an answer");
    assert_eq!(told.stream, 1);
    let reset = frames
        .until(RST_STREAM)
        .await
        .expect("the end of the upload");
    assert_eq!(reset.stream, 1);
    let health = get("/auth/health", &[]);
    frames
        .write(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &health))
        .await;
    assert_eq!(frames.until(HEADERS).await.expect("an answer").stream, 3);
    let log = app.access_log(|log| log.contains("/upload 401")).await;
    assert!(log.contains("session_ended"), "{log}");
}

#[tokio::test]
async fn an_answer_that_is_waited_for_ends_with_its_session() {
    for way in WAYS {
        let upstream = Patient::start(b"");
        let app = app_before(upstream.address, "").await;
        let ann = app.user("ann").await;
        let mut client = Connection::open(app.address).await;
        let ask = ann.dress(Ask::new("GET", "/poll"));
        client.write(&ask.bytes("app")).await;
        upstream.has_come().await;
        end(&app, &ann, way).await;
        let ended = Instant::now();
        assert_eq!(
            client.answer("GET").await.verdict(),
            (401, "session_ended".to_owned())
        );
        upstream.ended_soon(ended).await;
    }
}

#[tokio::test]
async fn a_handshake_that_is_not_answered_ends_with_its_session() {
    let upstream = Patient::start(b"");
    let app = app_before(upstream.address, "").await;
    let ann = app.user("ann").await;
    let mut client = Connection::open(app.address).await;
    let ask = ann.dress(crate::websocket::handshake());
    client.write(&ask.bytes("app")).await;
    upstream.has_come().await;
    end(&app, &ann, "logout").await;
    let ended = Instant::now();
    assert_eq!(client.answer("GET").await.verdict().1, "session_ended");
    upstream.ended_soon(ended).await;
}

#[tokio::test]
async fn a_short_answer_that_drips_is_cut_with_its_session() {
    for drips in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\nab"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
    ] {
        let upstream = Patient::start(drips);
        let app = app_before(upstream.address, "").await;
        let ann = app.user("ann").await;
        let mut client = Connection::open(app.address).await;
        let ask = ann.dress(Ask::new("GET", "/drip"));
        client.write(&ask.bytes("app")).await;
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
async fn a_short_answer_that_nobody_reads_is_cut_with_its_session_over_http2() {
    let upstream = Patient::start(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\nab");
    let app = app_before(upstream.address, "").await;
    let ann = app.user("ann").await;
    let mut frames = Frames::open(app.address).await;
    frames
        .write(&frame(crate::h2::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]))
        .await;
    let bearer = format!("Bearer {}", ann.access);
    let head = get("/drip", &[("authorization", &bearer)]);
    frames
        .write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head))
        .await;
    assert!(frames.until(HEADERS).await.is_some());
    end(&app, &ann, "logout").await;
    upstream.ended_soon(Instant::now()).await;
    assert_eq!(frames.until(RST_STREAM).await.expect("a reset").stream, 1);
}

/// Counts itself for as long as it is not dropped.
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
async fn an_exchange_with_an_application_in_http2_ends_with_its_session() {
    let open = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&open);
    let port = application(None, move |request: Request<Incoming>| {
        let here = Counted::new(&counted);
        async move {
            let _here = here;
            let mut body = request.into_body();
            while let Some(Ok(_)) = http_body_util::BodyExt::frame(&mut body).await {}
            std::future::pending::<Response<Fed>>().await
        }
    });
    let app = TestApp::with(&format!("[upstream]\nurl = \"h2c://127.0.0.1:{port}\"\n")).await;
    app.account("ann", &[]).await;
    for begin in [upload as fn(&Actor) -> Vec<u8>, |ann| {
        ann.dress(Ask::new("GET", "/poll")).bytes("app")
    }] {
        let ann = app.login("ann").await;
        let mut client = Connection::open(app.address).await;
        client.write(&begin(&ann)).await;
        until(|| (open.load(Ordering::SeqCst) == 1).then_some(())).await;
        end(&app, &ann, "logout").await;
        let ended = Instant::now();
        assert_eq!(client.answer("GET").await.verdict().1, "session_ended");
        until(|| (open.load(Ordering::SeqCst) == 0).then_some(())).await;
        assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
    }
}

#[tokio::test]
async fn neither_a_refresh_nor_changed_roles_end_an_exchange() {
    let upstream = Patient::start(b"");
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
    assert_eq!(client.answer("PUT").await.verdict().1, "session_ended");
}

#[tokio::test]
async fn who_calls_without_a_session_is_bound_to_none() {
    let upstream = Patient::start(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\nab");
    let optional = "[policy]\ndefault = \"optional\"\n";
    let app = app_before(upstream.address, optional).await;
    let ann = app.user("ann").await;
    let mut unbound = Connection::open(app.address).await;
    let mut bound = Connection::open(app.address).await;
    let ask = Ask::new("GET", "/drip");
    unbound.write(&ask.bytes("app")).await;
    bound.write(&ann.dress(ask).bytes("app")).await;
    for client in [&mut unbound, &mut bound] {
        assert_eq!(client.only_head().await.status, 200);
        assert_eq!(client.read(2).await, b"ab");
    }
    end(&app, &ann, "disable").await;
    assert_eq!(bound.rest().await, b"", "cut with its session");
    assert!(!unbound.hears_within(Duration::ZERO).await);
    assert!(app.service().streams().is_empty());
}

/// What an application sends before it ends the connection within its answer.
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
            // One packet, with the end of the connection.
            socket2::SockRef::from(&stream).set_tcp_cork(true).unwrap();
            drop(stream.write_all(fault.as_bytes()));
        });
        let app = app_before(upstream, "[policy]\ndefault = \"public\"\n").await;
        let answer = app.anon().get("/broken").await;
        assert_eq!(
            answer.verdict(),
            (502, "upstream_bad_response".to_owned()),
            "{fault}"
        );
        let log = app.access_log(|log| log.contains("/broken")).await;
        assert!(log.contains("/broken 502"), "{log}");
    }
}

#[tokio::test]
async fn a_reset_right_behind_the_head_is_a_502() {
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
        let app = app_before(upstream, "[policy]\ndefault = \"public\"\n").await;
        assert_eq!(app.anon().get("/reset").await.verdict().0, 502, "{length}");
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
    assert_eq!(app.anon().get("/broken").await.verdict().0, 502);
}

/// A body that fails at once.
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
async fn the_head_of_an_answer_does_not_wait_for_a_body_that_does_not_come() {
    for head in [
        &b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ] {
        let upstream = Patient::start(head);
        let app = app_before(upstream.address, "[policy]\ndefault = \"public\"\n").await;
        let mut client = Connection::open(app.address).await;
        client.write(&Ask::new("GET", "/slow").bytes("app")).await;
        assert_eq!(client.only_head().await.status, 200);
        assert_eq!(upstream.ended.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn the_access_log_tells_an_answer_that_was_cut_from_a_whole_one() {
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
    let app = app_before(upstream, "[policy]\ndefault = \"public\"\n").await;
    assert_eq!(app.anon().get("/whole").await.status, 200);
    let mut client = Connection::open(app.address).await;
    client.write(&Ask::new("GET", "/part").bytes("app")).await;
    assert_eq!(client.only_head().await.status, 200);
    assert!(client.rest().await.len() < 90_000);
    let log = app.access_log(|log| log.contains("/part")).await;
    let is_cut = |path: &str| {
        let line = log.lines().find(|line| line.contains(path));
        line.expect("a line").ends_with(" cut")
    };
    assert!(is_cut("/part") && !is_cut("/whole"), "{log}");
}
