//! The four kinds of gRPC calls, and calls that end early.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use tokio::sync::{Notify, oneshot};

use super::{Asked, call, fed, proxy, reset, serving};
use crate::proxy::UpstreamError;
use crate::proxy::tests::{End, Scripted, get, send, text};

fn ok() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-user-id", HeaderValue::from_static("root"));
    trailers
}

#[tokio::test]
async fn a_unary_call_is_answered_with_the_trailers_of_the_application() {
    let port = serving(100, |mut asked: Asked| async move {
        assert_eq!(asked.request.headers()["te"], "trailers");
        let (body, trailers) = asked.body().await;
        assert_eq!((body.as_str(), trailers), ("ping", None));
        let mut stream = asked.begin();
        stream.send_data(Bytes::from("pong"), false).unwrap();
        stream.send_trailers(ok()).unwrap();
    })
    .await;
    let proxy = proxy(port);
    for _ in 0..2 {
        let response = send(&proxy, call(Full::from("ping"))).await.unwrap();
        let body = response.into_body().collect().await.unwrap();
        let trailers = body.trailers().unwrap();
        assert_eq!(trailers.len(), 1);
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(body.to_bytes(), "pong");
    }
    let stats = proxy.stats();
    assert_eq!((stats.created, stats.reused, stats.idle), (1, 1, 1));
}

#[tokio::test]
async fn an_answer_of_trailers_only_ends_with_its_head() {
    let port = serving(100, |asked: Asked| async move {
        let answer = Response::builder().header("grpc-status", "5");
        asked.answer(answer.body(()).unwrap(), "");
    })
    .await;
    let response = send(&proxy(port), call(Full::from("x"))).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "5");
    assert!(response.body().is_end_stream());
}

#[tokio::test]
async fn both_sides_stream_at_the_same_time() {
    let port = serving(100, |mut asked: Asked| async move {
        let mut stream = asked.begin();
        while let Some(piece) = asked.request.body_mut().data().await {
            stream.send_data(piece.unwrap(), false).unwrap();
        }
        stream.send_trailers(ok()).unwrap();
    })
    .await;
    let proxy = proxy(port);
    let (pieces, body) = fed();
    let mut response = send(&proxy, call(body)).await.unwrap();
    for piece in ["one", "two", "three"] {
        pieces.send(Bytes::from(piece)).await.unwrap();
        let frame = response.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    drop(pieces);
    let frame = response.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "0");
    assert!(response.frame().await.is_none());
}

#[tokio::test]
async fn a_caller_that_disconnects_resets_only_its_stream() {
    let (tell, told) = oneshot::channel();
    let tell = Arc::new(std::sync::Mutex::new(Some(tell)));
    let port = serving(100, move |mut asked: Asked| {
        let tell = Arc::clone(&tell);
        async move {
            if asked.request.uri().path() == "/" {
                return asked.answer(Response::new(()), "hello");
            }
            let mut stream = asked.begin();
            stream.send_data(Bytes::from("first"), false).unwrap();
            let reason = reset(&mut stream).await;
            let tell = tell.lock().unwrap().take();
            tell.unwrap().send(reason).unwrap();
        }
    })
    .await;
    let proxy = proxy(port);
    let (_pieces, body) = fed();
    let mut response = send(&proxy, call(body)).await.unwrap();
    response.frame().await.unwrap().unwrap();
    drop(response);
    assert_eq!(told.await.unwrap(), Reason::CANCEL);
    let response = send(&proxy, get("/")).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");
    assert_eq!(proxy.stats().created, 1);
}

#[tokio::test]
async fn a_caller_that_disconnects_before_the_head_resets_the_stream_too() {
    let came = Arc::new(Notify::new());
    let (tell, told) = oneshot::channel();
    let tell = Arc::new(std::sync::Mutex::new(Some(tell)));
    let port = serving(100, {
        let came = Arc::clone(&came);
        move |mut asked: Asked| {
            let (came, tell) = (Arc::clone(&came), Arc::clone(&tell));
            async move {
                came.notify_one();
                let gone = std::future::poll_fn(|cx| asked.respond.poll_reset(cx)).await;
                let tell = tell.lock().unwrap().take();
                tell.unwrap().send(gone.unwrap()).unwrap();
            }
        }
    })
    .await;
    let proxy = proxy(port);
    tokio::select! {
        _ = send(&proxy, call(Full::from("x"))) => panic!("there is no answer"),
        () = came.notified() => {}
    }
    assert_eq!(told.await.unwrap(), Reason::CANCEL);
}

#[tokio::test]
async fn the_reason_of_a_reset_is_forwarded() {
    let heard = Arc::new(Notify::new());
    let awaited = Arc::clone(&heard);
    let port = serving(100, move |mut asked: Asked| {
        let heard = Arc::clone(&awaited);
        async move {
            let mut stream = asked.begin();
            heard.notified().await;
            stream.send_reset(Reason::ENHANCE_YOUR_CALM);
        }
    })
    .await;
    let response = send(&proxy(port), get("/")).await.unwrap();
    heard.notify_one();
    let error = response.into_body().collect().await.unwrap_err();
    let cause = error.source().and_then(<dyn Error>::downcast_ref);
    let reason = cause.and_then(h2::Error::reason);
    assert_eq!(reason, Some(Reason::ENHANCE_YOUR_CALM), "{error:?}");
}

#[tokio::test]
async fn a_reset_before_the_head_is_no_answer() {
    let port = serving(100, |mut asked: Asked| async move {
        asked.respond.send_reset(Reason::INTERNAL_ERROR);
    })
    .await;
    let proxy = proxy(port);
    let error = send(&proxy, get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Http2(_)), "{error:?}");
    assert_eq!(proxy.stats().retried, 0);
}

#[tokio::test]
async fn trailers_of_a_request_are_dropped() {
    let port = serving(100, |mut asked: Asked| async move {
        let (body, trailers) = asked.body().await;
        assert_eq!((body.as_str(), trailers), ("abc", None));
        asked.answer(Response::new(()), "hello");
    })
    .await;
    let mut body = Scripted::new(&["abc"], None, End::Clean);
    body.frames.push_back(http_body::Frame::trailers(ok()));
    let request = Request::post("/").body(body).unwrap();
    let response = send(&proxy(port), request).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_body_that_differs_from_its_length_is_a_client_error() {
    let port = serving(100, |mut asked: Asked| async move {
        std::future::poll_fn(|cx| asked.respond.poll_reset(cx))
            .await
            .unwrap();
    })
    .await;
    let proxy = proxy(port);
    for (pieces, declared, end) in [
        (&["abc"][..], Some(9), End::Clean),
        (&["abcdef", "ghij"][..], Some(9), End::Clean),
        (&["abc"][..], None, End::Error),
    ] {
        let body = Scripted::new(pieces, declared, end);
        let request = Request::post("/").body(body).unwrap();
        let error = send(&proxy, request).await.unwrap_err();
        assert!(matches!(error, UpstreamError::ClientBody(_)), "{error:?}");
    }
}
