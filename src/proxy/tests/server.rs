//! The proxy behind a real server: raw bytes from the client, raw bytes back.

use std::io::{Read, Write};
use std::sync::{Arc, mpsc};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::{HELLO, LIMIT, Then, answering, read_head, settings, upstream, via};
use crate::guard::Permit;
use crate::proxy::Proxy;

/// The bytes that a client reads until the server closes, after it has sent all of this at once.
async fn converse(proxy: &Arc<Proxy>, said: &str) -> String {
    let (end, heard) = conversation(proxy, said).await;
    end.unwrap();
    heard
}

/// The same, with the result of the server's side.
async fn conversation(proxy: &Arc<Proxy>, said: &str) -> (hyper::Result<()>, String) {
    let (mut client, server) = duplex(1024 * 1024);
    let service = service_fn(|request| {
        let proxy = Arc::clone(proxy);
        async move {
            proxy
                .forward(Permit::for_tests(None), request, &via())
                .await
        }
    });
    let serving = http1::Builder::new().serve_connection(TokioIo::new(server), service);
    let talking = async {
        client.write_all(said.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        String::from_utf8(heard).unwrap()
    };
    tokio::join!(serving, talking)
}

#[tokio::test]
async fn requests_with_and_without_bodies_share_both_connections() {
    let (told, heads) = mpsc::channel();
    let port = upstream(move |_, mut stream| {
        while let Some(head) = read_head(&mut stream) {
            let mut body = vec![0; if head.starts_with("POST") { 3 } else { 0 }];
            stream.read_exact(&mut body).unwrap();
            told.send(String::from_utf8(body).unwrap()).unwrap();
            stream.write_all(HELLO.as_bytes()).unwrap();
        }
    });
    let proxy = Arc::new(Proxy::new(&settings(port)).unwrap());
    let heard = converse(
        &proxy,
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n\
         POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
         GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(heard.matches("HTTP/1.1 200 OK").count(), 3, "{heard}");
    assert_eq!(heads.try_iter().collect::<Vec<_>>(), ["", "abc", ""]);
    assert_eq!(proxy.stats().created, 1);
}

#[tokio::test]
async fn trailers_reach_a_client_that_accepts_them() {
    let reply = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
        2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n";
    let proxy = Arc::new(Proxy::new(&settings(answering(reply, Then::GoOn))).unwrap());
    let asked = "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n";
    let heard = converse(&proxy, asked).await;
    assert!(
        heard.ends_with("2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n"),
        "{heard}"
    );
    let heard = converse(
        &proxy,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(heard.ends_with("2\r\nhi\r\n0\r\n\r\n"), "{heard}");
}

#[tokio::test]
async fn a_body_that_breaks_off_cuts_the_answer_to_the_client() {
    for framing in [
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        "Content-Length: 9\r\n\r\nhi",
    ] {
        let reply = format!("HTTP/1.1 200 OK\r\n{framing}");
        let proxy = Arc::new(Proxy::new(&settings(answering(reply, Then::Close))).unwrap());
        let (end, heard) = conversation(&proxy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(end.unwrap_err().is_user(), "{heard}");
        assert!(!heard.ends_with("0\r\n\r\n"), "{heard}");
    }
}

#[tokio::test]
async fn an_answer_to_head_and_a_304_keep_their_length() {
    let reply = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    let proxy = Arc::new(Proxy::new(&settings(answering(reply, Then::GoOn))).unwrap());
    let heard = converse(
        &proxy,
        "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        heard.contains("content-length: 1000\r\n") && heard.ends_with("\r\n\r\n"),
        "{heard}"
    );
    let reply = "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n";
    let proxy = Arc::new(Proxy::new(&settings(answering(reply, Then::GoOn))).unwrap());
    let heard = converse(
        &proxy,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        heard.starts_with("HTTP/1.1 304") && heard.ends_with("\r\n\r\n"),
        "{heard}"
    );
}

#[tokio::test]
async fn a_chunked_request_with_trailers_arrives_without_them() {
    let expected = "3\r\nabc\r\n0\r\n\r\n";
    let (told, bodies) = mpsc::channel();
    let port = upstream(move |_, mut stream| {
        let head = read_head(&mut stream).unwrap();
        let mut body = vec![0; expected.len()];
        stream.read_exact(&mut body).unwrap();
        told.send(head + &String::from_utf8(body).unwrap()).unwrap();
        stream.write_all(HELLO.as_bytes()).unwrap();
    });
    let proxy = Arc::new(Proxy::new(&settings(port)).unwrap());
    let heard = converse(
        &proxy,
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
         Trailer: X-User-Id\r\nExpect: 100-continue\r\n\r\n3\r\nabc\r\n0\r\nX-User-Id: root\r\n\r\n",
    )
    .await;
    assert!(
        heard.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"),
        "{heard}"
    );
    let body = bodies.recv_timeout(LIMIT).unwrap();
    assert!(body.ends_with(expected), "{body}");
    assert!(!body.contains("root") && !body.contains("expect") && !body.contains("trailer"));
}
