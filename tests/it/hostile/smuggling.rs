//! One request is one request: ambiguous framing is refused, and no byte of a refused or early answered
//! request is read as the beginning of another.

use std::fmt::Write as _;

use crate::support::client::Connection;
use crate::support::harness::TestApp;
use crate::support::plan::ALL_PUBLIC;

/// A marker that must never reach the application, the log or an answer.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: app\r\n\r\n";

/// Sends bytes, then one valid request, and returns every status until the connection ends.
async fn statuses(app: &TestApp, bytes: &[u8]) -> Vec<u16> {
    let mut connection = Connection::open(app.address).await;
    connection.write(bytes).await;
    let last = "GET /last HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n";
    connection.write(last.as_bytes()).await;
    let everything = connection.rest().await;
    let text = String::from_utf8_lossy(&everything).into_owned();
    let status = |part: &str| part.get(..3).and_then(|code| code.parse().ok());
    text.split("HTTP/1.1 ").skip(1).filter_map(status).collect()
}

/// Asserts that nothing was smuggled.
#[track_caller]
fn nothing_hidden(app: &TestApp, of: &str) -> Vec<String> {
    let heads = app.upstream.take_heads();
    let text = |head: &Vec<u8>| String::from_utf8_lossy(head).into_owned();
    let heads: Vec<String> = heads.iter().map(text).collect();
    assert!(
        !heads.iter().any(|head| head.contains("smuggled")),
        "{of}: {heads:?}"
    );
    heads
}

#[tokio::test]
async fn s7_ambiguous_framing_is_refused_and_ends_the_connection() {
    let app = TestApp::with(ALL_PUBLIC).await;
    let length = SMUGGLED.len();
    for framing in [
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: x\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 99999999999999999999\r\n",
    ] {
        let body = format!("0\r\n\r\n{SMUGGLED}");
        let text = format!("POST /x HTTP/1.1\r\nHost: app\r\n{framing}\r\n{body}");
        assert_eq!(statuses(&app, text.as_bytes()).await, [400], "{framing:?}");
        assert_eq!(nothing_hidden(&app, framing), [""; 0], "{framing:?}");
    }
    let old = "POST /x HTTP/1.0\r\nHost: app\r\nConnection: keep-alive\r\n\
               Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(
        statuses(&app, (old.to_owned() + SMUGGLED).as_bytes()).await,
        [400]
    );
    assert_eq!(nothing_hidden(&app, old), [""; 0]);
    // Equal lengths are one reading, and the framing towards the upstream is rewritten.
    let twice = format!(
        "POST /x HTTP/1.1\r\nHost: app\r\nContent-Length: {length}\r\n\
         Content-Length: {length}\r\n\r\n{SMUGGLED}"
    );
    let got = statuses(&app, twice.as_bytes()).await;
    assert!(got == [400] || got == [200, 200], "{got:?}");
    nothing_hidden(&app, "twice the same length");
}

#[tokio::test]
async fn s7_a_length_beside_chunks_is_refused_or_dropped_with_the_connection() {
    let app = TestApp::with(ALL_PUBLIC).await;
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: Chunked\r\nContent-Length: 0\r\n",
    ] {
        let text = format!(
            "POST /x HTTP/1.1\r\nHost: app\r\n{framing}\r\n3\r\nabc\r\n0\r\n\r\n{SMUGGLED}"
        );
        let got = statuses(&app, text.as_bytes()).await;
        assert!(got == [400] || got == [200], "{framing:?}: {got:?}");
        for head in nothing_hidden(&app, framing) {
            assert!(!head.contains("content-length"), "{head}");
        }
    }
}

#[tokio::test]
async fn s7_malformed_chunks_are_refused_and_end_the_connection() {
    let app = TestApp::with(ALL_PUBLIC).await;
    for chunks in [
        "g\r\nabc\r\n0\r\n\r\n",
        "-1\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3 3\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabcX\n0\r\n\r\n",
        "3;a\nabc\r\n0\r\n\r\n",
        "ffffffffffffffff1\r\nabc\r\n0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
    ] {
        let text = format!(
            "POST /x HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{SMUGGLED}"
        );
        let got = statuses(&app, text.as_bytes()).await;
        assert_eq!(got, [400], "{chunks:?}");
        nothing_hidden(&app, chunks);
    }
}

#[tokio::test]
async fn s7_chunk_extensions_and_trailers_are_read_and_dropped() {
    let app = TestApp::with(ALL_PUBLIC).await;
    let text = "POST /x HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\
                Trailer: X-User-Id\r\nConnection: close\r\n\r\n\
                3;a=b;c=\"d\"\r\nabc\r\n0;last\r\nX-User-Id: root\r\nX-T: 1\r\n\r\n";
    let mut connection = Connection::open(app.address).await;
    connection.write(text.as_bytes()).await;
    let answer = connection.answer("POST").await;
    assert_eq!(answer.status, 200);
    let seen = answer.json();
    assert_eq!(seen["body_len"], 3);
    let received = seen["headers"].to_string().to_lowercase();
    assert!(
        !received.contains("root") && !received.contains("trailer"),
        "{received}"
    );
    // A body that is mostly framing is refused.
    let extension = "x".repeat(20_000);
    let text = format!(
        "POST /x HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n\
         1;{extension}\r\na\r\n0\r\n\r\n{SMUGGLED}"
    );
    let got = statuses(&app, text.as_bytes()).await;
    assert_eq!(got.first(), Some(&400), "{got:?}");
    nothing_hidden(&app, "a huge extension");
}

#[tokio::test]
async fn s8_the_body_of_a_refused_request_is_never_the_next_request() {
    let app = TestApp::with("[[rule]]\npath = \"/no/**\"\naccess = \"deny\"\n").await;
    let chunked = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    let length = format!("Content-Length: {}\r\n", SMUGGLED.len());
    for (line, expected) in [
        ("POST /x HTTP/1.1", 401),
        ("POST /no/x HTTP/1.1", 403),
        ("POST /a/../x HTTP/1.1", 400),
        ("BREW /x HTTP/1.1", 405),
        ("POST /auth/nothing HTTP/1.1", 404),
        ("PUT /auth/login HTTP/1.1", 405),
        ("POST /auth/login HTTP/1.1", 415),
        ("POST /auth/sessions/revoke-all HTTP/1.1", 401),
        ("GET /auth/me HTTP/1.1", 401),
        ("GET /auth/health HTTP/1.1", 200),
        ("GET /.well-known/jwks.json HTTP/1.1", 200),
        ("POST /.well-known/jwks.json HTTP/1.1", 405),
    ] {
        for (framing, body) in [
            (length.as_str(), SMUGGLED),
            ("Transfer-Encoding: chunked\r\n", &chunked),
            (&format!("{length}Expect: 100-continue\r\n"), SMUGGLED),
        ] {
            let text = format!("{line}\r\nHost: app\r\n{framing}\r\n{body}");
            let mut got = statuses(&app, text.as_bytes()).await;
            got.retain(|status| *status != 100);
            let kept = [expected, 401];
            assert!(
                got == kept || got == kept[..1],
                "{line} {framing:?}: {got:?}"
            );
            assert_eq!(nothing_hidden(&app, line), [""; 0]);
        }
    }
}

#[tokio::test]
async fn s8_a_large_body_of_a_refused_request_is_not_read_to_its_end() {
    let app = TestApp::start().await;
    let mut text = b"POST /x HTTP/1.1\r\nHost: app\r\nContent-Length: 1000000000\r\n\r\n".to_vec();
    while text.len() < 300_000 {
        text.extend_from_slice(SMUGGLED.as_bytes());
    }
    assert_eq!(statuses(&app, &text).await, [401]);
    assert_eq!(nothing_hidden(&app, "a large body"), [""; 0]);
}

#[tokio::test]
async fn s8_an_application_that_answers_early_does_not_turn_the_body_into_requests() {
    let app = TestApp::with(ALL_PUBLIC).await;
    let upstream = crate::support::upstream::Raw::start(vec![
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_vec(),
    ]);
    let app_early = TestApp::with(&format!(
        "{ALL_PUBLIC}[upstream]\nurl = \"http://{}\"\n",
        upstream.address
    ))
    .await;
    drop(app);
    let body = SMUGGLED.repeat(4_000);
    let text = format!(
        "POST /x HTTP/1.1\r\nHost: app\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let got = statuses(&app_early, text.as_bytes()).await;
    assert!(got.len() <= 2, "{got:?}");
    for head in upstream.take_heads() {
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(!head.starts_with("GET /smuggled"), "{head}");
    }
}

#[tokio::test]
async fn two_requests_in_one_write_are_authorized_separately() {
    let app = TestApp::with("[[rule]]\npath = \"/open\"\naccess = \"public\"\n").await;
    let ann = app.user("ann").await;
    let token = format!("Authorization: Bearer {}\r\n", ann.access);
    let request =
        |target: &str, extra: &str| format!("GET {target} HTTP/1.1\r\nHost: app\r\n{extra}\r\n");
    for (both, expected) in [
        (request("/open", "") + &request("/closed", ""), [200, 401]),
        (request("/closed", "") + &request("/open", ""), [401, 200]),
        (
            request("/mine", &token) + &request("/closed", ""),
            [200, 401],
        ),
        (
            request("/closed", "") + &request("/mine", &token),
            [401, 200],
        ),
        (
            request("/mine", &token) + &request("/a/../b", &token),
            [200, 400],
        ),
    ] {
        let got = statuses(&app, both.as_bytes()).await;
        assert_eq!(got[..2], expected, "{both}");
    }
    app.upstream.take_heads();
    let pair = request("/mine", &token) + &request("/open", "");
    statuses(&app, pair.as_bytes()).await;
    let heads = nothing_hidden(&app, "a pair");
    assert!(heads[0].contains("x-user-id"), "{}", heads[0]);
    assert!(!heads[1].contains("x-user-id"), "{}", heads[1]);
}

#[tokio::test]
async fn many_requests_in_one_write_are_answered_in_order() {
    let app = TestApp::with(ALL_PUBLIC).await;
    let mut text = String::new();
    for n in 0..50 {
        write!(
            text,
            "POST /{n} HTTP/1.1\r\nHost: app\r\nContent-Length: {n}\r\n\r\n"
        )
        .unwrap();
        text += &"b".repeat(n);
    }
    let mut connection = Connection::open(app.address).await;
    connection.write(text.as_bytes()).await;
    for n in 0..50 {
        let seen = connection.answer("POST").await.json();
        assert_eq!(seen["target"], format!("/{n}"));
        assert_eq!(seen["body_len"], n);
    }
}
