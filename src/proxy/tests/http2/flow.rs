//! Does a slow side slow the other one down, with little data buffered in between?

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;

use super::{Asked, fed, proxy, serving};
use crate::proxy::tests::{get, send, text};

const PIECE: usize = 16 * 1024;
const LARGE: usize = 48 * 1024 * 1024;

/// The windows and buffers of both sides, which may be full in addition.
const AHEAD: usize = 512 * 1024;

#[tokio::test]
async fn a_slow_client_slows_the_upstream_down() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let port = serving(100, move |mut asked: Asked| {
        let sent = Arc::clone(&counted);
        async move {
            let mut stream = asked.begin();
            let piece = Bytes::from(vec![b'x'; PIECE]);
            while sent.load(Ordering::SeqCst) < LARGE {
                stream.reserve_capacity(PIECE);
                let room = match stream.capacity() {
                    0 => poll_fn(|cx| stream.poll_capacity(cx)).await,
                    room => Some(Ok(room)),
                };
                let room = room.unwrap().unwrap().min(PIECE);
                stream.send_data(piece.slice(..room), false).unwrap();
                sent.fetch_add(room, Ordering::SeqCst);
            }
            stream.send_data(Bytes::new(), true).unwrap();
        }
    })
    .await;
    let mut response = send(&proxy(port), get("/")).await.unwrap();
    let mut read = 0;
    while let Some(frame) = response.frame().await {
        read += frame.unwrap().into_data().unwrap().len();
        // Lets all other tasks run as far as they can.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        let ahead = sent.load(Ordering::SeqCst).saturating_sub(read);
        assert!(ahead <= AHEAD, "{ahead} bytes ahead of the client");
    }
    assert!(read >= LARGE);
}

#[tokio::test]
async fn a_slow_upstream_slows_the_client_down() {
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    let port = serving(100, move |mut asked: Asked| {
        let read = Arc::clone(&counted);
        async move {
            let body = asked.request.body_mut();
            while let Some(piece) = body.data().await {
                let piece = piece.unwrap().len();
                tokio::task::yield_now().await;
                read.fetch_add(piece, Ordering::SeqCst);
                body.flow_control().release_capacity(piece).unwrap();
            }
            asked.answer(Response::new(()), "done");
        }
    })
    .await;
    let proxy = proxy(port);
    let (pieces, body) = fed();
    let request = Request::post("/").body(body).unwrap();
    let feeding = async {
        let mut taken = 0;
        while taken < LARGE {
            pieces.send(Bytes::from(vec![b'x'; PIECE])).await.unwrap();
            taken += PIECE;
            let ahead = taken.saturating_sub(read.load(Ordering::SeqCst));
            assert!(ahead <= AHEAD, "{ahead} bytes ahead of the upstream");
        }
        drop(pieces);
    };
    let (response, ()) = tokio::join!(send(&proxy, request), feeding);
    assert_eq!(text(response.unwrap()).await.unwrap(), "done");
    assert!(read.load(Ordering::SeqCst) >= LARGE);
}
