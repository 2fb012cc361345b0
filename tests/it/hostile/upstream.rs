//! A malicious application over HTTP/2: its invalid answers become 502, it uses up one request at a
//! time, and its trailers cannot imitate Sidegate.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::client::{Connection, TestRequest};
use crate::support::h2::{
    CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, WHOLE, block, frame,
};
use crate::support::h2::{RST_STREAM, SETTINGS, WINDOW_UPDATE};
use crate::support::harness::TestApp;
use crate::support::scripted::serve;

const DATA: u8 = 0;
const PUSH_PROMISE: u8 = 5;
/// Reads frames up to a head; returns its stream.
fn request(stream: &mut TcpStream) -> Option<u32> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let [a, b, c, kind, _, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).ok()?;
        if kind == HEADERS {
            return Some(u32::from_be_bytes(id));
        }
    }
}

/// Answers every request on every connection with these frames; counts the requests.
fn hostile(
    answer: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let address = serve(move |mut stream| {
        let mut preface = [0; 24];
        if stream.read_exact(&mut preface).is_err() {
            return;
        }
        drop(stream.write_all(&frame(SETTINGS, 0, 0, b"")));
        while let Some(id) = request(&mut stream) {
            counted.fetch_add(1, Ordering::SeqCst);
            if stream.write_all(&answer(id)).is_err() {
                return;
            }
        }
    });
    (address, count)
}

async fn before(address: SocketAddr) -> TestApp {
    let text = format!("[policy]\ndefault = \"public\"\n[upstream]\nurl = \"h2c://{address}\"\n");
    TestApp::with(&text).await
}

fn head(id: u32, flags: u8, lines: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags, id, &block(lines))
}

/// All bytes of the answer to a client that closes after this request.
async fn received(app: &TestApp, bytes: &[u8]) -> Vec<u8> {
    let mut connection = Connection::open(app.address).await;
    connection.write(bytes).await;
    connection.rest().await
}

const GOOD: (&str, &str) = (":status", "200");

#[tokio::test]
async fn s17_invalid_answers_over_http2_are_502() {
    type Answer = fn(u32) -> Vec<u8>;
    let answers: &[(&str, Answer)] = &[
        ("a push", |id| {
            let promised = [&[0, 0, 0, 2][..], &block(&[(":method", "GET")])].concat();
            frame(PUSH_PROMISE, END_HEADERS, id, &promised)
        }),
        ("no status", |id| head(id, WHOLE, &[("a", "b")])),
        ("two statuses", |id| {
            head(id, WHOLE, &[GOOD, (":status", "403")])
        }),
        ("a late status", |id| head(id, WHOLE, &[("a", "b"), GOOD])),
        ("a switch", |id| {
            head(id, END_HEADERS, &[(":status", "101")])
        }),
        ("an odd status", |id| {
            head(id, WHOLE, &[(":status", "2000")])
        }),
        ("an upper-case name", |id| {
            head(id, WHOLE, &[GOOD, ("Set-Cookie", "a")])
        }),
        ("a line end", |id| {
            head(id, WHOLE, &[GOOD, ("a", "b\r\nset-cookie: c")])
        }),
        ("of a connection", |id| {
            head(id, WHOLE, &[GOOD, ("connection", "a")])
        }),
        ("chunks", |id| {
            head(id, WHOLE, &[GOOD, ("transfer-encoding", "chunked")])
        }),
        ("two lengths", |id| {
            head(
                id,
                END_HEADERS,
                &[GOOD, ("content-length", "1"), ("content-length", "2")],
            )
        }),
        ("interim for ever", |id| {
            head(id, END_HEADERS, &[(":status", "103")]).repeat(1_000)
        }),
        ("a bomb", |id| {
            let part = block(&[("a", &"b".repeat(16_000))]);
            let mut all = frame(HEADERS, 0, id, &block(&[GOOD]));
            for _ in 0..200 {
                all.extend(frame(CONTINUATION, 0, id, &part));
            }
            all
        }),
        ("a window too large", |_| {
            frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()).repeat(3)
        }),
        ("refused", |id| {
            frame(RST_STREAM, 0, id, &7_u32.to_be_bytes())
        }),
        ("go away", |_| frame(GOAWAY, 0, 0, &[0; 8])),
        ("another's stream", |_| head(99, WHOLE, &[GOOD])),
        ("noise", |_| vec![0xff; 64]),
    ];
    for (name, answer) in answers {
        let (address, count) = hostile(answer);
        let app = before(address).await;
        for round in 1..=3 {
            let received = app.anon().get("/a").await;
            assert_eq!(received.status, 502, "{name}: {}", received.text());
            // There is at most one retry. If the application claims that it has not processed the
            // request, there are as many as for a restarting server.
            let each = if matches!(*name, "go away") { 9 } else { 2 };
            let requests = count.load(Ordering::SeqCst);
            assert!(requests <= each * round, "{name}: {requests} requests");
        }
        assert_eq!(app.anon().get("/auth/health").await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn s17_a_body_over_http2_is_as_long_as_its_content_length() {
    for (length, body) in [("5", &b"longer than five"[..]), ("50", b"short")] {
        let (address, _) = hostile(move |id| {
            let mut all = head(id, END_HEADERS, &[GOOD, ("content-length", length)]);
            all.extend(frame(DATA, END_STREAM, id, body));
            all
        });
        let app = before(address).await;
        let bytes = TestRequest::new("GET", "/a")
            .with("Connection", "close")
            .bytes("app");
        let received = received(&app, &bytes).await;
        let received = String::from_utf8_lossy(&received).into_owned();
        // The connection may be closed before the head is forwarded.
        let (head, body) = received.split_once("\r\n\r\n").unwrap_or_default();
        let is_whole = head.starts_with("HTTP/1.1 200") && body.len().to_string() == length;
        assert!(!is_whole, "{received}");
        assert!(!body.contains("longer than"), "{received}");
    }
}

#[tokio::test]
async fn s11_trailers_of_an_answer_cannot_imitate_sidegate() {
    let (address, _) = hostile(|id| {
        let mut all = head(id, END_HEADERS, &[GOOD, ("trailer", "x-user-id, x-sum")]);
        all.extend(frame(DATA, 0, id, b"body"));
        let odd = [
            ("x-user-id", "root"),
            ("content-length", "1"),
            ("x-sum", "7"),
        ];
        all.extend(head(id, WHOLE, &odd));
        all
    });
    let app = before(address).await;
    let request = TestRequest::new("GET", "/a")
        .with("TE", "trailers")
        .with("Connection", "close, TE");
    let received = received(&app, &request.bytes("app")).await;
    let received = String::from_utf8_lossy(&received).into_owned();
    assert!(received.contains("x-sum: 7"), "{received}");
    assert!(
        !received.contains("root") && !received.contains("content-length"),
        "{received}"
    );
}

#[tokio::test]
async fn s10_an_application_that_floods_over_http2_stops_no_client() {
    type Flood = fn(u32) -> Vec<u8>;
    let floods: &[Flood] = &[
        |_| frame(SETTINGS, 0, 0, b"").repeat(50_000),
        |_| frame(PING, 0, 0, &[0; 8]).repeat(50_000),
        |id| {
            [
                head(id, END_HEADERS, &[GOOD]),
                frame(DATA, 0, id, b"").repeat(50_000),
            ]
            .concat()
        },
        |id| frame(WINDOW_UPDATE, 0, id, &1_u32.to_be_bytes()).repeat(50_000),
        |id| frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()).repeat(50_000),
        |_| frame(0xee, 0, 0, b"unknown").repeat(50_000),
    ];
    for flood in floods {
        let (address, _) = hostile(move |id| [flood(id), head(id, WHOLE, &[GOOD])].concat());
        let app = before(address).await;
        for _ in 0..2 {
            let bytes = TestRequest::new("GET", "/a")
                .with("Connection", "close")
                .bytes("app");
            let received = received(&app, &bytes).await;
            assert!(received.is_empty() || received.starts_with(b"HTTP/1.1 "));
            assert_eq!(app.anon().get("/auth/health").await.status, 200);
        }
    }
}
