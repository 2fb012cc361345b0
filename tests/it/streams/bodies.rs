//! A body is forwarded piece by piece, and a body that breaks off never looks complete.

use std::io::{Read as _, Write as _};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::support::client::{Connection, DEADLINE};
use crate::support::harness::TestApp;
use crate::support::scripted::{head, public_upstream, serve};

#[tokio::test]
async fn an_aborted_upload_does_not_look_complete_to_the_application() {
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let (received, seen) = channel();
        let (begun, arrived) = channel();
        let upstream = serve(move |mut stream| {
            let head = head(&mut stream).unwrap();
            begun.send(()).unwrap();
            let mut body = Vec::new();
            let clean = stream.read_to_end(&mut body).is_ok();
            received.send((head, body, clean)).unwrap();
        });
        let app = TestApp::with(&public_upstream(upstream)).await;
        let mut connection = Connection::open(app.address).await;
        let request = format!("POST /x HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n5\r\nhello\r\n");
        connection.write(request.as_bytes()).await;
        let seen = std::sync::Mutex::new(seen);
        let arrived = std::sync::Mutex::new(arrived);
        crate::support::wait::until(|| arrived.lock().unwrap().try_recv().ok()).await;
        drop(connection);
        let (head, body, _) =
            crate::support::wait::until(|| seen.lock().unwrap().try_recv().ok()).await;
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(
            !body.ends_with("0\r\n\r\n") && body.len() < 100,
            "{head}{body}"
        );
        let log = app.access_log(|log| log.contains("/x")).await;
        assert!(log.lines().count() == 1, "{log}");
    }
}

#[tokio::test]
async fn an_answer_cut_by_the_application_does_not_end_cleanly() {
    let part = [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\nbad",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
    ];
    for script in part {
        let upstream = serve(move |mut stream| {
            if head(&mut stream).is_some() {
                stream.write_all(script.as_bytes()).unwrap();
            }
        });
        let app = TestApp::with(&public_upstream(upstream)).await;
        let mut connection = Connection::open(app.address).await;
        connection
            .write(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await;
        let answer = connection.rest().await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        // It may be broken before anything was sent; otherwise it is cut.
        if !answer.is_empty() && !answer.starts_with("HTTP/1.1 502") {
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(!answer.ends_with("0\r\n\r\n"), "{script:?}: {answer}");
            assert!(
                !answer.contains("content-length: 5\r\n"),
                "{script:?}: {answer}"
            );
        }
        let log = app.access_log(|log| log.contains("/x")).await;
        assert!(
            log.trim_end().ends_with(" cut") || log.contains(" 502 "),
            "{log}"
        );
    }
}

#[tokio::test]
async fn an_answer_without_length_that_is_reset_does_not_end_cleanly() {
    let (go, let_go) = channel::<()>();
    let let_go = std::sync::Mutex::new(let_go);
    let upstream = serve(move |mut stream| {
        if head(&mut stream).is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").unwrap();
            let_go.lock().unwrap().recv().unwrap();
            socket2::SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
    });
    let app = TestApp::with(&public_upstream(upstream)).await;
    let mut stream = tokio::net::TcpStream::connect(app.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.windows(5).any(|window| window == b"hello") {
        let read = tokio::io::AsyncReadExt::read_buf(&mut stream, &mut answer);
        assert!(tokio::time::timeout(DEADLINE, read).await.unwrap().unwrap() > 0);
    }
    go.send(()).unwrap();
    let rest = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer);
    drop(tokio::time::timeout(DEADLINE, rest).await.unwrap());
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn an_answer_during_the_upload_is_forwarded_at_once() {
    let upstream = serve(|mut stream| {
        if head(&mut stream).is_some() {
            stream
                .write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo much")
                .unwrap();
            // Its end of the connection stays open; nothing more is read.
            drop(stream.read(&mut [0; 1]));
        }
    });
    let app = TestApp::with(&public_upstream(upstream)).await;
    let mut connection = Connection::open(app.address).await;
    connection
        .write(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin")
        .await;
    let answer = connection.answer("POST").await;
    assert_eq!((answer.status, answer.text().as_str()), (413, "too much"));
    assert_eq!(
        connection.rest().await,
        b"",
        "what is left of the body is not read"
    );
}

#[tokio::test]
async fn a_body_is_forwarded_piece_by_piece() {
    let (go, more) = channel::<&'static [u8]>();
    let more = std::sync::Mutex::new(more);
    let upstream = serve(move |mut stream| {
        if head(&mut stream).is_some() {
            while let Ok(piece) = more.lock().unwrap().recv() {
                stream.write_all(piece).unwrap();
            }
        }
    });
    let app = TestApp::with(&public_upstream(upstream)).await;
    let mut stream = tokio::net::TcpStream::connect(app.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    go.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        .unwrap();
    let mut seen = Vec::new();
    for event in [&b"data: 1\n\n"[..], b"data: 2\n\n", b"data: 3\n\n"] {
        go.send(event).unwrap();
        while !seen.windows(event.len()).any(|window| window == event) {
            let read = tokio::io::AsyncReadExt::read_buf(&mut stream, &mut seen);
            assert!(tokio::time::timeout(DEADLINE, read).await.unwrap().unwrap() > 0);
        }
    }
}
