//! HTTP/2 in: the same product over it, and what a client can do to it.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::Full;
use tokio::time::{Instant, timeout};

use crate::client::{Ask, DEADLINE};
use crate::h2::{
    CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING,
    PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, get,
};
use crate::harness::{PASSWORD, TestApp};
use crate::scripted::{Held, head, in_front_of, serve};

const OPEN: &str = "[policy]\ndefault = \"public\"\n";

const WHOLE: u8 = END_HEADERS | END_STREAM;

/// Somebody else is served, whatever is being done to the server.
async fn others_are_served(app: &TestApp) {
    assert_eq!(app.anon().get("/auth/health").await.status, 200);
    let mut client = Client::open(app.address).await;
    let at = format!("http://{}/auth/health", app.address);
    assert_eq!(client.get(&at).await.status(), 200);
}

fn ask(target: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::get(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).expect("a request")
}

#[tokio::test]
async fn a_session_lives_over_http2_as_it_does_over_http1() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let mut client = Client::open(app.address).await;
    let at = format!("http://{}/orders/7?x=1", app.address);
    let refused = client.get(&at).await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.version(), Version::HTTP_2);
    let bearer = format!("Bearer {}", ann.access);
    for _ in 0..3 {
        let headers = [
            ("authorization", bearer.as_str()),
            ("x-user-id", "root"),
            ("te", "trailers"),
        ];
        let answer = client.ask(ask(&at, &headers)).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        for name in ["connection", "keep-alive", "transfer-encoding"] {
            assert!(!answer.headers().contains_key(name), "{name}");
        }
    }
    let heads = app.upstream.take_heads();
    assert_eq!(heads.len(), 3);
    let head = String::from_utf8_lossy(&heads[0]).to_lowercase();
    assert!(head.starts_with("get /orders/7?x=1 http/1.1\r\n"), "{head}");
    let host = format!("\r\nhost: {}\r\n", app.address);
    assert!(head.contains(&host), "{head}");
    assert!(!head.contains("root"), "{head}");
}

#[tokio::test]
async fn a_body_comes_through_both_ways() {
    let app = TestApp::with(OPEN).await;
    let mut client = Client::open(app.address).await;
    let at = format!("http://{}/upload", app.address);
    let body = Bytes::from(vec![b'x'; 1 << 20]);
    let request = Request::post(&at).body(Full::new(body));
    let answer = client.ask(request.expect("a request")).await;
    assert_eq!(answer.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_log_in_works_over_http2() {
    let app = TestApp::start().await;
    app.account("ann", &["user"]).await;
    let mut client = Client::open(app.address).await;
    let at = format!("http://{}/auth/login", app.address);
    let body = format!(r#"{{"identifier":"ann","password":"{PASSWORD}"}}"#);
    let request = Request::post(&at)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)));
    let answer = client.ask(request.expect("a request")).await;
    let answer = answer.expect("an answer");
    let told = String::from_utf8_lossy(answer.body()).into_owned();
    assert_eq!(answer.status(), 200, "{told}");
    assert!(told.contains("accessToken"), "{told}");
}

#[tokio::test]
async fn the_host_of_http2_is_its_authority_and_a_host_line_must_agree() {
    let app = TestApp::with(OPEN).await;
    let mut client = Client::open(app.address).await;
    let at = format!("http://{}/", app.address);
    let told = client.ask(ask(&at, &[("host", "evil.example.org")])).await;
    assert_eq!(told.expect("an answer").status(), 400);
    assert_eq!(app.upstream.count(), 0);
}

#[tokio::test]
async fn a_cookie_in_crumbs_is_one_cookie() {
    let app = TestApp::with(OPEN).await;
    let mut client = Client::open(app.address).await;
    let at = format!("http://{}/", app.address);
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2")];
    let answer = client.ask(ask(&at, &crumbs)).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let heads = app.upstream.take_heads();
    let head = String::from_utf8_lossy(&heads[0]).to_lowercase();
    assert!(head.contains("\r\ncookie: a=1; b=2\r\n"), "{head}");
}

#[tokio::test]
async fn headers_that_belong_to_a_connection_are_no_part_of_http2() {
    let app = TestApp::with(OPEN).await;
    for line in [
        ("connection", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
    ] {
        let mut frames = Frames::open(app.address).await;
        let request = frame(HEADERS, WHOLE, 1, &get("/", &[line]));
        frames.write(&request).await;
        let told = frames.until(RST_STREAM).await;
        assert!(told.is_some(), "{line:?}");
    }
    assert_eq!(app.upstream.count(), 0);
}

#[tokio::test]
async fn connect_makes_no_tunnel() {
    let app = TestApp::with(OPEN).await;
    let mut frames = Frames::open(app.address).await;
    let lines = block(&[(":method", "CONNECT"), (":authority", "other:22")]);
    frames.write(&frame(HEADERS, END_HEADERS, 1, &lines)).await;
    let answer = frames.until(HEADERS).await.expect("an answer");
    assert_eq!(answer.stream, 1);
    assert_eq!(app.upstream.count(), 0);
}

#[tokio::test]
async fn s10_a_preface_that_does_not_come_ends_its_connection() {
    let app = TestApp::with("[server]\nheader_timeout = \"1s\"\n").await;
    for begun in [&b""[..], b"PRI * HTTP/2.0\r\n", PREFACE] {
        let mut frames = Frames::silent(app.address).await;
        frames.write(begun).await;
        if begun == PREFACE {
            // The frame that must follow is cut.
            frames.write(&frame(SETTINGS, 0, 0, b"")[..5]).await;
        }
        let began = Instant::now();
        frames.ends().await;
        assert!(began.elapsed() < Duration::from_secs(30));
    }
    let ask = Ask::new("GET", "/auth/health");
    let other = ask.send_in_time(app.address).await;
    assert_eq!(other.status, 200, "others are served on");
}

#[tokio::test]
async fn s10_a_header_block_that_does_not_end_ends_its_connection() {
    let app = TestApp::with("[server]\nheader_timeout = \"1s\"\n").await;
    let mut frames = Frames::open(app.address).await;
    frames
        .write(&frame(HEADERS, END_STREAM, 1, &get("/", &[])))
        .await;
    let began = Instant::now();
    let ended = async {
        while frames.write(&frame(CONTINUATION, 0, 1, b"")).await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(DEADLINE, ended).await.expect("an end in time");
    assert!(began.elapsed() < Duration::from_secs(30));
    let ask = Ask::new("GET", "/auth/health");
    let other = ask.send_in_time(app.address).await;
    assert_eq!(other.status, 200, "others are served on");
}

#[tokio::test]
async fn s10_a_flood_of_continuations_ends_its_connection() {
    let app = TestApp::start().await;
    let mut frames = Frames::open(app.address).await;
    let piece = block(&[("x", &"y".repeat(4_000))]);
    frames.write(&frame(HEADERS, 0, 1, &get("/", &[]))).await;
    for _ in 0..100_000 {
        if !frames.write(&frame(CONTINUATION, 0, 1, &piece)).await {
            break;
        }
    }
    frames.ends().await;
    assert_eq!(app.upstream.count(), 0);
    others_are_served(&app).await;
}

#[tokio::test]
async fn s10_a_header_list_over_its_limit_is_refused() {
    let app = TestApp::with(OPEN).await;
    let mut frames = Frames::open(app.address).await;
    let long = "y".repeat(4_000);
    let lines = [
        ("a", &*long),
        ("b", &long),
        ("c", &long),
        ("d", &long),
        ("e", &long),
    ];
    let list = get("/", &lines);
    let (first, rest) = list.split_at(16_000);
    frames.write(&frame(HEADERS, END_STREAM, 1, first)).await;
    frames
        .write(&frame(CONTINUATION, END_HEADERS, 1, rest))
        .await;
    let answer = frames.until(HEADERS).await.expect("an answer");
    // `:status: 431` has no entry in HPACK's static table.
    assert!(answer.payload.windows(3).any(|w| w == b"431") || answer.payload.len() < 8);
    assert_eq!(app.upstream.count(), 0);
    others_are_served(&app).await;
}

#[tokio::test]
async fn s10_ten_thousand_crumbs_of_a_cookie_are_refused() {
    let app = TestApp::with(OPEN).await;
    // The first line puts `cookie: a` into HPACK's table; each further one is a single byte.
    let crumbs = |count| {
        let mut list = get("/", &[]);
        list.extend_from_slice(b"\x40\x06cookie\x01a");
        list.extend(std::iter::repeat_n(0xbe, count));
        frame(HEADERS, WHOLE, 1, &list)
    };
    let mut few = Frames::open(app.address).await;
    few.write(&crumbs(3)).await;
    assert!(few.until(HEADERS).await.is_some());
    assert_eq!(app.upstream.take_heads().len(), 1);
    let mut many = Frames::open(app.address).await;
    many.write(&crumbs(10_000)).await;
    let answer = many.until(HEADERS).await;
    assert!(answer.is_none_or(|answer| answer.flags & END_STREAM != 0));
    assert_eq!(app.upstream.count(), 0);
    others_are_served(&app).await;
}

#[tokio::test]
async fn s10_rapid_resets_end_their_connection() {
    let app = TestApp::with(OPEN).await;
    let mut frames = Frames::open(app.address).await;
    let list = get("/", &[]);
    'flood: for round in 0..200 {
        let mut burst = Vec::new();
        for at in 0..100 {
            let stream = 2 * (round * 100 + at) + 1;
            burst.extend(frame(HEADERS, WHOLE, stream, &list));
            burst.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
        }
        if !frames.write(&burst).await {
            break 'flood;
        }
    }
    frames.ends().await;
    assert!(app.upstream.count() < 1_000, "{}", app.upstream.count());
    others_are_served(&app).await;
}

#[tokio::test]
async fn s10_slow_resets_end_their_connection_too() {
    let upstream = Held::start();
    let app = TestApp::with(&in_front_of(upstream.address)).await;
    let mut frames = Frames::open(app.address).await;
    let list = get("/", &[]);
    let mut streams = 0;
    for stream in (1..).step_by(2) {
        let begun = frames.write(&frame(HEADERS, WHOLE, stream, &list)).await;
        // An answer to a ping says that what came before it was read.
        let read = frames.write(&frame(PING, 0, 0, b"12345678")).await;
        if !begun || !read || frames.until(PING).await.is_none() {
            break;
        }
        frames
            .write(&frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()))
            .await;
        streams += 1;
        assert!(streams < 200, "{streams} resets are let pass");
    }
    assert!(streams > 50, "{streams}");
    let page = app.admin_get("/metrics").await.text();
    let counted = "sidegate_connections_dropped_total{reason=\"resets\"} 1\n";
    assert!(page.contains(counted), "{page}");
    others_are_served(&app).await;
}

#[tokio::test]
async fn s10_a_flood_of_settings_and_pings_stops_nobody_else() {
    let app = TestApp::start().await;
    let mut frames = Frames::open(app.address).await;
    let mut flood = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
    flood.extend(frame(PING, 0, 0, b"12345678"));
    let flood = flood.repeat(500);
    let flooding = async {
        for _ in 0..100 {
            let sent = timeout(Duration::from_millis(200), frames.write(&flood)).await;
            if sent != Ok(true) {
                break;
            }
        }
    };
    tokio::join!(flooding, others_are_served(&app));
}

#[tokio::test]
async fn s10_one_stream_too_many_is_refused_and_the_others_go_on() {
    let upstream = Held::start();
    let app = TestApp::with(&in_front_of(upstream.address)).await;
    let mut frames = Frames::open(app.address).await;
    let list = get("/", &[]);
    // Only when our settings are acknowledged do they bind a client.
    while frames.until(SETTINGS).await.is_some_and(|f| f.flags != 0) {}
    frames.write(&frame(SETTINGS, 1, 0, b"")).await;
    for at in 0..101 {
        frames
            .write(&frame(HEADERS, WHOLE, 2 * at + 1, &list))
            .await;
    }
    let refused = frames.until(RST_STREAM).await.expect("a refusal");
    assert_eq!((refused.stream, refused.payload), (201, vec![0, 0, 0, 7]));
    upstream.came().await;
    upstream.answer("HTTP/1.1 204 No Content\r\n\r\n");
    assert!(frames.until(HEADERS).await.is_some());
    others_are_served(&app).await;
}

#[tokio::test]
async fn while_the_process_ends_a_stream_is_finished_and_the_client_told_to_go() {
    let upstream = Held::start();
    let app = TestApp::with(&in_front_of(upstream.address)).await;
    let mut frames = Frames::open(app.address).await;
    frames
        .write(&frame(HEADERS, WHOLE, 1, &get("/", &[])))
        .await;
    upstream.came().await;
    app.running().stop();
    assert!(frames.until(GOAWAY).await.is_some());
    upstream.answer("HTTP/1.1 204 No Content\r\n\r\n");
    let answer = frames.until(HEADERS).await.expect("the answer");
    assert_eq!(answer.stream, 1);
    frames.ends().await;
    app.stop().await;
}

#[tokio::test]
async fn an_http2_connection_is_counted_until_it_is_gone() {
    let app = TestApp::with("[server]\nmax_connections_per_address = 1\n").await;
    let mut client = Client::open(app.address).await;
    let at = format!("http://{}/auth/health", app.address);
    assert_eq!(client.get(&at).await.status(), 200);
    let mut second = Frames::silent(app.address).await;
    second.ends().await;
    drop(client);
    let mut served = false;
    let deadline = Instant::now() + DEADLINE;
    while !served {
        assert!(Instant::now() < deadline, "the place is never free again");
        let mut third = Frames::open(app.address).await;
        served = third.until(SETTINGS).await.is_some();
    }
}

#[tokio::test]
async fn s8_the_rest_of_a_refused_body_is_reset() {
    let app = TestApp::start().await;
    let mut frames = Frames::open(app.address).await;
    let list = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "app"),
        (":path", "/orders"),
    ]);
    frames.write(&frame(HEADERS, END_HEADERS, 1, &list)).await;
    assert!(frames.until(HEADERS).await.is_some());
    let reset = frames.until(RST_STREAM).await.expect("a reset");
    assert_eq!((reset.stream, reset.payload), (1, vec![0; 4]));
}

#[tokio::test]
async fn every_stream_leaves_a_line() {
    let app = TestApp::start().await;
    let mut client = Client::open(app.address).await;
    let at = format!("http://{}/auth/health?secret=1", app.address);
    client.get(&at).await;
    let log = app.access_log(|log| log.contains("/auth/health")).await;
    assert!(!log.contains("secret"), "{log}");
}

/// The data of one stream to its end, or (with no more room) to its so-manieth byte; the last frame too.
async fn data(frames: &mut Frames, up_to: usize) -> (usize, Frame) {
    let mut length = 0;
    loop {
        let piece = frames.until(DATA).await.expect("a piece");
        length += piece.payload.len();
        if length >= up_to || piece.flags & END_STREAM != 0 {
            return (length, piece);
        }
    }
}

#[tokio::test]
async fn s10_the_end_of_a_large_answer_waits_outside_the_buffer_until_its_client_has_room() {
    const LENGTH: usize = 100 * 1024;
    let upstream = serve(|mut stream| {
        while head(&mut stream).is_some() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
            let answer = [head.as_bytes(), &vec![b'x'; LENGTH]].concat();
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    });
    let app = TestApp::with(&in_front_of(upstream)).await;
    // Room for all of it; for all but the last byte; for less.
    for missing in [0_u32, 1, 1_000] {
        let mut frames = Frames::open(app.address).await;
        let room = u32::try_from(LENGTH).expect("a small number") - missing;
        let mut window = vec![0, 4];
        window.extend(room.to_be_bytes());
        frames.write(&frame(SETTINGS, 0, 0, &window)).await;
        let plenty = (1_u32 << 24).to_be_bytes();
        frames.write(&frame(WINDOW_UPDATE, 0, 0, &plenty)).await;
        frames
            .write(&frame(HEADERS, WHOLE, 1, &get("/", &[])))
            .await;
        if missing > 0 {
            let (length, _) = data(&mut frames, room as usize).await;
            assert_eq!(length, room as usize);
            let more = frame(WINDOW_UPDATE, 0, 1, &missing.to_be_bytes());
            frames.write(&more).await;
        }
        let (_, last) = data(&mut frames, usize::MAX).await;
        assert_eq!(
            (last.payload.len(), last.flags),
            (1, END_STREAM),
            "{missing}"
        );
    }
}
