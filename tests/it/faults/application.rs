//! The application fails: the caller gets a 502 or 504 in the format that it reads, without delay.

use crate::support::client::{Connection, TestRequest};
use crate::support::harness::TestApp;
use crate::support::scripted::{ManualApp, RefusingPort, public_upstream};
use crate::support::upstream::Raw;

#[tokio::test]
async fn an_unreachable_application_is_502_in_the_format_the_client_accepts() {
    let nobody = RefusingPort::new();
    let address = nobody.address;
    let app = TestApp::with(&public_upstream(address)).await;
    let answer = app.anon().get("/x").await;
    assert_eq!(answer.refusal(), (502, "upstream_unreachable".to_owned()));
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert!(
        !answer.text().contains(&address.to_string()),
        "the inside stays inside"
    );
    for accept in ["text/html,application/xhtml+xml,*/*;q=0.8", "text/plain"] {
        let answer = app.anon().with_header("Accept", accept).get("/x").await;
        assert_eq!(answer.status, 502);
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert!(
            answer.text().starts_with("502 Bad Gateway: "),
            "{}",
            answer.text()
        );
    }
    let both = app
        .anon()
        .with_header("Accept", "text/html, application/json")
        .get("/x")
        .await;
    assert_eq!(both.code(), "upstream_unreachable");
    let head = app.anon().send(TestRequest::new("HEAD", "/x")).await;
    assert_eq!((head.status, head.body.len()), (502, 0));
}

#[tokio::test]
async fn an_application_that_does_not_answer_is_504() {
    let upstream = ManualApp::start();
    let settings = public_upstream(upstream.address) + "response_timeout = \"100ms\"\n";
    let app = TestApp::with(&settings).await;
    let mut connection = Connection::open(app.address).await;
    let answer = connection.get("/x").await;
    assert_eq!(answer.refusal(), (504, "upstream_timeout".to_owned()));
    let answer = connection.get("/auth/health").await;
    assert_eq!(
        answer.status, 200,
        "the connection of the client stays open"
    );
}

#[tokio::test]
async fn an_application_that_does_not_speak_http_is_502_and_gets_no_second_request() {
    for script in [
        &b"<html>hello</html>"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nX-A : 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 99 Odd\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-",
    ] {
        let upstream = Raw::start(vec![script.to_vec()]);
        let app = TestApp::with(&public_upstream(upstream.address)).await;
        let words = String::from_utf8_lossy(script).into_owned();
        let answer = app.anon().post_empty("/x").await;
        assert_eq!(
            answer.refusal(),
            (502, "upstream_bad_response".to_owned()),
            "{words}"
        );
        assert!(!answer.text().contains("hello"), "{words}");
        assert_eq!(upstream.take_heads().len(), 1, "{words}");
    }
}

#[tokio::test]
async fn s17_bytes_after_an_answer_never_reach_the_next_client() {
    let upstream = Raw::start(vec![
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"
            .to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine".to_vec(),
    ]);
    let app = TestApp::with(&(public_upstream(upstream.address) + "[server]\nthreads = 1\n")).await;
    assert_eq!(app.anon().get("/1").await.text(), "ok");
    assert_eq!(app.anon().get("/2").await.text(), "mine");
}
