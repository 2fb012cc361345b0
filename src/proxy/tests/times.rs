//! Which limit ends a silent exchange? The upstreams here never send anything more, so short limits cannot race.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;

use super::{End, Scripted, get, read_head, send, settings, upstream};
use crate::proxy::{ClientFault, Proxy, UpstreamError};

const SHORT: Duration = Duration::from_millis(20);

/// An upstream that sends this much and then keeps its connections open.
fn silent_after(start: &'static str) -> u16 {
    let mut held: Vec<TcpStream> = Vec::new();
    upstream(move |_, mut stream| {
        read_head(&mut stream);
        stream.write_all(start.as_bytes()).unwrap();
        held.push(stream);
    })
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_a_timeout() {
    for start in [
        "",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
    ] {
        let mut settings = settings(silent_after(start));
        settings.response_timeout = SHORT;
        let proxy = Proxy::new(&settings).unwrap();
        let error = send(&proxy, get("/")).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Timeout), "{error:?}");
        assert_eq!(proxy.stats().open, 0);
    }
}

#[tokio::test]
async fn a_client_that_stops_sending_gets_a_timeout() {
    let proxy = Proxy::with_idle_limit(&settings(silent_after("")), SHORT).unwrap();
    let request = Request::post("/")
        .body(Scripted::new(&["abc"], Some(9), End::Never))
        .unwrap();
    let error = send(&proxy, request).await.unwrap_err();
    assert!(
        matches!(error, UpstreamError::ClientBody(ClientFault::Stalled)),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_body_that_stalls_is_cut_with_an_error() {
    let start = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
    let proxy = Proxy::with_idle_limit(&settings(silent_after(start)), SHORT).unwrap();
    let response = send(&proxy, get("/")).await.unwrap();
    let error = response.into_body().collect().await.unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout), "{error:?}");
    assert_eq!(proxy.stats().open, 0);
}

#[tokio::test]
async fn an_answer_of_unknown_length_has_the_stream_timeout() {
    for start in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n",
    ] {
        let port = silent_after(start);
        let proxy = Proxy::with_idle_limit(&settings(port), SHORT).unwrap();
        let response = send(&proxy, get("/")).await.unwrap();
        let reading = tokio::time::timeout(SHORT * 4, response.into_body().collect());
        assert!(reading.await.is_err(), "the stream was cut");

        let mut settings = settings(port);
        settings.stream_idle_timeout = SHORT;
        let proxy = Proxy::new(&settings).unwrap();
        let response = send(&proxy, get("/")).await.unwrap();
        let error = response.into_body().collect().await.unwrap_err();
        assert!(matches!(error, UpstreamError::Timeout), "{error:?}");
    }
}

#[tokio::test]
async fn without_a_response_timeout_the_wait_is_unlimited() {
    let mut settings = settings(silent_after(""));
    settings.response_timeout = Duration::ZERO;
    let proxy = Proxy::with_idle_limit(&settings, SHORT).unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(60), send(&proxy, get("/")));
    assert!(waiting.await.is_err(), "the proxy gave up by itself");
}
