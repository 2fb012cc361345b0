//! Sessions, rules, cookies and log-in over HTTP/2 are the same as over HTTP/1.1.

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::Full;
use tokio::time::Instant;

use crate::support::client::DEADLINE;
use crate::support::h2::{
    Client, END_HEADERS, Frames, GOAWAY, HEADERS, RST_STREAM, SETTINGS, WHOLE, block, frame, get,
};
use crate::support::harness::{PASSWORD, TestApp};
use crate::support::plan::ALL_PUBLIC;
use crate::support::scripted::{ManualApp, public_upstream};

fn request(target: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::get(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).expect("a request")
}

#[tokio::test]
async fn a_session_works_over_http2_as_over_http1() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let mut client = Client::open(app.address).await;
    let at = format!("http://{}/orders/7?x=1", app.address);
    let refused = client.get(&at).await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.version(), Version::HTTP_2);
    let bearer = format!("Bearer {}", ann.access);
    for _ in 0..3 {
        let headers = [
            ("authorization", bearer.as_str()),
            ("x-user-id", "root"),
            ("te", "trailers"),
        ];
        let answer = client
            .request(request(&at, &headers))
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
        for name in ["connection", "keep-alive", "transfer-encoding"] {
            assert!(!answer.headers().contains_key(name), "{name}");
        }
    }
    let heads = app.upstream.take_heads();
    assert_eq!(heads.len(), 3);
    let head = String::from_utf8_lossy(&heads[0]).to_lowercase();
    assert!(head.starts_with("get /orders/7?x=1 http/1.1\r\n"), "{head}");
    let host = format!("\r\nhost: {}\r\n", app.address);
    assert!(head.contains(&host), "{head}");
    assert!(!head.contains("root"), "{head}");
}

#[tokio::test]
async fn a_body_passes_in_both_directions() {
    let app = TestApp::with(ALL_PUBLIC).await;
    let mut client = Client::open(app.address).await;
    let at = format!("http://{}/upload", app.address);
    let body = Bytes::from(vec![b'x'; 1 << 20]);
    let request = Request::post(&at).body(Full::new(body));
    let answer = client.request(request.expect("a request")).await;
    assert_eq!(answer.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_log_in_works_over_http2() {
    let app = TestApp::start().await;
    app.account("ann", &["user"]).await;
    let mut client = Client::open(app.address).await;
    let at = format!("http://{}/auth/login", app.address);
    let body = format!(r#"{{"identifier":"ann","password":"{PASSWORD}"}}"#);
    let request = Request::post(&at)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)));
    let answer = client.request(request.expect("a request")).await;
    let answer = answer.expect("an answer");
    let received = String::from_utf8_lossy(answer.body()).into_owned();
    assert_eq!(answer.status(), 200, "{received}");
    assert!(received.contains("accessToken"), "{received}");
}

#[tokio::test]
async fn the_host_of_http2_is_its_authority_and_a_host_header_must_agree() {
    let app = TestApp::with(ALL_PUBLIC).await;
    let mut client = Client::open(app.address).await;
    let at = format!("http://{}/", app.address);
    let received = client
        .request(request(&at, &[("host", "evil.example.org")]))
        .await;
    assert_eq!(received.expect("an answer").status(), 400);
    assert_eq!(app.upstream.count(), 0);
}

#[tokio::test]
async fn split_cookie_headers_are_one_cookie_header() {
    let app = TestApp::with(ALL_PUBLIC).await;
    let mut client = Client::open(app.address).await;
    let at = format!("http://{}/", app.address);
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2")];
    let answer = client
        .request(request(&at, &crumbs))
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    let heads = app.upstream.take_heads();
    let head = String::from_utf8_lossy(&heads[0]).to_lowercase();
    assert!(head.contains("\r\ncookie: a=1; b=2\r\n"), "{head}");
}

#[tokio::test]
async fn connection_headers_are_refused_over_http2() {
    let app = TestApp::with(ALL_PUBLIC).await;
    for line in [
        ("connection", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
    ] {
        let mut frames = Frames::open(app.address).await;
        let request = frame(HEADERS, WHOLE, 1, &get("/", &[line]));
        frames.write(&request).await;
        let received = frames.until(RST_STREAM).await;
        assert!(received.is_some(), "{line:?}");
    }
    assert_eq!(app.upstream.count(), 0);
}

#[tokio::test]
async fn connect_makes_no_tunnel() {
    let app = TestApp::with(ALL_PUBLIC).await;
    let mut frames = Frames::open(app.address).await;
    let lines = block(&[(":method", "CONNECT"), (":authority", "other:22")]);
    frames.write(&frame(HEADERS, END_HEADERS, 1, &lines)).await;
    let answer = frames.until(HEADERS).await.expect("an answer");
    assert_eq!(answer.stream, 1);
    assert_eq!(app.upstream.count(), 0);
}

#[tokio::test]
async fn at_a_stop_a_stream_is_finished_and_the_client_gets_goaway() {
    let upstream = ManualApp::start();
    let app = TestApp::with(&public_upstream(upstream.address)).await;
    let mut frames = Frames::open(app.address).await;
    frames
        .write(&frame(HEADERS, WHOLE, 1, &get("/", &[])))
        .await;
    upstream.next_request().await;
    app.running().stop();
    assert!(frames.until(GOAWAY).await.is_some());
    upstream.answer("HTTP/1.1 204 No Content\r\n\r\n");
    let answer = frames.until(HEADERS).await.expect("the answer");
    assert_eq!(answer.stream, 1);
    frames.ends().await;
    app.stop().await;
}

#[tokio::test]
async fn an_http2_connection_is_counted_until_it_is_closed() {
    let app = TestApp::with("[server]\nmax_connections_per_address = 1\n").await;
    let mut client = Client::open(app.address).await;
    let at = format!("http://{}/auth/health", app.address);
    assert_eq!(client.get(&at).await.status(), 200);
    let mut second = Frames::silent(app.address).await;
    second.ends().await;
    drop(client);
    let mut served = false;
    let deadline = Instant::now() + DEADLINE;
    while !served {
        assert!(Instant::now() < deadline, "the slot is never free again");
        let mut third = Frames::open(app.address).await;
        served = third.until(SETTINGS).await.is_some();
    }
}

#[tokio::test]
async fn s8_the_rest_of_a_refused_body_is_reset() {
    let app = TestApp::start().await;
    let mut frames = Frames::open(app.address).await;
    let list = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "app"),
        (":path", "/orders"),
    ]);
    frames.write(&frame(HEADERS, END_HEADERS, 1, &list)).await;
    assert!(frames.until(HEADERS).await.is_some());
    let reset = frames.until(RST_STREAM).await.expect("a reset");
    assert_eq!((reset.stream, reset.payload), (1, vec![0; 4]));
}

#[tokio::test]
async fn every_stream_has_a_line_in_the_access_log() {
    let app = TestApp::start().await;
    let mut client = Client::open(app.address).await;
    let at = format!("http://{}/auth/health?secret=1", app.address);
    client.get(&at).await;
    let log = app.access_log(|log| log.contains("/auth/health")).await;
    assert!(!log.contains("secret"), "{log}");
}
