//! Bodies in both directions at once.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::mpsc as std_mpsc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio::sync::mpsc;

use super::{End, HELLO, LIMIT, Scripted, read_head, send, settings, text, upstream};
use crate::proxy::{ClientFault, Proxy, UpstreamError};

/// The bytes that an upstream reads after the head of a request, until the request is complete.
fn recorded(length: usize) -> (u16, std_mpsc::Receiver<(String, String)>) {
    let (told, requests) = std_mpsc::channel();
    let port = upstream(move |_, mut stream| {
        let head = read_head(&mut stream).unwrap();
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).is_ok() {
            told.send((head, String::from_utf8(body).unwrap())).unwrap();
            stream.write_all(HELLO.as_bytes()).unwrap();
        }
    });
    (port, requests)
}

async fn sent(body: Scripted, length: usize) -> (String, String) {
    let (port, requests) = recorded(length);
    let proxy = Proxy::new(&settings(port)).unwrap();
    let request = Request::post("/").body(body).unwrap();
    assert_eq!(
        text(send(&proxy, request).await.unwrap()).await.unwrap(),
        "hello"
    );
    assert_eq!(proxy.stats().idle, 1);
    requests.recv_timeout(LIMIT).unwrap()
}

#[tokio::test]
async fn a_body_of_known_size_has_a_length() {
    let (head, body) = sent(Scripted::new(&["abc", "", "defg"], Some(7), End::Clean), 7).await;
    assert!(head.contains("\r\ncontent-length: 7\r\n"));
    assert!(!head.contains("transfer-encoding"));
    assert_eq!(body, "abcdefg");
}

#[tokio::test]
async fn a_body_of_unknown_size_is_chunked_and_empty_pieces_do_not_end_it() {
    let expected = "3\r\nabc\r\n14\r\n01234567890123456789\r\n0\r\n\r\n";
    let pieces = ["abc", "", "01234567890123456789", ""];
    let (head, body) = sent(Scripted::new(&pieces, None, End::Clean), expected.len()).await;
    assert!(head.contains("\r\ntransfer-encoding: chunked\r\n"));
    assert!(!head.contains("content-length"));
    assert_eq!(body, expected);
}

#[tokio::test]
async fn request_trailers_are_dropped() {
    let mut body = Scripted::new(&["abc"], None, End::Clean);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-user-id", "root".parse().unwrap());
    body.frames.push_back(Frame::trailers(trailers));
    let expected = "3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(sent(body, expected.len()).await.1, expected);
}

#[tokio::test]
async fn a_request_without_a_body_sends_none() {
    for (method, line) in [
        ("GET", None),
        ("DELETE", None),
        ("POST", Some("content-length: 0")),
    ] {
        let (port, requests) = recorded(0);
        let proxy = Proxy::new(&settings(port)).unwrap();
        let request = Request::builder().method(method).uri("/");
        let request = request.body(Full::new(Bytes::new())).unwrap();
        text(send(&proxy, request).await.unwrap()).await.unwrap();
        let (head, _) = requests.recv_timeout(LIMIT).unwrap();
        let framing = head.lines().find(|line| {
            line.starts_with("content-length") || line.starts_with("transfer-encoding")
        });
        assert_eq!(framing, line, "{method}");
    }
}

#[tokio::test]
async fn a_body_that_differs_from_its_length_is_a_client_error() {
    for (pieces, declared, end) in [
        (&["abc"][..], Some(9), End::Clean),
        (&["abc"], Some(2), End::Clean),
        (&["abc"], Some(9), End::Error),
        (&["abc"], None, End::Error),
    ] {
        let (port, _requests) = recorded(100);
        let proxy = Proxy::new(&settings(port)).unwrap();
        let request = Request::post("/")
            .body(Scripted::new(pieces, declared, end))
            .unwrap();
        let error = send(&proxy, request).await.unwrap_err();
        let UpstreamError::ClientBody(fault) = error else {
            panic!("{error:?}");
        };
        match (declared, end) {
            (_, End::Error) => assert!(matches!(fault, ClientFault::Unreadable(_))),
            (Some(2), _) => assert!(matches!(fault, ClientFault::TooLong)),
            _ => assert!(matches!(fault, ClientFault::TooShort)),
        }
        assert_eq!(proxy.stats().open, 0);
    }
}

/// A body whose pieces come from a channel.
#[derive(Debug)]
struct Fed(mpsc::Receiver<Bytes>, Option<u64>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0
            .poll_recv(cx)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        self.1.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// An upstream that sends the first `total` bytes of the body back as they come.
fn echo(total: u64) -> u16 {
    upstream(move |_, mut stream| {
        read_head(&mut stream).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut left = total;
        let mut buffer = vec![0; 64 * 1024];
        while left > 0 {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the request ended early");
            if stream.write_all(&buffer[..count]).is_err() {
                return;
            }
            left -= count as u64;
        }
    })
}

#[tokio::test]
async fn an_answer_is_forwarded_while_the_request_is_still_sent() {
    let proxy = Proxy::new(&settings(echo(40))).unwrap();
    let (feed, body) = mpsc::channel(1);
    let request = Request::post("/").body(Fed(body, Some(40))).unwrap();
    // The head of the answer comes before the first byte of the request's body.
    let mut response = send(&proxy, request).await.unwrap().into_body();
    for turn in 0..4_u8 {
        let piece = Bytes::from(vec![b'a' + turn; 10]);
        feed.send(piece.clone()).await.unwrap();
        let mut back = Vec::new();
        while back.len() < 10 {
            let frame = response.frame().await.unwrap().unwrap();
            back.extend_from_slice(&frame.into_data().unwrap());
        }
        assert_eq!(back, piece);
    }
    assert!(response.frame().await.is_none());
    assert_eq!(proxy.stats().idle, 1);
}

/// A body of `left` bytes in large pieces.
#[derive(Debug)]
struct Large(u64);

const PIECE: Bytes = Bytes::from_static(&[b'x'; 32 * 1024]);

impl http_body::Body for Large {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0 -= PIECE.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(PIECE))))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn sixty_four_mebibytes_each_way_are_never_held_at_once() {
    let total = 64 * 1024 * 1024;
    let proxy = Proxy::new(&settings(echo(total))).unwrap();
    let request = Request::post("/").body(Large(total)).unwrap();
    let mut response = send(&proxy, request).await.unwrap().into_body();
    let (mut received, mut held) = (0, 0);
    while let Some(frame) = response.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        received += data.len() as u64;
        held = held.max(response.held() + data.len());
    }
    assert_eq!(received, total);
    assert!(held <= 256 * 1024, "{held} bytes were held");
}

#[tokio::test]
async fn an_early_answer_of_an_upstream_that_closes_is_forwarded() {
    let port = upstream(|_, mut stream| {
        read_head(&mut stream).unwrap();
        let answer = "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig";
        stream.write_all(answer.as_bytes()).unwrap();
        // A half close: a full one with bytes unread would be a reset, which destroys the answer.
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        io::copy(&mut stream, &mut io::sink()).ok();
    });
    let proxy = Proxy::new(&settings(port)).unwrap();
    let (feed, body) = mpsc::channel(1);
    let request = Request::post("/").body(Fed(body, None)).unwrap();
    let response = send(&proxy, request).await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(text(response).await.unwrap(), "big");
    assert_eq!(proxy.stats().open, 0);
    assert!(feed.is_closed() || feed.try_send(Bytes::new()).is_ok());
}

#[tokio::test]
async fn an_endless_fast_upload_does_not_hide_an_early_answer() {
    let port = upstream(|_, mut stream| {
        read_head(&mut stream).unwrap();
        stream.write_all(HELLO.as_bytes()).unwrap();
        io::copy(&mut stream, &mut io::sink()).ok();
    });
    let proxy = Proxy::new(&settings(port)).unwrap();
    let request = Request::post("/").body(Large(1 << 60)).unwrap();
    assert_eq!(
        text(send(&proxy, request).await.unwrap()).await.unwrap(),
        "hello"
    );
    assert_eq!(proxy.stats().open, 0);
}

#[tokio::test]
async fn an_upstream_that_ends_inside_its_body_gives_an_error_and_no_clean_end() {
    // More than is read before the head is passed on.
    let part = "x".repeat(5_000);
    for head in [
        format!("Content-Length: 100000\r\n\r\n{part}"),
        format!("Transfer-Encoding: chunked\r\n\r\n1388\r\n{part}\r\n"),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}");
        let proxy = Proxy::new(&settings(super::answering(answer, super::Then::Close))).unwrap();
        let request = Request::get("/").body(Full::new(Bytes::new())).unwrap();
        let mut body = send(&proxy, request).await.unwrap().into_body();
        let mut bytes = 0;
        while let Ok(frame) = body.frame().await.unwrap() {
            bytes += frame.into_data().unwrap().len();
        }
        assert_eq!(bytes, part.len());
        assert!(body.frame().await.is_none());
        assert_eq!(proxy.stats().open, 0);
    }
}
