//! A switch of protocol, such as WebSocket: bytes pass unchanged after the upstream has agreed, and none
//! before.

use std::io::{Read as _, Write as _};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use crate::support::client::{Connection, TestRequest};
use crate::support::scripted::{ManualApp, head, serve};
use crate::support::wait::until;
use crate::support::websocket::{SWITCHED, app_before, copy, echo, handshake, send_handshake};

#[tokio::test]
async fn a_websocket_passes_byte_for_byte_and_closes_with_either_side() {
    let app = app_before(echo(), "").await;
    let ann = app.user("ann").await;
    let (mut socket, answer) = send_handshake(&ann, handshake()).await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("connection"), Some("upgrade"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("yes"));
    let frame: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for piece in frame.chunks(30_000) {
        socket.write(piece).await;
    }
    assert_eq!(socket.read(frame.len()).await, frame);
    drop(socket);
    let log = app.access_log(|log| log.contains("/ws 101")).await;
    assert!(log.contains("/ws 101 100000 "), "{log}");
}

#[tokio::test]
async fn bytes_sent_together_with_the_101_arrive() {
    let upstream = serve(|mut stream| {
        drop(head(&mut stream));
        drop(stream.write_all(&[SWITCHED, b"\x81\x02hi"].concat()));
    });
    let app = app_before(upstream, "").await;
    let ann = app.user("ann").await;
    let (socket, answer) = send_handshake(&ann, handshake()).await;
    assert_eq!(answer.status, 101);
    assert_eq!(socket.rest().await, b"\x81\x02hi");
}

#[tokio::test]
async fn s9_nothing_but_the_head_is_sent_before_the_101() {
    let (sender, receiver) = channel();
    let sender = Mutex::new(sender);
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let (arrivals, is_here) = channel();
    let arrivals = Mutex::new(arrivals);
    let upstream = serve(move |mut stream| {
        let request = head(&mut stream).unwrap();
        arrivals.lock().unwrap().send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        stream.set_nonblocking(true).unwrap();
        let early = stream.read(&mut [0; 16]).is_ok();
        stream.set_nonblocking(false).unwrap();
        sender.lock().unwrap().send((request, early)).unwrap();
        stream.write_all(SWITCHED).unwrap();
        copy(&mut stream);
    });
    let app = app_before(upstream, "[server]\nthreads = 1\n").await;
    let ann = app.user("ann").await;
    let mut socket = Connection::open(app.address).await;
    let mut bytes = ann.with_credentials(handshake()).bytes("app");
    bytes.extend_from_slice(b"GET /smuggled HTTP/1.1\r\n\r\n");
    socket.write(&bytes).await;
    until(|| is_here.try_recv().ok()).await;
    // The only worker has since answered another client, so all pending bytes have been sent.
    assert_eq!(app.anon().get("/auth/health").await.status, 200);
    go.send(()).unwrap();
    assert_eq!(socket.only_head().await.status, 101);
    assert_eq!(socket.read(26).await, b"GET /smuggled HTTP/1.1\r\n\r\n");
    let (request, early) = until(|| receiver.try_recv().ok()).await;
    assert!(!early, "bytes arrived before the 101");
    assert!(request.contains("upgrade: websocket\r\n"), "{request}");
    assert!(request.contains("connection: upgrade\r\n"), "{request}");
    assert!(request.contains("x-user-name: ann\r\n"), "{request}");
    assert!(request.contains("GET /ws?x=1 HTTP/1.1\r\n"), "{request}");
}

#[tokio::test]
async fn s9_a_refused_handshake_ends_its_connection_to_the_upstream() {
    let closed = Arc::new(Mutex::new(channel()));
    let sender = closed.lock().unwrap().0.clone();
    let sender = Mutex::new(sender);
    let upstream = serve(move |mut stream| {
        drop(head(&mut stream));
        drop(stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"));
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest));
        sender.lock().unwrap().send(rest).unwrap();
    });
    let app = app_before(upstream, "").await;
    let ann = app.user("ann").await;
    let answer = ann.send(handshake()).await;
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    let rest = until(|| closed.lock().unwrap().1.try_recv().ok()).await;
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn s9_only_the_requested_protocol_is_switched_to() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.0 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let upstream = ManualApp::start();
        upstream.answer(answer);
        let app = app_before(upstream.address, "").await;
        let ann = app.user("ann").await;
        let refused = ann.send(handshake()).await;
        assert_eq!(refused.refusal(), (502, "upstream_bad_response".to_owned()));
    }
}

#[tokio::test]
async fn s9_other_protocols_are_requested_only_when_configured() {
    let upstream = ManualApp::start();
    let app = app_before(upstream.address, "upgrades = [\"chat\"]\n").await;
    let ann = app.user("ann").await;
    for offer in ["h2c", "HTTP/2.0", "websocket"] {
        upstream.answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let plain = TestRequest::new("GET", "/a").with("Connection", "Upgrade, HTTP2-Settings");
        let answer = ann.send(plain.with("Upgrade", offer)).await;
        assert_eq!(answer.status, 200);
        let request = upstream.next_request().await;
        assert!(!request.to_lowercase().contains("upgrade"), "{request}");
    }
    upstream
        .answer("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n");
    let plain = TestRequest::new("GET", "/a").with("Connection", "Upgrade");
    let (_, answer) = send_handshake(&ann, plain.with("Upgrade", "h2c, chat")).await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("upgrade"), Some("chat"));
}

#[tokio::test]
async fn a_handshake_is_authorized_like_any_request() {
    let app = app_before(echo(), "[[rule]]\npath = \"/ws\"\nroles = [\"admin\"]\n").await;
    let (ann, root) = (
        app.user("ann").await,
        app.user_with_roles("root", &["admin"]).await,
    );
    let anonymous = app.anon().send(handshake()).await;
    assert_eq!(anonymous.refusal(), (401, "missing_token".to_owned()));
    assert_eq!(ann.send(handshake()).await.refusal().0, 403);
    assert_eq!(send_handshake(&root, handshake()).await.1.status, 101);
}

#[tokio::test]
async fn s34_a_handshake_with_a_cookie_must_come_from_a_page_of_the_site() {
    let extra = "[[mount]]\nprefix = \"/auth\"\nallowed_origins = [\"https://friend.example\"]\n";
    let app = app_before(echo(), extra).await;
    let ann = app.user("ann").await;
    let cookie = format!("sidegate_access={}", ann.access);
    let own = format!("http://{}", app.address);
    let by_cookie = |origins: &[&str]| {
        let request = handshake().with("Cookie", &cookie);
        origins
            .iter()
            .fold(request, |request, origin| request.with("Origin", origin))
    };
    for origins in [
        &[][..],
        &["https://evil.example"][..],
        &["null"][..],
        &[own.as_str(), own.as_str()][..],
    ] {
        let refused = app.anon().send(by_cookie(origins)).await;
        assert_eq!(
            refused.refusal(),
            (403, "cross_site".to_owned()),
            "{origins:?}"
        );
    }
    for origin in [own.as_str(), "https://friend.example"] {
        let (_, answer) = send_handshake(&app.anon(), by_cookie(&[origin])).await;
        assert_eq!(answer.status, 101, "{origin}");
    }
    // A client with a bearer token needs no proof of origin.
    assert_eq!(send_handshake(&ann, handshake()).await.1.status, 101);
}

#[tokio::test]
async fn switched_connections_are_bounded_and_use_no_pool_connection() {
    let app = app_before(
        echo(),
        "max_connections = 1\nmax_upgraded = 2\n[server]\nthreads = 1\n",
    )
    .await;
    let ann = app.user("ann").await;
    let (first, one) = send_handshake(&ann, handshake()).await;
    let (_second, two) = send_handshake(&ann, handshake()).await;
    assert_eq!((one.status, two.status), (101, 101));
    let third = ann.send(handshake()).await;
    assert_eq!(third.refusal(), (503, "upstream_overloaded".to_owned()));
    drop(first);
    until(|| {
        let open = app.service().streams().len();
        (open == 1).then_some(())
    })
    .await;
    assert_eq!(send_handshake(&ann, handshake()).await.1.status, 101);
}

#[tokio::test]
async fn a_websocket_gets_a_close_frame_at_a_stop() {
    let app = app_before(echo(), "").await;
    let ann = app.user("ann").await;
    let (socket, answer) = send_handshake(&ann, handshake()).await;
    assert_eq!(answer.status, 101);
    app.running().stop();
    assert_eq!(socket.rest().await, b"\x88\x0c\x03\xe9going away");
    app.stop().await;
}
