//! An HTTP/2 client that floods a connection loses it, and other clients are served meanwhile.

use std::io::Write as _;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::support::client::{DEADLINE, TestRequest};
use crate::support::h2::{
    CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, Frame, Frames, HEADERS, PING, PREFACE,
    RST_STREAM, SETTINGS, WHOLE, WINDOW_UPDATE, block, frame, get,
};
use crate::support::harness::TestApp;
use crate::support::plan::ALL_PUBLIC;
use crate::support::scripted::{ManualApp, head, public_upstream, serve};

/// Asserts that another client is served.
async fn others_are_served(app: &TestApp) {
    assert_eq!(app.anon().get("/auth/health").await.status, 200);
    let mut client = Client::open(app.address).await;
    let at = format!("http://{}/auth/health", app.address);
    assert_eq!(client.get(&at).await.status(), 200);
}

#[tokio::test]
async fn s10_a_missing_preface_closes_the_connection() {
    let app = TestApp::with("[server]\nheader_timeout = \"1s\"\n").await;
    for prefix in [&b""[..], b"PRI * HTTP/2.0\r\n", PREFACE] {
        let mut frames = Frames::silent(app.address).await;
        frames.write(prefix).await;
        if prefix == PREFACE {
            // The following frame is incomplete.
            frames.write(&frame(SETTINGS, 0, 0, b"")[..5]).await;
        }
        let began = Instant::now();
        frames.ends().await;
        assert!(began.elapsed() < Duration::from_secs(30));
    }
    let request = TestRequest::new("GET", "/auth/health");
    let other = request.send_in_time(app.address).await;
    assert_eq!(other.status, 200, "others are served on");
}

#[tokio::test]
async fn s10_a_header_block_that_does_not_end_closes_the_connection() {
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
    let request = TestRequest::new("GET", "/auth/health");
    let other = request.send_in_time(app.address).await;
    assert_eq!(other.status, 200, "others are served on");
}

#[tokio::test]
async fn s10_a_flood_of_continuations_closes_the_connection() {
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
    let app = TestApp::with(ALL_PUBLIC).await;
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
async fn s10_ten_thousand_cookie_headers_are_refused() {
    let app = TestApp::with(ALL_PUBLIC).await;
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
async fn s10_rapid_resets_close_the_connection() {
    let app = TestApp::with(ALL_PUBLIC).await;
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
async fn s10_slow_resets_close_the_connection_too() {
    let upstream = ManualApp::start();
    let app = TestApp::with(&public_upstream(upstream.address)).await;
    let mut frames = Frames::open(app.address).await;
    let list = get("/", &[]);
    let mut streams = 0;
    for stream in (1..).step_by(2) {
        let begun = frames.write(&frame(HEADERS, WHOLE, stream, &list)).await;
        // The answer to a ping proves that all earlier frames were read.
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
async fn s10_a_flood_of_settings_and_pings_stops_no_other_client() {
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
async fn s10_one_stream_too_many_is_refused_and_the_others_continue() {
    let upstream = ManualApp::start();
    let app = TestApp::with(&public_upstream(upstream.address)).await;
    let mut frames = Frames::open(app.address).await;
    let list = get("/", &[]);
    // The settings of the server bind a client once they are acknowledged.
    while frames.until(SETTINGS).await.is_some_and(|f| f.flags != 0) {}
    frames.write(&frame(SETTINGS, 1, 0, b"")).await;
    for at in 0..101 {
        frames
            .write(&frame(HEADERS, WHOLE, 2 * at + 1, &list))
            .await;
    }
    let refused = frames.until(RST_STREAM).await.expect("a refusal");
    assert_eq!((refused.stream, refused.payload), (201, vec![0, 0, 0, 7]));
    upstream.next_request().await;
    upstream.answer("HTTP/1.1 204 No Content\r\n\r\n");
    assert!(frames.until(HEADERS).await.is_some());
    others_are_served(&app).await;
}

/// The data of one stream to its end, or up to this many bytes of window; includes the last frame.
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
async fn s10_the_end_of_a_large_answer_is_not_buffered_while_the_window_is_full() {
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
    let app = TestApp::with(&public_upstream(upstream)).await;
    // Window for all of it; for all but the last byte; for less.
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
        let mut received = 0;
        if missing > 0 {
            let (length, last) = data(&mut frames, room as usize).await;
            assert_eq!((length, last.flags), (room as usize, 0), "{missing}");
            received = length;
            let more = frame(WINDOW_UPDATE, 0, 1, &missing.to_be_bytes());
            frames.write(&more).await;
        }
        let (length, last) = data(&mut frames, usize::MAX).await;
        assert_eq!(
            (received + length, last.flags),
            (LENGTH, END_STREAM),
            "{missing}"
        );
    }
}
