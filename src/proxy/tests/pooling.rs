//! Which connection is a request sent on, and what happens if that is dead?

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{Empty, Full};

use super::{
    End, HELLO, LIMIT, Scripted, Then, answering, arrived, get, read_head, send, settings, text,
    upstream,
};
use crate::proxy::{Address, Proxy, UpstreamError};

#[tokio::test]
async fn fifty_requests_in_turn_use_one_connection() {
    let proxy = Proxy::new(&settings(answering(HELLO, Then::GoOn))).unwrap();
    for _ in 0..50 {
        assert_eq!(
            text(send(&proxy, get("/")).await.unwrap()).await.unwrap(),
            "hello"
        );
    }
    let stats = proxy.stats();
    assert_eq!(
        (stats.created, stats.reused, stats.open, stats.idle),
        (1, 49, 1, 1)
    );
}

#[tokio::test]
async fn a_unix_socket_is_an_upstream_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
            stream.write_all(HELLO.as_bytes()).unwrap();
        }
    });
    let mut settings = settings(1);
    settings.upstream = Address::Unix(path);
    let proxy = Proxy::new(&settings).unwrap();
    for _ in 0..3 {
        assert_eq!(
            text(send(&proxy, get("/")).await.unwrap()).await.unwrap(),
            "hello"
        );
    }
    assert_eq!(proxy.stats().created, 1);
}

#[tokio::test]
async fn a_connection_that_ended_while_idle_is_not_used() {
    let (told, closed) = mpsc::channel();
    let port = upstream(move |_, mut stream| {
        read_head(&mut stream);
        stream.write_all(HELLO.as_bytes()).unwrap();
        drop(stream);
        told.send(()).unwrap();
    });
    let proxy = Proxy::new(&settings(port)).unwrap();
    for _ in 0..3 {
        assert_eq!(
            text(send(&proxy, get("/")).await.unwrap()).await.unwrap(),
            "hello"
        );
        closed.recv_timeout(LIMIT).unwrap();
        arrived(port);
        let stats = proxy.stats();
        assert_eq!((stats.open, stats.idle), (1, 1));
        // The runtime notices the end at its next poll of the sockets.
        tokio::task::yield_now().await;
    }
    let stats = proxy.stats();
    assert_eq!((stats.created, stats.reused, stats.retried), (3, 0, 0));
}

#[tokio::test]
async fn a_request_that_cannot_be_repeated_checks_its_connection_first() {
    let (told, closed) = mpsc::channel();
    let port = upstream(move |_, mut stream| {
        let head = read_head(&mut stream).unwrap();
        let mut body = [0; 3];
        let body = if head.starts_with("POST") {
            &mut body[..]
        } else {
            &mut []
        };
        stream.read_exact(body).unwrap();
        stream.write_all(HELLO.as_bytes()).unwrap();
        drop(stream);
        told.send(()).unwrap();
    });
    let proxy = Proxy::new(&settings(port)).unwrap();
    for _ in 0..3 {
        let request = Request::post("/")
            .body(Full::new(Bytes::from_static(b"pay")))
            .unwrap();
        assert_eq!(
            text(send(&proxy, request).await.unwrap()).await.unwrap(),
            "hello"
        );
        // The kernel has received the end, the runtime has not polled for it yet.
        closed.recv_timeout(LIMIT).unwrap();
        arrived(port);
    }
    assert_eq!((proxy.stats().created, proxy.stats().retried), (3, 0));
}

#[tokio::test]
async fn a_connection_with_unexpected_bytes_while_idle_is_not_used() {
    let (told, spoke) = mpsc::channel();
    let port = upstream(move |_, mut stream| {
        let told = told.clone();
        thread::spawn(move || {
            read_head(&mut stream);
            stream.write_all(HELLO.as_bytes()).unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen")
                .unwrap();
            told.send(()).unwrap();
            read_head(&mut stream);
        });
    });
    let proxy = Proxy::new(&settings(port)).unwrap();
    for _ in 0..3 {
        assert_eq!(
            text(send(&proxy, get("/")).await.unwrap()).await.unwrap(),
            "hello"
        );
        spoke.recv_timeout(LIMIT).unwrap();
        arrived(port);
        tokio::task::yield_now().await;
    }
    assert_eq!(proxy.stats().reused, 0);
}

/// An upstream that answers the first request of its first connection, then reads one more head there
/// and closes the connection. Later connections are answered. Returns the heads it read.
fn dying() -> (u16, mpsc::Receiver<String>) {
    let (told, heads) = mpsc::channel();
    let port = upstream(move |number, mut stream| {
        for _ in 0..2 {
            let Some(head) = read_head(&mut stream) else {
                return;
            };
            let first = told.send(format!("{number} {}", head.split(' ').next().unwrap()));
            first.unwrap();
            if number == 0 && head.contains("/second") {
                return;
            }
            stream.write_all(HELLO.as_bytes()).unwrap();
        }
    });
    (port, heads)
}

async fn after_a_first_request(
    request: Request<impl http_body::Body<Data = Bytes, Error: Into<BoxError>> + Unpin>,
) -> (Result<String, UpstreamError>, Proxy, Vec<String>) {
    let (port, heads) = dying();
    let proxy = Proxy::new(&settings(port)).unwrap();
    text(send(&proxy, get("/first")).await.unwrap())
        .await
        .unwrap();
    let outcome = match send(&proxy, request).await {
        Ok(response) => text(response).await,
        Err(error) => Err(error),
    };
    (outcome, proxy, heads.try_iter().collect())
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::test]
async fn a_request_on_a_dead_connection_is_sent_again_once() {
    let (outcome, proxy, heads) = after_a_first_request(get("/second")).await;
    assert_eq!(outcome.unwrap(), "hello");
    assert_eq!(heads, ["0 GET", "0 GET", "1 GET"]);
    let stats = proxy.stats();
    assert_eq!((stats.created, stats.reused, stats.retried), (2, 1, 1));
}

#[tokio::test]
async fn a_request_whose_body_was_read_is_not_sent_again() {
    for method in [Method::POST, Method::PUT] {
        let request = Request::builder().method(method).uri("/second");
        let request = request.body(Full::new(Bytes::from_static(b"pay"))).unwrap();
        let (outcome, proxy, heads) = after_a_first_request(request).await;
        assert!(matches!(outcome, Err(UpstreamError::Unreachable(_))));
        assert_eq!(heads.len(), 2);
        assert_eq!(proxy.stats().retried, 0);
    }
}

#[tokio::test]
async fn an_unread_body_permits_a_retry() {
    let body = Scripted::new(&[], Some(3), End::Never);
    let request = Request::post("/second").body(body).unwrap();
    let (outcome, proxy, heads) = after_a_first_request(request).await;
    assert_eq!(outcome.unwrap(), "hello");
    assert_eq!(heads, ["0 GET", "0 POST", "1 POST"]);
    assert_eq!(proxy.stats().retried, 1);
}

#[tokio::test]
async fn a_complete_request_that_is_not_idempotent_is_not_sent_again() {
    let request = Request::post("/second")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let (outcome, proxy, heads) = after_a_first_request(request).await;
    assert!(matches!(outcome, Err(UpstreamError::Unreachable(_))));
    assert_eq!(heads, ["0 GET", "0 POST"]);
    assert_eq!(proxy.stats().retried, 0);
}

#[tokio::test]
async fn there_is_at_most_one_retry_and_none_after_a_new_connection() {
    let port = upstream(|number, mut stream| {
        read_head(&mut stream);
        if number == 0 {
            stream.write_all(HELLO.as_bytes()).unwrap();
            read_head(&mut stream);
        }
    });
    let proxy = Proxy::new(&settings(port)).unwrap();
    text(send(&proxy, get("/")).await.unwrap()).await.unwrap();
    let error = send(&proxy, get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Unreachable(_)));
    assert_eq!((proxy.stats().created, proxy.stats().retried), (2, 1));
    let error = send(&proxy, get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Unreachable(_)));
    assert_eq!((proxy.stats().created, proxy.stats().retried), (3, 1));
}

/// An answer that is not complete when its head is returned, so that its connection is in use until it is read.
fn long() -> String {
    let body = body();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn body() -> String {
    "x".repeat(1 << 20)
}

#[tokio::test]
async fn a_short_answer_releases_its_connection_before_it_is_read() {
    let mut settings = settings(answering(HELLO, Then::GoOn));
    settings.max_connections = 1;
    let proxy = Proxy::new(&settings).unwrap();
    let unread = send(&proxy, get("/")).await.unwrap();
    assert_eq!(
        text(send(&proxy, get("/")).await.unwrap()).await.unwrap(),
        "hello"
    );
    assert_eq!(text(unread).await.unwrap(), "hello");
    assert_eq!(proxy.stats().created, 1);
}

#[tokio::test]
async fn when_all_connections_are_in_use_a_request_waits_and_is_then_refused() {
    let mut settings = settings(answering(long(), Then::GoOn));
    settings.max_connections = 1;
    settings.queue_timeout = Duration::from_millis(20);
    let proxy = Proxy::new(&settings).unwrap();
    let held = send(&proxy, get("/")).await.unwrap();
    let error = send(&proxy, get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Overloaded { retry_after } if !retry_after.is_zero()));
    assert_eq!(text(held).await.unwrap(), body());
    assert_eq!(
        text(send(&proxy, get("/")).await.unwrap()).await.unwrap(),
        body()
    );
}

#[tokio::test]
async fn a_waiting_request_gets_the_next_free_connection() {
    let mut settings = settings(answering(long(), Then::GoOn));
    settings.max_connections = 1;
    let proxy = Proxy::new(&settings).unwrap();
    let held = send(&proxy, get("/")).await.unwrap();
    let (first, second) = tokio::join!(text(held), send(&proxy, get("/")));
    assert_eq!(first.unwrap(), body());
    assert_eq!(text(second.unwrap()).await.unwrap(), body());
    assert_eq!(proxy.stats().created, 1);
}

#[tokio::test]
async fn a_dropped_answer_closes_its_connection_and_frees_its_slot() {
    let mut settings = settings(answering(long(), Then::GoOn));
    settings.max_connections = 1;
    let proxy = Proxy::new(&settings).unwrap();
    for made in 1..4 {
        drop(send(&proxy, get("/")).await.unwrap());
        let stats = proxy.stats();
        assert_eq!((stats.created, stats.open, stats.idle), (made, 0, 0));
    }
}

#[tokio::test]
async fn idle_connections_are_closed_after_the_idle_timeout() {
    let mut settings = settings(answering(HELLO, Then::GoOn));
    settings.idle_timeout = Duration::from_secs(60);
    let proxy = Proxy::new(&settings).unwrap();
    text(send(&proxy, get("/")).await.unwrap()).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(59)).await;
    proxy.sweep();
    assert_eq!(proxy.stats().open, 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    proxy.sweep();
    assert_eq!((proxy.stats().open, proxy.stats().idle), (0, 0));
}

#[tokio::test]
async fn a_connection_is_not_used_for_more_than_an_hour() {
    let mut settings = settings(answering(HELLO, Then::GoOn));
    settings.idle_timeout = Duration::from_secs(100_000);
    let proxy = Proxy::new(&settings).unwrap();
    text(send(&proxy, get("/")).await.unwrap()).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3601)).await;
    tokio::time::resume();
    text(send(&proxy, get("/")).await.unwrap()).await.unwrap();
    assert_eq!((proxy.stats().created, proxy.stats().reused), (2, 0));
}

#[tokio::test]
async fn an_http_1_0_upstream_works_with_and_without_keep_alive() {
    let once = answering(
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        Then::Close,
    );
    let kept = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi";
    for (port, made) in [(once, 3), (answering(kept, Then::GoOn), 1)] {
        let proxy = Proxy::new(&settings(port)).unwrap();
        for _ in 0..3 {
            assert_eq!(
                text(send(&proxy, get("/")).await.unwrap()).await.unwrap(),
                "hi"
            );
        }
        assert_eq!(proxy.stats().created, made);
    }
}
