//! Ordinary and hostile heads of answers.

use super::*;

fn read(method: &Method, input: &[u8]) -> Result<Option<(Head, HeaderMap, usize)>, Fault> {
    let mut headers = HeaderMap::new();
    let mut input = BytesMut::from(input);
    let head = HeadReader::new(method).read(&mut input, &mut headers)?;
    Ok(head.map(|head| (head, headers, input.len())))
}

fn ok(input: &str) -> (Head, HeaderMap, usize) {
    read(&Method::GET, input.as_bytes()).unwrap().unwrap()
}

fn fault(input: &str) -> Fault {
    read(&Method::GET, input.as_bytes()).unwrap_err()
}

#[test]
fn the_head_determines_the_framing() {
    let (head, _, left) = ok("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert!(matches!(head.payload, Payload::Length(5)));
    assert_eq!((head.reuse, left), (Reuse::Allowed, 5));
    let (head, _, _) = ok("HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\n\r\n");
    assert!(matches!(head.payload, Payload::Chunked(_)));
    assert_eq!(head.reuse, Reuse::Allowed);
    let (head, _, _) = ok("HTTP/1.1 200 OK\r\n\r\n");
    assert!(matches!(head.payload, Payload::Close));
    assert_eq!(head.reuse, Reuse::Refused);
}

#[test]
fn ambiguous_or_malformed_heads_are_refused() {
    use Fault::{
        ContentLength as Length, Head, SwitchedProtocols, TransferEncoding as Coding, TwoFramings,
    };
    for (lines, expected) in [
        (
            "1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            TwoFramings,
        ),
        (
            "1.1 204 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            TwoFramings,
        ),
        (
            "1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
            Length,
        ),
        (
            "1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
            Length,
        ),
        ("1.1 200 OK\r\nContent-Length: 5, 5\r\n", Length),
        ("1.1 200 OK\r\nContent-Length: +5\r\n", Length),
        ("1.1 200 OK\r\nContent-Length: -1\r\n", Length),
        ("1.1 200 OK\r\nContent-Length: 0x5\r\n", Length),
        ("1.1 200 OK\r\nContent-Length:\r\n", Length),
        (
            "1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n",
            Length,
        ),
        ("1.1 304 OK\r\nContent-Length: x\r\n", Length),
        ("1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n", Coding),
        (
            "1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n",
            Coding,
        ),
        ("1.1 200 OK\r\nTransfer-Encoding: identity\r\n", Coding),
        ("1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n", Coding),
        ("1.1 200 OK\r\nTransfer-Encoding:\r\n", Coding),
        (
            "1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            Coding,
        ),
        ("1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", Coding),
        (
            "1.1 101 Switching\r\nUpgrade: websocket\r\n",
            SwitchedProtocols,
        ),
        ("1.1 200 OK\r\nA: b\r\n folded\r\n", Head),
        ("1.1 200 OK\r\nA : b\r\n", Head),
        ("1.1 200 OK\r\n: b\r\n", Head),
        ("1.1 200 OK\r\nno colon\r\n", Head),
        ("1.1 200 OK\r\nA: b\0\r\n", Head),
        ("1.1 200 OK\r\nA: b\rc\r\n", Head),
        ("1.1 099 OK\r\n", Head),
        ("1.1 20 OK\r\n", Head),
        ("1.1 2000 OK\r\n", Head),
        ("2.0 200 OK\r\n", Head),
        ("0.9 200 OK\r\n", Head),
    ] {
        assert_eq!(fault(&format!("HTTP/{lines}\r\n")), expected, "{lines:?}");
    }
    for input in [
        "<html>",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(fault(input), Head, "{input:?}");
    }
}

#[test]
fn size_and_number_of_headers_are_bounded() {
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}\r\n",
        "a: b\r\n".repeat(MAX_HEADERS + 1)
    );
    assert_eq!(fault(&many), Fault::TooManyHeaders);
    let full = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS));
    assert_eq!(ok(&full).1.len(), MAX_HEADERS);
    let endless = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(MAX_HEAD));
    assert_eq!(fault(&endless), Fault::HeadTooLarge);
    assert_eq!(fault(&format!("{endless}\r\n\r\n")), Fault::HeadTooLarge);
}

#[test]
fn a_head_in_single_bytes_is_the_same_head() {
    let bytes =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nhi";
    let mut reader = HeadReader::new(&Method::GET);
    let (mut input, mut headers) = (BytesMut::new(), HeaderMap::new());
    for (at, byte) in bytes.iter().enumerate() {
        input.extend_from_slice(&[*byte]);
        if let Some(head) = reader.read(&mut input, &mut headers).unwrap() {
            assert_eq!(at, bytes.len() - 3);
            assert!(matches!(head.payload, Payload::Length(2)));
            assert_eq!(headers["a"], "b");
            return;
        }
    }
    panic!("no head was found");
}

#[test]
fn sixteen_interim_answers_are_skipped_and_not_one_more() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (head, headers, _) = ok(&(interim.repeat(16) + last));
    assert_eq!(head.status, StatusCode::OK);
    assert!(!headers.contains_key("link"));
    assert_eq!(fault(&(interim.repeat(17) + last)), Fault::TooManyInterim);
}

#[test]
fn answers_without_a_body_have_none_and_keep_their_length() {
    let input = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    let (head, headers, _) = read(&Method::HEAD, input).unwrap().unwrap();
    assert!(head.payload.is_done());
    assert_eq!(headers[CONTENT_LENGTH], "1000");
    assert_eq!(head.reuse, Reuse::Allowed);
    let (head, headers, _) = ok("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n");
    assert!(head.payload.is_done());
    assert_eq!(headers[CONTENT_LENGTH], "7");
    let (head, _, _) = ok("HTTP/1.1 204 No Content\r\n\r\n");
    assert!(head.payload.is_done());
    assert_eq!(head.reuse, Reuse::Allowed);
}

#[test]
fn a_204_with_a_content_length_closes_the_connection() {
    for line in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let (head, headers, _) = ok(&format!("HTTP/1.1 204 No Content\r\n{line}\r\n\r\n"));
        assert!(head.payload.is_done());
        assert_eq!(head.reuse, Reuse::Refused, "{line}");
        assert!(!headers.contains_key(CONTENT_LENGTH));
    }
}

#[test]
fn connections_are_kept_according_to_version_and_header() {
    for (version, line, reuse) in [
        ("1.1", "A: b", Reuse::Allowed),
        ("1.1", "Connection: close", Reuse::Refused),
        ("1.1", "Connection: x, CLOSE", Reuse::Refused),
        (
            "1.1",
            "Connection: keep-alive\r\nConnection: close",
            Reuse::Refused,
        ),
        ("1.0", "A: b", Reuse::Refused),
        ("1.0", "Connection: Keep-Alive", Reuse::Allowed),
    ] {
        let head = format!("HTTP/{version} 200 OK\r\n{line}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(ok(&head).0.reuse, reuse, "{version} {line}");
    }
}

#[test]
fn hop_by_hop_headers_and_those_named_by_connection_are_removed() {
    let (head, headers, _) = ok(
        "HTTP/1.1 200 OK\r\nConnection: X-Hop, content-length\r\nX-Hop: 1\r\nKeep-Alive: t=5\r\n\
         Proxy-Connection: a\r\nProxy-Authenticate: b\r\nTE: c\r\nUpgrade: h2c\r\n\
         Trailer: X-Sum\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-User-Id: 7\r\n\
         Content-Length: 3\r\nEmpty:\r\n\r\n",
    );
    assert!(matches!(head.payload, Payload::Length(3)));
    let mut names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "content-length",
            "empty",
            "set-cookie",
            "set-cookie",
            "trailer",
            "x-user-id"
        ]
    );
}
