//! Floods of frames that are each valid, and header blocks that grow when they are decoded.

use crate::support::h2::{
    CONTINUATION, END_HEADERS, Frames, HEADERS, RST_STREAM, SETTINGS, WHOLE, WINDOW_UPDATE, block,
    frame, get,
};
use crate::support::harness::TestApp;
use crate::support::plan::ALL_PUBLIC;

const DATA: u8 = 0;
const PRIORITY: u8 = 2;
#[tokio::test]
async fn s10_no_flood_of_frames_stops_other_clients() {
    let app = TestApp::with(ALL_PUBLIC).await;
    let post = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "app"),
        (":path", "/a"),
    ]);
    let opened = frame(HEADERS, END_HEADERS, 1, &post);
    let one = 1_u32.to_be_bytes();
    // A setting of the window that enlarges and shrinks it in turn.
    let window = |size: u32| [&[0, 4][..], &size.to_be_bytes()].concat();
    for flood in [
        frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 7]),
        frame(PRIORITY, 0, 101, &[0, 0, 0, 1, 7]),
        frame(WINDOW_UPDATE, 0, 0, &one),
        frame(WINDOW_UPDATE, 0, 1, &one),
        frame(DATA, 0, 1, b""),
        frame(DATA, 8, 1, &[0]),
        frame(0xee, 0, 1, b"unknown"),
        frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]),
        frame(CONTINUATION, 0, 1, b""),
        [
            frame(SETTINGS, 0, 0, &window(0)),
            frame(SETTINGS, 0, 0, &window(1 << 30)),
        ]
        .concat(),
    ] {
        let mut frames = Frames::open(app.address).await;
        frames.write(&opened).await;
        for _ in 0..100 {
            if !frames.write(&flood.repeat(1_000)).await {
                break;
            }
        }
        assert_eq!(app.anon().get("/auth/health").await.status, 200);
    }
}

#[tokio::test]
async fn s10_a_header_block_that_grows_when_it_is_decoded_is_refused() {
    let app = TestApp::with(ALL_PUBLIC).await;
    // One line enters the dynamic table (RFC 7541, 6.2.1) and is then referenced with one byte each.
    let mut bomb = get("/a", &[]);
    bomb.extend([0x40, 1, b'a', 0x7f, 0xa1, 0x1e]);
    bomb.extend([b'b'; 4_000]);
    bomb.extend([0xbe; 10_000]);
    let mut frames = Frames::open(app.address).await;
    for stream in [1, 3, 5] {
        frames.write(&frame(HEADERS, WHOLE, stream, &bomb)).await;
    }
    let received = frames.until(HEADERS).await;
    assert!(received.is_none_or(|head| head.payload.first() != Some(&0x88)));
    assert_eq!(app.upstream.count(), 0);
    assert_eq!(app.anon().get("/auth/health").await.status, 200);
}
