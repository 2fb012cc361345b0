//! HTTP/2 frames written by hand: malformed heads, lengths, trailers and CONNECT.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;

use crate::support::client::DEADLINE;
use crate::support::h2::{
    DATA, END_HEADERS, END_STREAM, Frame, Frames, HEADERS, RST_STREAM, WHOLE, block, frame,
};
use crate::support::harness::TestApp;
use crate::support::plan::ALL_PUBLIC;
use crate::support::scripted::serve;
use crate::support::wait::until;
use crate::support::websocket::app_before;

/// The first byte of a header block with status 200 (RFC 7541, A).
const OK: u8 = 0x88;

/// The reaction of the server to a stream: a head, a reset, or the end of the connection.
async fn outcome(frames: &mut Frames) -> Option<Frame> {
    loop {
        let frame = frames.read().await?;
        if frame.kind == HEADERS || frame.kind == RST_STREAM || frame.kind == 7 {
            return Some(frame);
        }
    }
}

fn is_ok(frame: Option<&Frame>) -> bool {
    frame.is_some_and(|frame| frame.kind == HEADERS && frame.payload.first() == Some(&OK))
}

/// The answer to one header block on its own connection.
async fn received(app: &TestApp, lines: &[(&str, &str)], flags: u8, body: &[u8]) -> Option<Frame> {
    let mut frames = Frames::open(app.address).await;
    frames.write(&frame(HEADERS, flags, 1, &block(lines))).await;
    if flags & END_STREAM == 0 {
        frames.write(&frame(DATA, END_STREAM, 1, body)).await;
    }
    outcome(&mut frames).await
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const HOST: (&str, &str) = (":authority", "app");
const ROOT: (&str, &str) = (":path", "/a");

#[tokio::test]
async fn s1_invalid_targets_over_http2_are_not_forwarded() {
    let app = TestApp::with(ALL_PUBLIC).await;
    for path in [
        "*",
        "",
        "a",
        "http://app/a",
        "//a",
        "/a/../b",
        "/a b",
        "/a\tb",
        "/a\u{7f}",
        "/a\\b",
        "/%2e%2e/a",
        "/a;b",
        "/\u{e9}",
        "/a\r\nX-Role: admin",
        "/a\0",
        "/a%00",
        "?a",
        "app:80",
    ] {
        let lines = [METHOD, SCHEME, HOST, (":path", path)];
        let answer = received(&app, &lines, WHOLE, b"").await;
        assert!(!is_ok(answer.as_ref()), "{path:?}");
        assert_eq!(app.upstream.take_heads().len(), 0, "{path:?}");
    }
}

#[tokio::test]
async fn s7_ambiguous_heads_over_http2_are_not_forwarded() {
    let app = TestApp::with(ALL_PUBLIC).await;
    let with =
        |more: &[(&'static str, &'static str)]| [&[METHOD, SCHEME, HOST, ROOT][..], more].concat();
    for lines in [
        with(&[(":path", "/b")]),
        with(&[(":method", "POST")]),
        with(&[(":authority", "evil")]),
        with(&[(":foo", "b")]),
        with(&[(":status", "200")]),
        with(&[(":protocol", "websocket")]),
        with(&[("X-User-Id", "1")]),
        with(&[("x user", "1")]),
        with(&[("x-user-id\0", "1")]),
        with(&[("x:y", "1")]),
        with(&[("", "1")]),
        with(&[("a", "b\r\nx-role: admin")]),
        with(&[("a", "b\nx-role: admin")]),
        with(&[("a", "b\0c")]),
        with(&[("host", "evil")]),
        with(&[("host", "app"), ("host", "app")]),
        with(&[("content-length", "5")]),
        with(&[("content-length", "1"), ("content-length", "0")]),
        with(&[("content-length", "+0")]),
        with(&[("te", "trailers, deflate")]),
        with(&[("connection", "x-user-id")]),
        with(&[("proxy-connection", "x")]),
        with(&[("keep-alive", "x")]),
        with(&[("upgrade", "h2c")]),
        with(&[("transfer-encoding", "chunked")]),
        vec![METHOD, SCHEME, HOST, ("a", "b"), ROOT],
        vec![METHOD, SCHEME, ROOT],
        vec![METHOD, SCHEME, (":authority", "root@app"), ROOT],
        vec![METHOD, SCHEME, (":authority", ""), ROOT],
        vec![METHOD, SCHEME, (":authority", "a,b"), ROOT],
        vec![METHOD, HOST, ROOT],
        vec![METHOD, (":scheme", "ftp"), HOST, ROOT],
        vec![(":method", "get"), SCHEME, HOST, ROOT],
        vec![(":method", "TRACE"), SCHEME, HOST, ROOT],
        vec![(":method", "GET / HTTP/1.1\r\n"), SCHEME, HOST, ROOT],
    ] {
        let answer = received(&app, &lines, WHOLE, b"").await;
        assert!(!is_ok(answer.as_ref()), "{lines:?}");
        assert_eq!(app.upstream.take_heads().len(), 0, "{lines:?}");
    }
}

#[tokio::test]
async fn s3_a_fragment_over_http2_hides_no_path() {
    let rule = "[[rule]]\npath = \"/admin\"\nroles = [\"admin\"]\n";
    let app = TestApp::with(&format!("{ALL_PUBLIC}{rule}")).await;
    let lines = [METHOD, SCHEME, HOST, (":path", "/admin#/public")];
    assert!(!is_ok(received(&app, &lines, WHOLE, b"").await.as_ref()));
    let lines = [METHOD, SCHEME, HOST, (":path", "/public#/admin")];
    received(&app, &lines, WHOLE, b"").await;
    for head in app.upstream.take_heads() {
        assert!(head.starts_with(b"GET /public HTTP/1.1\r\n"), "{head:?}");
    }
}

#[tokio::test]
async fn s7_a_content_length_over_http2_that_differs_from_the_body_ends_the_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap();
    let (tell, told_all) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, tell) = (stream.unwrap(), tell.clone());
            tell.send(None).unwrap();
            thread::spawn(move || {
                let mut all = Vec::new();
                drop(stream.read_to_end(&mut all));
                drop(tell.send(Some(all)));
            });
        }
    });
    let app = app_before(upstream, ALL_PUBLIC).await;
    for (length, body) in [
        ("5", &b"GET /smuggled HTTP/1.1\r\n\r\n"[..]),
        ("20", b"short"),
    ] {
        let lines = [
            (":method", "POST"),
            SCHEME,
            HOST,
            ROOT,
            ("content-length", length),
        ];
        let answer = received(&app, &lines, END_HEADERS, body).await;
        assert!(!is_ok(answer.as_ref()), "{length}");
    }
    // At most the beginning of one request is forwarded, and then its connection is closed. The stop of
    // the app closes every connection; the connection of this test shows that no request is left.
    drop(app);
    let last = b"the last";
    let mut stream = TcpStream::connect(upstream).unwrap();
    stream.write_all(last).unwrap();
    drop(stream);
    let (mut open, mut is_last, mut seen) = (0, false, Vec::new());
    while open > 0 || !is_last {
        match told_all.recv_timeout(DEADLINE).expect("an end in time") {
            None => open += 1,
            Some(bytes) => {
                open -= 1;
                is_last |= bytes == last;
                seen.extend(bytes);
            }
        }
    }
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(!seen.contains("smuggled"), "{seen}");
}

#[tokio::test]
async fn s11_trailers_over_http2_are_not_forwarded() {
    let (told_all, received) = channel();
    let told_all = Mutex::new(told_all);
    let upstream = serve(move |mut stream| {
        let mut all = Vec::new();
        let mut byte = [0];
        while !all.ends_with(b"0\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
            all.push(byte[0]);
        }
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        told_all.lock().unwrap().send(all).unwrap();
    });
    let app = app_before(upstream, ALL_PUBLIC).await;
    let lines = [
        (":method", "POST"),
        SCHEME,
        HOST,
        ROOT,
        ("trailer", "x-user-id"),
    ];
    let mut frames = Frames::open(app.address).await;
    frames
        .write(&frame(HEADERS, END_HEADERS, 1, &block(&lines)))
        .await;
    frames.write(&frame(DATA, 0, 1, b"hello")).await;
    let trailers = block(&[("x-user-id", "root"), ("x_user_name", "root")]);
    frames.write(&frame(HEADERS, WHOLE, 1, &trailers)).await;
    assert!(is_ok(outcome(&mut frames).await.as_ref()));
    let seen = until(|| received.try_recv().ok()).await;
    let seen = String::from_utf8_lossy(&seen).to_lowercase();
    assert!(
        !seen.contains("root") && !seen.contains("trailer"),
        "{seen}"
    );
}

#[tokio::test]
async fn s9_connect_opens_a_stream_only_for_a_websocket_of_the_application() {
    let app = TestApp::with(&format!(
        "{ALL_PUBLIC}[server]\ntrusted_proxies = [\"127.0.0.1/32\"]\n"
    ))
    .await;
    let connect = |protocol, path| {
        vec![
            (":method", "CONNECT"),
            (":protocol", protocol),
            SCHEME,
            HOST,
            (":path", path),
            ("content-type", "application/grpc"),
        ]
    };
    for lines in [
        connect("connect-udp", "/a"),
        connect("WebSocket", "/a"),
        connect("websocket, h2c", "/a"),
        connect("", "/a"),
        connect("websocket", "*"),
        connect("websocket", "/a/../b"),
        connect("websocket", "/auth/verify"),
        connect("websocket", "/auth/verify/a"),
        connect("websocket", "/auth/me"),
        connect("websocket", "/auth/health"),
        connect("websocket", "/auth/login"),
        connect("websocket", "/.well-known/jwks.json"),
        [connect("websocket", "/a"), vec![("content-length", "5")]].concat(),
        vec![(":method", "CONNECT"), HOST],
        vec![(":method", "CONNECT"), HOST, (":path", "/a"), SCHEME],
    ] {
        let answer = received(&app, &lines, END_HEADERS, b"hello").await;
        assert!(!is_ok(answer.as_ref()), "{lines:?}");
        assert_eq!(app.upstream.take_heads().len(), 0, "{lines:?}");
    }
}

#[tokio::test]
async fn s9_a_websocket_over_http2_that_the_application_declines_is_not_open() {
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let upstream = crate::support::scripted::ManualApp::start();
        upstream.answer(answer);
        let app = app_before(upstream.address, ALL_PUBLIC).await;
        let lines = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            SCHEME,
            HOST,
            ROOT,
        ];
        let mut frames = Frames::open(app.address).await;
        frames
            .write(&frame(HEADERS, END_HEADERS, 1, &block(&lines)))
            .await;
        let received = outcome(&mut frames).await.expect("a verdict");
        // 5xx: a literal with the name `:status` (RFC 7541, 6.2.2), or an indexed 500.
        assert_eq!(received.kind, HEADERS, "{answer}: {received:?}");
        let first = received.payload.first().copied().unwrap_or_default();
        // 0x88, 0x89 and 0x8a are 200, 204 and 206.
        assert!(
            ![0x88, 0x89, 0x8a].contains(&first),
            "{answer}: {received:?}"
        );
    }
}

#[tokio::test]
async fn s14_identity_never_crosses_the_streams_of_one_connection() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let tokens = [
        ("ann", format!("Bearer {}", ann.access)),
        ("bob", format!("Bearer {}", bob.access)),
        ("nobody", String::new()),
    ];
    let mut all = Vec::new();
    for n in 0..90_u32 {
        let (name, token) = &tokens[n as usize % 3];
        let path = format!("/of/{name}/{n}");
        let mut lines = vec![METHOD, SCHEME, HOST, (":path", path.as_str())];
        if !token.is_empty() {
            lines.push(("authorization", token));
        }
        all.extend(frame(HEADERS, WHOLE, 2 * n + 1, &block(&lines)));
    }
    let mut frames = Frames::open(app.address).await;
    frames.write(&all).await;
    let mut good = 0;
    for _ in 0..90 {
        good += u32::from(is_ok(outcome(&mut frames).await.as_ref()));
    }
    assert_eq!(good, 60);
    for head in app.upstream.take_heads() {
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let name = head.split('/').nth(2).unwrap_or_default().to_owned();
        assert!(head.contains(&format!("x-user-name: {name}\r\n")), "{head}");
        assert_eq!(head.matches("x-user-name").count(), 1, "{head}");
    }
}

#[tokio::test]
async fn s21_two_credentials_in_split_cookie_headers_are_refused() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let of = |token: &str| format!("sidegate_access={token}");
    let (anns, bobs) = (of(&ann.access), of(&bob.access));
    let shown = format!("Bearer {}", bob.access);
    for more in [
        [("cookie", anns.as_str()), ("cookie", bobs.as_str())],
        [("cookie", anns.as_str()), ("authorization", shown.as_str())],
        [
            ("authorization", shown.as_str()),
            ("authorization", "Bearer x"),
        ],
        [
            ("cookie", "sidegate_access"),
            ("cookie", &anns["sidegate_access".len()..]),
        ],
    ] {
        let lines = [&[METHOD, SCHEME, HOST, ROOT][..], &more].concat();
        let answer = received(&app, &lines, WHOLE, b"").await;
        assert!(!is_ok(answer.as_ref()), "{more:?}");
        assert_eq!(app.upstream.take_heads().len(), 0, "{more:?}");
    }
    let lines = [
        METHOD,
        SCHEME,
        HOST,
        ROOT,
        ("cookie", "a=b"),
        ("cookie", &anns),
    ];
    assert!(is_ok(received(&app, &lines, WHOLE, b"").await.as_ref()));
    let head = app.upstream.take_heads().concat();
    let head = String::from_utf8_lossy(&head).to_lowercase();
    assert!(
        !head.contains("sidegate_access") && head.contains("cookie: a=b\r\n"),
        "{head}"
    );
}
