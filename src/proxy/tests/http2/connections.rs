//! How many connections are made, how are they shared, and what happens to requests when they end?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::Builder;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinSet;

use super::{Asked, beside, call, listening, multiplexed, next, proxy, serving};
use crate::proxy::tests::{get, send, text};
use crate::proxy::{Proxy, Settings, UpstreamError};

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;

/// Sends this many requests at once, and returns the bodies of their answers.
async fn at_once(proxy: &Arc<Proxy>, count: usize) -> Vec<Result<String, UpstreamError>> {
    let mut all = JoinSet::new();
    for _ in 0..count {
        let proxy = Arc::clone(proxy);
        all.spawn(async move { text(send(&proxy, get("/")).await?).await });
    }
    all.join_all().await
}

/// A server that answers with the number of the connection, once this many requests have arrived.
async fn waiting_for(all: usize, streams: u32) -> u16 {
    let barrier = Arc::new(Barrier::new(all));
    serving(streams, move |mut asked: Asked| {
        let barrier = Arc::clone(&barrier);
        async move {
            barrier.wait().await;
            let number = asked.connection.to_string();
            let mut stream = asked.begin();
            stream.send_data(Bytes::from(number), true).unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn sixty_four_requests_at_once_share_one_connection() {
    let proxy = Arc::new(proxy(waiting_for(64, 100).await));
    let answers = at_once(&proxy, 64).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap() == "0"));
    let stats = proxy.stats();
    assert_eq!((stats.created, stats.open, stats.idle), (1, 1, 1));
}

#[tokio::test]
async fn further_connections_are_made_when_the_first_is_full() {
    let proxy = Arc::new(proxy(waiting_for(8, 4).await));
    let mut answers: Vec<_> = (at_once(&proxy, 8).await.into_iter())
        .map(Result::unwrap)
        .collect();
    answers.sort();
    assert_eq!(answers.concat(), "00001111");
    assert_eq!(proxy.stats().created, 2);
}

#[tokio::test]
async fn when_all_are_full_a_request_waits_and_is_then_refused() {
    let go = Arc::new(Notify::new());
    let came = Arc::new(Notify::new());
    let port = serving(1, {
        let (go, came) = (Arc::clone(&go), Arc::clone(&came));
        move |asked: Asked| {
            let (go, came) = (Arc::clone(&go), Arc::clone(&came));
            async move {
                came.notify_one();
                go.notified().await;
                asked.answer(Response::new(()), "hello");
            }
        }
    })
    .await;
    let settings = Settings {
        max_connections: 1,
        queue_timeout: Duration::from_millis(20),
        ..multiplexed(port)
    };
    let proxy = Arc::new(Proxy::new(&settings).unwrap());
    let first = send(&proxy, get("/"));
    let second = async {
        came.notified().await;
        let error = send(&proxy, get("/")).await.unwrap_err();
        assert!(
            matches!(error, UpstreamError::Overloaded { .. }),
            "{error:?}"
        );
        go.notify_one();
    };
    let (first, ()) = tokio::join!(first, second);
    assert_eq!(text(first.unwrap()).await.unwrap(), "hello");

    let settings = Settings {
        max_connections: 1,
        ..multiplexed(port)
    };
    let proxy = Arc::new(Proxy::new(&settings).unwrap());
    let releasing = async {
        for _ in 0..5 {
            came.notified().await;
            go.notify_one();
        }
    };
    let (answers, ()) = tokio::join!(at_once(&proxy, 5), releasing);
    assert!(answers.into_iter().all(|answer| answer.unwrap() == "hello"));
    assert_eq!(proxy.stats().created, 1);
}

#[tokio::test]
async fn a_refused_stream_is_begun_once_more_with_its_body() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let port = serving(100, move |mut asked: Asked| {
        let number = next(&counted);
        async move {
            if number == 0 || asked.request.uri().path() == "/never" {
                asked.respond.send_reset(Reason::REFUSED_STREAM);
                return;
            }
            let (body, _) = asked.body().await;
            assert_eq!(body, "ping");
            asked.answer(Response::new(()), "pong");
        }
    })
    .await;
    let proxy = proxy(port);
    let response = send(&proxy, call(Full::from("ping"))).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "pong");
    assert_eq!(proxy.stats().retried, 1);
    let before = count.load(Ordering::SeqCst);
    let error = send(&proxy, get("/never")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Http2(_)), "{error:?}");
    assert_eq!(
        count.load(Ordering::SeqCst) - before,
        2,
        "never a third time"
    );
}

#[tokio::test]
async fn an_upstream_that_sends_goaway_early_still_answers_every_request() {
    // Each connection processes two requests and then sends GOAWAY with the second as the last.
    let port = listening(|_, mut stream| async move {
        stream
            .write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        let mut seen = 0;
        let mut head = [0; 9];
        while stream.read_exact(&mut head).await.is_ok() {
            let [a, b, c, kind, _, id @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            stream.read_exact(&mut payload).await.unwrap();
            if kind != HEADERS || seen == 2 {
                continue;
            }
            seen += 1;
            // The whole head and the end of the stream: `:status: 200`.
            let mut answer = vec![0, 0, 1, HEADERS, 0x5];
            answer.extend(id);
            answer.push(0x88);
            if seen == 2 {
                answer.extend([0, 0, 8, GO_AWAY, 0, 0, 0, 0, 0]);
                answer.extend(id);
                answer.extend([0; 4]);
            }
            stream.write_all(&answer).await.unwrap();
        }
    })
    .await;
    let proxy = Arc::new(proxy(port));
    for answer in at_once(&proxy, 10).await {
        assert_eq!(answer.unwrap(), "");
    }
}

#[tokio::test]
async fn a_refused_stream_whose_body_is_too_large_to_keep_is_an_error() {
    let port = serving(100, move |mut asked: Asked| async move {
        let (body, _) = asked.body().await;
        drop(body);
        asked.respond.send_reset(Reason::REFUSED_STREAM);
    })
    .await;
    let proxy = proxy(port);
    let body = Full::from(vec![b'x'; 20 * 1024]);
    let error = send(&proxy, call(body)).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Http2(_)), "{error:?}");
    assert_eq!(proxy.stats().retried, 0);
}

#[tokio::test]
async fn a_connection_with_goaway_finishes_its_open_streams() {
    let port = listening(|number, stream| async move {
        let mut server = Builder::new().handshake::<_, Bytes>(stream).await.unwrap();
        let (_, mut respond) = server.accept().await.unwrap().unwrap();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        let text = Bytes::from(format!("{number} first, "));
        stream.send_data(text, false).unwrap();
        if number == 0 {
            server.graceful_shutdown();
        }
        beside(async move {
            std::future::poll_fn(|cx| stream.poll_reset(cx)).await.ok();
        });
        while server.accept().await.is_some() {}
    })
    .await;
    let proxy = proxy(port);
    let mut first = send(&proxy, get("/")).await.unwrap();
    first.frame().await.unwrap().unwrap();
    // The request is answered, whether GOAWAY comes before or after it.
    let mut second = send(&proxy, get("/")).await.unwrap();
    let frame = second.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "1 first, ");
    assert_eq!(proxy.stats().created, 2);
    drop(first);
}

#[tokio::test]
async fn a_dead_connection_is_detected_and_the_request_is_sent_again_once() {
    let served = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&served);
    let port = listening(move |number, stream| {
        let served = Arc::clone(&counted);
        async move {
            let mut server = Builder::new().handshake::<_, Bytes>(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = server.accept().await {
                if next(&served) == 1 && number == 0 {
                    // The server fails at the second request.
                    return;
                }
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(Bytes::from("hello"), true).unwrap();
            }
        }
    })
    .await;
    let proxy = proxy(port);
    for _ in 0..3 {
        let response = send(&proxy, get("/")).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "hello");
    }
    let stats = proxy.stats();
    assert_eq!((stats.created, stats.retried), (2, 1));
}

#[tokio::test]
async fn a_post_on_a_closing_connection_is_not_sent_again() {
    let served = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&served);
    let port = listening(move |_, stream| {
        let served = Arc::clone(&counted);
        async move {
            let mut server = Builder::new().handshake::<_, Bytes>(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = server.accept().await {
                if next(&served) == 1 {
                    return;
                }
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(Bytes::from("hello"), true).unwrap();
            }
        }
    })
    .await;
    let proxy = proxy(port);
    send(&proxy, get("/")).await.unwrap();
    let request = Request::post("/").body(Full::from("x")).unwrap();
    let error = send(&proxy, request).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Unreachable(_)), "{error:?}");
    assert_eq!(served.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn idle_and_old_connections_are_closed() {
    let port = serving(100, |asked: Asked| async move {
        asked.answer(Response::new(()), "hello");
    })
    .await;
    for (idle_timeout, max_age) in [(0, 3600), (60, 0)] {
        let settings = Settings {
            idle_timeout: Duration::from_secs(idle_timeout),
            // Zero would mean no limit.
            max_age: Duration::from_secs(max_age).max(Duration::from_nanos(1)),
            ..multiplexed(port)
        };
        let proxy = Proxy::new(&settings).unwrap();
        for _ in 0..2 {
            let response = send(&proxy, get("/")).await.unwrap();
            assert_eq!(text(response).await.unwrap(), "hello");
        }
        proxy.sweep();
        assert_eq!((proxy.stats().created, proxy.stats().idle), (2, 0));
        let closing = async {
            while proxy.stats().open > 0 {
                tokio::task::yield_now().await;
            }
        };
        let closed = tokio::time::timeout(Duration::from_secs(10), closing);
        closed.await.expect("the connections are closed");
    }
}

#[tokio::test]
async fn requests_that_wait_for_one_connect_share_its_failure() {
    // It accepts connections and sends nothing.
    let dialled = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&dialled);
    let port = listening(move |_, mut stream| {
        next(&counted);
        async move {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.ok();
        }
    })
    .await;
    let settings = Settings {
        connect_timeout: Duration::from_millis(100),
        ..multiplexed(port)
    };
    let proxy = Arc::new(Proxy::new(&settings).unwrap());
    for answer in at_once(&proxy, 10).await {
        let error = answer.unwrap_err();
        assert!(matches!(error, UpstreamError::Timeout), "{error:?}");
    }
    assert!(dialled.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn a_server_that_does_not_speak_http_2_is_detected() {
    let port = crate::proxy::tests::answering(
        crate::proxy::tests::HELLO,
        crate::proxy::tests::Then::Close,
    );
    let error = send(&proxy(port), get("/")).await.unwrap_err();
    assert!(
        matches!(
            error,
            UpstreamError::Http2(_) | UpstreamError::Unreachable(_)
        ),
        "{error:?}"
    );
}
