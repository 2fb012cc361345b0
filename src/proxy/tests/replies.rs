//! What does the client receive for each kind of answer from the upstream?

use std::net::SocketAddr;

use http::{Method, Request, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use proptest::prelude::*;
use socket2::{Domain, Socket, Type};

use super::{HELLO, Then, answering, get, send, settings, text, upstream, write_in_pieces};
use crate::proxy::{Fault, Proxy, UpstreamError};

/// The result for a client: status and body, or a fault in the head or in the body.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Answer(u16, String),
    BadHead(Fault),
    BadBody(u16, Fault),
    Other(String),
}

async fn outcome(proxy: &Proxy) -> Outcome {
    match send(proxy, get("/")).await {
        Err(UpstreamError::BadResponse(fault)) => Outcome::BadHead(fault),
        Err(error) => Outcome::Other(format!("{error:?}")),
        Ok(response) => {
            let status = response.status().as_u16();
            match text(response).await {
                Ok(body) => Outcome::Answer(status, body),
                Err(UpstreamError::BadResponse(fault)) => Outcome::BadBody(status, fault),
                Err(error) => Outcome::Other(format!("{error:?}")),
            }
        }
    }
}

fn answer(status: u16, body: &str) -> Outcome {
    Outcome::Answer(status, body.to_owned())
}

#[tokio::test]
async fn every_reply_has_its_outcome() {
    use Outcome::{BadBody, BadHead};
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (reply, expected) in [
        (HELLO.to_owned(), answer(200, "hello")),
        (
            "HTTP/1.0 200 OK\r\n\r\nuntil the end".to_owned(),
            answer(200, "until the end"),
        ),
        ("HTTP/1.1 404 No\r\n\r\n".to_owned(), answer(404, "")),
        ("HTTP/1.1 204 No\r\n\r\n".to_owned(), answer(204, "")),
        (
            "HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n".to_owned(),
            answer(304, ""),
        ),
        (
            format!("{chunked}2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n"),
            answer(200, "hello"),
        ),
        (
            format!("HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n{HELLO}"),
            answer(200, "hello"),
        ),
        (
            format!("HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 102 Wait\r\n\r\n{HELLO}"),
            answer(200, "hello"),
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
                .to_owned(),
            BadHead(Fault::SwitchedProtocols),
        ),
        (
            "HTTP/1.1 100 Go\r\n\r\n".repeat(17) + HELLO,
            BadHead(Fault::TooManyInterim),
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), BadHead(Fault::Head)),
        (
            "HTTP/1.1 200 OK\r\nContent-".to_owned(),
            BadHead(Fault::CutShort),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello"
                .to_owned(),
            BadHead(Fault::TwoFramings),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".to_owned(),
            BadHead(Fault::ContentLength),
        ),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            BadHead(Fault::TransferEncoding),
        ),
        (
            format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(70_000)),
            BadHead(Fault::HeadTooLarge),
        ),
        (
            format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(101)),
            BadHead(Fault::TooManyHeaders),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello".to_owned(),
            BadHead(Fault::CutShort),
        ),
        (format!("{chunked}5\r\nhello\r\n"), BadHead(Fault::CutShort)),
        (format!("{chunked}5\r\nhel"), BadHead(Fault::CutShort)),
        (
            format!("{chunked}5\r\nhello\r\n0\r\n"),
            BadHead(Fault::CutShort),
        ),
        (
            format!("{chunked}5\nhello\r\n0\r\n\r\n"),
            BadHead(Fault::Chunk),
        ),
        (
            format!("{chunked}5\r\nhelloHTTP/1.1 200 OK\r\n\r\n"),
            BadHead(Fault::Chunk),
        ),
        (
            format!("{chunked}11111111111111111\r\n"),
            BadHead(Fault::Chunk),
        ),
        (
            format!("{chunked}0\r\nbad trailer\r\n\r\n"),
            BadHead(Fault::Trailers),
        ),
    ] {
        let proxy = Proxy::new(&settings(answering(reply.clone(), Then::Close))).unwrap();
        let found = outcome(&proxy).await;
        // On a busy machine a fault may come after the head was returned.
        let is_late = matches!((&found, &expected), (BadBody(200, a), BadHead(b)) if a == b);
        assert!(found == expected || is_late, "{reply:?}: {found:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_closes_or_refuses_is_unreachable() {
    let silent = upstream(|_, stream| drop(stream));
    let error = send(&Proxy::new(&settings(silent)).unwrap(), get("/"))
        .await
        .unwrap_err();
    assert!(matches!(error, UpstreamError::Unreachable(_)), "{error:?}");
    // Bound and not listening: the port refuses connections, and no other test can use it.
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    bound
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let port = bound.local_addr().unwrap().as_socket().unwrap().port();
    let error = send(&Proxy::new(&settings(port)).unwrap(), get("/"))
        .await
        .unwrap_err();
    assert!(matches!(error, UpstreamError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn an_answer_to_head_has_a_length_and_no_body_and_keeps_the_connection() {
    let port = answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        Then::GoOn,
    );
    let proxy = Proxy::new(&settings(port)).unwrap();
    for _ in 0..3 {
        let request = Request::builder().method(Method::HEAD).uri("/");
        let response = send(&proxy, request.body(Empty::new()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-length"], "1000");
        assert!(response.body().is_end_stream());
        assert_eq!(response.body().size_hint().exact(), Some(0));
        assert_eq!(text(response).await.unwrap(), "");
    }
    assert_eq!(proxy.stats().created, 1);
}

#[tokio::test]
async fn the_size_hint_is_exact_for_a_known_length_only() {
    let proxy = Proxy::new(&settings(answering(HELLO, Then::GoOn))).unwrap();
    let response = send(&proxy, get("/")).await.unwrap();
    assert_eq!(response.body().size_hint().exact(), Some(5));
    assert!(!response.body().is_end_stream());
    let proxy = Proxy::new(&settings(answering(
        "HTTP/1.1 200 OK\r\n\r\nhi",
        Then::Close,
    )))
    .unwrap();
    let response = send(&proxy, get("/")).await.unwrap();
    assert_eq!(response.body().size_hint().exact(), None);
}

#[tokio::test]
async fn trailers_arrive_without_managed_names() {
    let reply = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
        2\r\nhi\r\n0\r\nX-Sum: 7\r\nx-user-id: root\r\nX_User_Id: root\r\nX-Sum: 8\r\n\
        Content-Length: 5\r\nConnection: close\r\n\r\n";
    let proxy = Proxy::new(&settings(answering(reply, Then::GoOn))).unwrap();
    let response = send(&proxy, get("/")).await.unwrap();
    assert_eq!(response.headers()["trailer"], "X-Sum");
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().unwrap();
    assert_eq!(
        trailers.get_all("x-sum").iter().collect::<Vec<_>>(),
        ["7", "8"]
    );
    assert_eq!(trailers.len(), 2);
    assert_eq!(proxy.stats().idle, 1);
}

#[tokio::test]
async fn bytes_after_an_answer_never_reach_the_next_request() {
    let poisoned = format!("{HELLO}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen");
    let proxy = Proxy::new(&settings(answering(poisoned, Then::GoOn))).unwrap();
    for _ in 0..3 {
        assert_eq!(outcome(&proxy).await, answer(200, "hello"));
        assert_eq!(proxy.stats().idle, 0);
    }
    assert_eq!(proxy.stats().created, 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn arbitrary_bytes_make_at_most_one_answer(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300).boxed(),
            "HTTP/1\\.[01] (200|204|304) x\r\n(Content-Length: [0-9]\r\n|Transfer-Encoding: chunked\r\n)?\
             \r\n([0-9]\r\n|[a-z]{0,9}|HTTP/1\\.1 200 OK\r\n\r\n){0,6}".prop_map(String::into_bytes).boxed(),
        ],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let length = bytes.len();
            let proxy = Proxy::new(&settings(answering(bytes, Then::Close))).unwrap();
            if let Outcome::Answer(_, body) = outcome(&proxy).await {
                assert!(body.chars().count() <= length);
            }
            // Bytes after the answer are never kept for another request.
            assert!(proxy.stats().created <= 1);
        });
    }

    #[test]
    fn a_valid_answer_is_the_same_however_it_is_cut_and_chunked(
        body in "[a-z]{1,200}",
        chunks in proptest::collection::vec(1..40_usize, 1..20),
        cuts in proptest::collection::vec(1..30_usize, 1..20),
    ) {
        let mut reply = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
        let mut left = body.as_str();
        for size in chunks.iter().cycle() {
            let (chunk, rest) = left.split_at((*size).min(left.len()));
            if chunk.is_empty() {
                break;
            }
            reply.extend([&format!("{:x}", chunk.len()), "\r\n", chunk, "\r\n"]);
            left = rest;
        }
        reply += "0\r\n\r\n";
        let port = upstream(move |_, mut stream| {
            super::read_head(&mut stream);
            let mut rest = reply.as_bytes();
            let mut pieces = Vec::new();
            for size in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                if piece.is_empty() {
                    break;
                }
                pieces.push(piece);
                rest = after;
            }
            write_in_pieces(&mut stream, &pieces);
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(async { outcome(&Proxy::new(&settings(port)).unwrap()).await });
        prop_assert_eq!(found, answer(200, &body));
    }
}
