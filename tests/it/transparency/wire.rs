//! Every kind of request and answer of HTTP/1.1 is the same byte for byte with and without Sidegate, except
//! for the headers that the manual names.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use sidegate::types::random::SeededRandom;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::compare::{FixedAnswer, Message, get, play, same};
use crate::support::client::{Connection, TestRequest};
use crate::support::harness::TestApp;
use crate::support::scripted::{head, public_upstream, serve};

#[tokio::test]
async fn every_kind_of_answer_passes_unchanged() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nLocation: /a/b?c=%20\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/10\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 301 Moved Permanently\r\nLocation: https://other/\r\nContent-Length: 3\r\n\r\nxyz",
        b"HTTP/1.1 304 Not Modified\r\nETag: \"abc\"\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 1\r\n\r\nt",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops",
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nset-cookie: a=3\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nVary: Accept-Encoding\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x00\xff",
        b"HTTP/1.1 200 OK\r\nX-Odd: caf\xc3\xa9 \xe9\r\nX-Tab: a\tb\r\nX-Empty:\r\nX-Quotes: \"a\\\"b\"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX_Under: 1\r\nX.Dot: 2\r\nX-User-Id: theirs\r\nServer: app/1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ] {
        same(&get("/x", ""), answer).await;
    }
    let large = format!(
        "HTTP/1.1 200 OK\r\nX-Large: {}\r\nContent-Length: 0\r\n\r\n",
        "v".repeat(30_000)
    );
    same(&get("/x", ""), large.as_bytes()).await;
}

#[tokio::test]
async fn head_has_the_head_of_get() {
    let request = b"HEAD /x HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n";
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n",
    ] {
        same(request, answer).await;
    }
    let upstream = FixedAnswer::start(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n".to_vec());
    let app = TestApp::with(&public_upstream(upstream.address)).await;
    let answer = app.anon().send(TestRequest::new("HEAD", "/x")).await;
    assert_eq!(answer.header("content-length"), Some("500"));
}

#[tokio::test]
async fn a_304_keeps_its_content_length() {
    let upstream = FixedAnswer::start(
        b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n".to_vec(),
    );
    let app = TestApp::with(&public_upstream(upstream.address)).await;
    let answer = app.anon().get("/x").await;
    assert_eq!((answer.status, answer.header("etag")), (304, Some("\"x\"")));
    assert!(matches!(answer.header("content-length"), None | Some("77")));
}

#[tokio::test]
async fn every_kind_of_request_passes_unchanged() {
    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let fixed = format!(
            "{method} /x HTTP/1.1\r\nHost: app\r\nConnection: close\r\nContent-Type: text/x\r\nContent-Length: 5\r\n\r\nhello"
        );
        same(fixed.as_bytes(), ok).await;
        let chunked = format!(
            "{method} /x HTTP/1.1\r\nHost: app\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
        );
        same(chunked.as_bytes(), ok).await;
        let empty = format!(
            "{method} /x HTTP/1.1\r\nHost: app\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        same(empty.as_bytes(), ok).await;
    }
    for extra in [
        "Range: bytes=0-4\r\nIf-Range: \"x\"\r\n",
        "Accept: a\r\nAccept: b\r\nX-Empty:\r\n",
        "If-None-Match: \"x\", W/\"y\"\r\nIf-Modified-Since: Sat, 29 Oct 1994 19:43:31 GMT\r\n",
        "X-Odd: caf\u{e9}; q=\"\\\"\" \u{1f600}\r\nX-Tab: a\tb\r\n",
        "Cookie: a=1; b=\"2;3\"\r\nAccept-Encoding: gzip, br;q=0.5\r\n",
        "X_Under: 1\r\nX.Dot: 2\r\nX!Bang: 3\r\n",
        "Via: 1.1 edge\r\nOrigin: https://a\r\nDNT: 1\r\n",
    ] {
        same(&get("/x", extra), ok).await;
    }
    for target in [
        "/%C3%BC%20x?q=%00&r=../..//;",
        "/a?",
        "/a?b?c",
        "/~a!$&'()*+,:@=-._",
    ] {
        same(&get(target, ""), ok).await;
    }
    let large = format!("X-Large: {}\r\n", "v".repeat(30_000));
    same(&get("/x", &large), ok).await;
}

#[tokio::test]
async fn a_body_that_waits_for_100_continue_passes() {
    let upstream = FixedAnswer::start(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec());
    let app = TestApp::with(&public_upstream(upstream.address)).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let request =
        b"POST /x HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let mut status = [0; 15];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200 OK");
    assert!(upstream.request.lock().unwrap().ends_with(b"\r\n\r\nhello"));
}

#[tokio::test]
async fn trailers_of_an_answer_reach_a_client_that_accepts_them() {
    let upstream = FixedAnswer::start(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-User-Id\r\n\r\n\
          2\r\nok\r\n0\r\nX-Sum: 42\r\nX-User-Id: 0\r\n\r\n"
            .to_vec(),
    );
    let app = TestApp::with(&public_upstream(upstream.address)).await;
    let request = b"GET /x HTTP/1.1\r\nHost: app\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n";
    let message = Message::parse(&play(app.address, request).await, false);
    assert_eq!(message.body, b"ok");
    assert_eq!(message.trailers, [("x-sum".to_owned(), b"42".to_vec())]);
}

#[tokio::test]
async fn bodies_pass_unchanged_with_any_chunking() {
    let seed = 0x5eed;
    println!("seed {seed}");
    let random = Arc::new(SeededRandom::new(seed));
    let dice = Arc::clone(&random);
    // Returns the body of the request with another chunking.
    let address = serve(move |mut stream| {
        while let Some(head) = head(&mut stream) {
            let length = head.to_lowercase();
            let body = match length.split("content-length: ").nth(1) {
                Some(length) => {
                    let length = length.split("\r\n").next().unwrap().parse().unwrap();
                    let mut body = vec![0; length];
                    stream.read_exact(&mut body).unwrap();
                    body
                }
                None => read_chunks(&mut stream),
            };
            let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            answer.extend(cut(&body, &dice));
            for piece in pieces(&answer, &dice) {
                if stream.write_all(piece).is_err() {
                    return;
                }
            }
        }
    });
    let app = TestApp::with(&public_upstream(address)).await;
    let mut connection = Connection::open(app.address).await;
    for round in 0..60 {
        let mut body = vec![0; usize::try_from(random.next() % 20_000).unwrap()];
        sidegate::types::random::Random::fill(&*random, &mut body);
        let mut request =
            b"POST /x HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        request.extend(cut(&body, &random));
        for piece in pieces(&request, &random) {
            connection.write(piece).await;
        }
        let answer = connection.answer("POST").await;
        assert!(
            answer.body == body,
            "seed {seed}, round {round}, {} bytes",
            body.len()
        );
    }
}

/// A body in chunks of any size.
fn cut(mut body: &[u8], random: &SeededRandom) -> Vec<u8> {
    let mut chunks = Vec::new();
    while !body.is_empty() {
        let most = [1, 7, 100, 5_000][usize::try_from(random.next() % 4).unwrap()];
        let size = 1 + usize::try_from(random.next()).unwrap() % most.min(body.len());
        chunks.extend(format!("{size:x}\r\n").into_bytes());
        chunks.extend_from_slice(&body[..size]);
        chunks.extend_from_slice(b"\r\n");
        body = &body[size..];
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    chunks
}

/// The same bytes in pieces of any size, as a network may deliver them.
fn pieces<'a>(bytes: &'a [u8], random: &SeededRandom) -> Vec<&'a [u8]> {
    let size = 1 + usize::try_from(random.next()).unwrap() % bytes.len();
    bytes.chunks(size.max(bytes.len() / 50)).collect()
}

fn read_chunks(stream: &mut std::net::TcpStream) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        let size = String::from_utf8_lossy(&line).into_owned();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&chunk[..size]);
    }
}
