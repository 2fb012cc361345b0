//! A switch of protocol, a `WebSocket` first of all: carried byte for byte once the upstream has agreed, and
//! not a byte before.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use crate::actors::Actor;
use crate::client::{Answer, Ask, Connection};
use crate::harness::{TestApp, until};
use crate::scripted::{Held, head, serve};

/// An application that switches and then sends back what it hears, until it hears no more.
pub(crate) fn echo() -> SocketAddr {
    serve(|mut stream| {
        let Some(_) = head(&mut stream) else { return };
        drop(stream.write_all(SWITCHED));
        copy(&mut stream);
    })
}

fn copy(stream: &mut TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
    drop(stream.shutdown(Shutdown::Write));
}

pub(crate) const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Connection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: yes\r\n\r\n";

/// An app in front of it.
pub(crate) async fn app_before(upstream: SocketAddr, extra: &str) -> TestApp {
    TestApp::with(&format!("[upstream]\nurl = \"http://{upstream}\"\n{extra}")).await
}

/// The handshake that browsers send.
pub(crate) fn handshake() -> Ask {
    Ask::new("GET", "/ws?x=1")
        .with("Connection", "keep-alive, Upgrade")
        .with("Upgrade", "websocket")
        .with("Sec-WebSocket-Version", "13")
        .with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// Sends a handshake; gives the connection and the head of the answer.
pub(crate) async fn shake(actor: &Actor, ask: Ask) -> (Connection, Answer) {
    let mut connection = Connection::open(actor.to).await;
    let bytes = actor.dress(ask).bytes(&actor.to.to_string());
    connection.write(&bytes).await;
    let answer = connection.only_head().await;
    (connection, answer)
}

#[tokio::test]
async fn a_websocket_is_carried_byte_for_byte_and_ends_with_either_side() {
    let app = app_before(echo(), "").await;
    let ann = app.user("ann").await;
    let (mut socket, answer) = shake(&ann, handshake()).await;
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
async fn what_the_upstream_says_with_its_101_arrives() {
    let upstream = serve(|mut stream| {
        drop(head(&mut stream));
        drop(stream.write_all(&[SWITCHED, b"\x81\x02hi"].concat()));
    });
    let app = app_before(upstream, "").await;
    let ann = app.user("ann").await;
    let (socket, answer) = shake(&ann, handshake()).await;
    assert_eq!(answer.status, 101);
    assert_eq!(socket.rest().await, b"\x81\x02hi");
}

#[tokio::test]
async fn s9_nothing_but_the_head_is_sent_before_the_101() {
    let (told, heard) = channel();
    let told = Mutex::new(told);
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let (came, is_here) = channel();
    let came = Mutex::new(came);
    let upstream = serve(move |mut stream| {
        let request = head(&mut stream).unwrap();
        came.lock().unwrap().send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        stream.set_nonblocking(true).unwrap();
        let early = stream.read(&mut [0; 16]).is_ok();
        stream.set_nonblocking(false).unwrap();
        told.lock().unwrap().send((request, early)).unwrap();
        stream.write_all(SWITCHED).unwrap();
        copy(&mut stream);
    });
    let app = app_before(upstream, "[server]\nthreads = 1\n").await;
    let ann = app.user("ann").await;
    let mut socket = Connection::open(app.address).await;
    let mut bytes = ann.dress(handshake()).bytes("app");
    bytes.extend_from_slice(b"GET /smuggled HTTP/1.1\r\n\r\n");
    socket.write(&bytes).await;
    until(|| is_here.try_recv().ok()).await;
    // The only worker has answered somebody else since: whatever it would have sent on is sent.
    assert_eq!(app.anon().get("/auth/health").await.status, 200);
    go.send(()).unwrap();
    assert_eq!(socket.only_head().await.status, 101);
    assert_eq!(socket.read(26).await, b"GET /smuggled HTTP/1.1\r\n\r\n");
    let (request, early) = until(|| heard.try_recv().ok()).await;
    assert!(!early, "bytes arrived before the 101");
    assert!(request.contains("upgrade: websocket\r\n"), "{request}");
    assert!(request.contains("connection: upgrade\r\n"), "{request}");
    assert!(request.contains("x-user-name: ann\r\n"), "{request}");
    assert!(request.contains("GET /ws?x=1 HTTP/1.1\r\n"), "{request}");
}

#[tokio::test]
async fn s9_a_refused_handshake_ends_its_connection_to_the_upstream() {
    let closed = Arc::new(Mutex::new(channel()));
    let told = closed.lock().unwrap().0.clone();
    let told = Mutex::new(told);
    let upstream = serve(move |mut stream| {
        drop(head(&mut stream));
        drop(stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"));
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest));
        told.lock().unwrap().send(rest).unwrap();
    });
    let app = app_before(upstream, "").await;
    let ann = app.user("ann").await;
    let answer = ann.send(handshake()).await;
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    let heard = &closed;
    let rest = until(|| heard.lock().unwrap().1.try_recv().ok()).await;
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn s9_only_the_protocol_that_was_asked_for_is_switched_to() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.0 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let upstream = Held::start();
        upstream.answer(answer);
        let app = app_before(upstream.address, "").await;
        let ann = app.user("ann").await;
        let refused = ann.send(handshake()).await;
        assert_eq!(refused.verdict(), (502, "upstream_bad_response".to_owned()));
    }
}

#[tokio::test]
async fn s9_other_protocols_are_not_asked_for_unless_the_operator_names_them() {
    let upstream = Held::start();
    let app = app_before(upstream.address, "upgrades = [\"chat\"]\n").await;
    let ann = app.user("ann").await;
    for offer in ["h2c", "HTTP/2.0", "websocket"] {
        upstream.answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let ask = Ask::new("GET", "/a").with("Connection", "Upgrade, HTTP2-Settings");
        let answer = ann.send(ask.with("Upgrade", offer)).await;
        assert_eq!(answer.status, 200);
        let request = upstream.came().await;
        assert!(!request.to_lowercase().contains("upgrade"), "{request}");
    }
    upstream
        .answer("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n");
    let ask = Ask::new("GET", "/a").with("Connection", "Upgrade");
    let (_, answer) = shake(&ann, ask.with("Upgrade", "h2c, chat")).await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("upgrade"), Some("chat"));
}

#[tokio::test]
async fn a_handshake_is_judged_like_any_request() {
    let app = app_before(echo(), "[[rule]]\npath = \"/ws\"\nroles = [\"admin\"]\n").await;
    let (ann, root) = (
        app.user("ann").await,
        app.user_with_roles("root", &["admin"]).await,
    );
    let anonymous = app.anon().send(handshake()).await;
    assert_eq!(anonymous.verdict(), (401, "missing_token".to_owned()));
    assert_eq!(ann.send(handshake()).await.verdict().0, 403);
    assert_eq!(shake(&root, handshake()).await.1.status, 101);
}

#[tokio::test]
async fn s34_a_handshake_carried_by_a_cookie_must_come_from_a_page_of_ours() {
    let extra = "[[mount]]\nprefix = \"/auth\"\nallowed_origins = [\"https://friend.example\"]\n";
    let app = app_before(echo(), extra).await;
    let ann = app.user("ann").await;
    let cookie = format!("sidegate_access={}", ann.access);
    let own = format!("http://{}", app.address);
    let by_cookie = |origins: &[&str]| {
        let ask = handshake().with("Cookie", &cookie);
        origins
            .iter()
            .fold(ask, |ask, origin| ask.with("Origin", origin))
    };
    for origins in [
        &[][..],
        &["https://evil.example"][..],
        &["null"][..],
        &[own.as_str(), own.as_str()][..],
    ] {
        let refused = app.anon().send(by_cookie(origins)).await;
        assert_eq!(
            refused.verdict(),
            (403, "cross_site".to_owned()),
            "{origins:?}"
        );
    }
    for origin in [own.as_str(), "https://friend.example"] {
        let (_, answer) = shake(&app.anon(), by_cookie(&[origin])).await;
        assert_eq!(answer.status, 101, "{origin}");
    }
    // A program that shows its token is no browser.
    assert_eq!(shake(&ann, handshake()).await.1.status, 101);
}

#[tokio::test]
async fn switched_connections_are_bounded_and_leave_the_pool_to_requests() {
    let app = app_before(
        echo(),
        "max_connections = 1\nmax_upgraded = 2\n[server]\nthreads = 1\n",
    )
    .await;
    let ann = app.user("ann").await;
    let (first, one) = shake(&ann, handshake()).await;
    let (_second, two) = shake(&ann, handshake()).await;
    assert_eq!((one.status, two.status), (101, 101));
    let third = ann.send(handshake()).await;
    assert_eq!(third.verdict(), (503, "upstream_overloaded".to_owned()));
    drop(first);
    until(|| {
        let open = app.service().streams().len();
        (open == 1).then_some(())
    })
    .await;
    assert_eq!(shake(&ann, handshake()).await.1.status, 101);
}

#[tokio::test]
async fn a_websocket_is_told_when_the_process_ends() {
    let app = app_before(echo(), "").await;
    let ann = app.user("ann").await;
    let (socket, answer) = shake(&ann, handshake()).await;
    assert_eq!(answer.status, 101);
    app.running().stop();
    assert_eq!(socket.rest().await, b"\x88\x0c\x03\xe9going away");
    app.stop().await;
}
