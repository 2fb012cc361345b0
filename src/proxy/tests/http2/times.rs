//! Which limit ends a silent exchange over HTTP/2? The upstreams here never send anything more, so short limits
//! cannot race.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::timeout;

use super::{Asked, call, fed, multiplexed, serving};
use crate::proxy::tests::{get, send};
use crate::proxy::{ClientFault, Proxy, Settings, UpstreamError};

const SHORT: Duration = Duration::from_millis(20);

/// An upstream that sends this part of an answer, and nothing after it.
async fn silent_after(start: Option<Response<()>>) -> u16 {
    serving(100, move |mut asked: Asked| {
        let start = start.clone();
        async move {
            let stream = start.map(|head| {
                let mut stream = asked.respond.send_response(head, false).unwrap();
                stream.send_data(Bytes::from("abc"), false).unwrap();
                stream
            });
            std::future::pending::<()>().await;
            drop((asked, stream));
        }
    })
    .await
}

fn patient(port: u16) -> Settings {
    Settings {
        response_timeout: Duration::ZERO,
        stream_idle_timeout: Duration::ZERO,
        ..multiplexed(port)
    }
}

fn known() -> Response<()> {
    let head = Response::builder().header("content-length", "9");
    head.body(()).unwrap()
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_a_timeout() {
    let settings = Settings {
        response_timeout: SHORT,
        ..patient(silent_after(None).await)
    };
    let proxy = Proxy::new(&settings).unwrap();
    let error = send(&proxy, get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout), "{error:?}");
    assert_eq!(proxy.stats().idle, 1, "only the stream is given up");
}

#[tokio::test]
async fn a_call_has_the_stream_timeout_and_not_the_response_timeout() {
    let port = silent_after(None).await;
    let settings = Settings {
        response_timeout: SHORT,
        ..patient(port)
    };
    let proxy = Proxy::new(&settings).unwrap();
    let waiting = timeout(SHORT * 4, send(&proxy, call(Full::from("x"))));
    assert!(waiting.await.is_err(), "the proxy gave up by itself");
    let settings = Settings {
        stream_idle_timeout: SHORT,
        ..patient(port)
    };
    let proxy = Proxy::new(&settings).unwrap();
    let error = send(&proxy, call(Full::from("x"))).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout), "{error:?}");
}

#[tokio::test]
async fn a_call_with_a_deadline_gets_one_more_second() {
    let proxy = Proxy::new(&patient(silent_after(None).await)).unwrap();
    let (_pieces, body) = fed();
    let mut request = call(body);
    let limit = http::HeaderValue::from_static("10m");
    request.headers_mut().insert("grpc-timeout", limit);
    let begin = tokio::time::Instant::now();
    let error = send(&proxy, request).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout), "{error:?}");
    assert!(begin.elapsed() >= Duration::from_millis(1010));
}

#[tokio::test]
async fn the_deadline_of_a_call_cannot_exceed_the_configured_timeout() {
    let settings = Settings {
        stream_idle_timeout: SHORT,
        ..patient(silent_after(None).await)
    };
    let proxy = Proxy::new(&settings).unwrap();
    let mut request = call(Full::from("x"));
    let hours = http::HeaderValue::from_static("99999999H");
    request.headers_mut().insert("grpc-timeout", hours);
    let answered = timeout(Duration::from_secs(60), send(&proxy, request)).await;
    let error = answered.expect("an end in time").unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout), "{error:?}");
}

#[tokio::test]
async fn a_sized_body_times_out_when_silent_and_a_stream_does_not() {
    let idle = |settings| Proxy::with_idle_limit(&settings, SHORT).unwrap();
    let proxy = idle(patient(silent_after(Some(known())).await));
    let response = send(&proxy, get("/")).await.unwrap();
    let error = response.into_body().collect().await.unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout), "{error:?}");

    let port = silent_after(Some(Response::new(()))).await;
    let response = send(&idle(patient(port)), get("/")).await.unwrap();
    let reading = timeout(SHORT * 4, response.into_body().collect());
    assert!(reading.await.is_err(), "the stream was cut");

    let settings = Settings {
        stream_idle_timeout: SHORT,
        ..patient(port)
    };
    let proxy = Proxy::new(&settings).unwrap();
    let response = send(&proxy, get("/")).await.unwrap();
    let error = response.into_body().collect().await.unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout), "{error:?}");
}

#[tokio::test]
async fn a_stalled_request_body_is_a_client_error_unless_it_is_a_call() {
    let port = silent_after(None).await;
    let proxy = Proxy::with_idle_limit(&patient(port), SHORT).unwrap();
    let (_pieces, body) = fed();
    let request = Request::post("/").body(body).unwrap();
    let error = send(&proxy, request).await.unwrap_err();
    let stalled = matches!(error, UpstreamError::ClientBody(ClientFault::Stalled));
    assert!(stalled, "{error:?}");
    let (_pieces, body) = fed();
    let waiting = timeout(SHORT * 4, send(&proxy, call(body)));
    assert!(waiting.await.is_err(), "the proxy gave up by itself");
}
