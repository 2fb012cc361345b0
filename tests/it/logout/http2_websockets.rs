//! WebSockets over HTTP/2 (RFC 8441) end with their session; other streams of the connection continue.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use crate::support::h2_client::{H2Client, Socket};
use crate::support::wait::until;
use crate::support::websocket::{app_before, echo};

const ENDED: &[u8] = b"\x88\x0f\x03\xf0session ended";
const HI: &[u8] = b"\x82\x82\0\0\0\0hi";

#[tokio::test]
async fn several_websockets_and_requests_share_a_connection() {
    let app = app_before(echo(), "").await;
    let ann = app.user("ann").await;
    let mut client = H2Client::open(app.address).await;
    let mut first = client.socket(&ann).await;
    let mut second = client.socket(&ann).await;
    let large: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    for _ in 0..20 {
        first.echoes(&large).await;
        second.echoes(HI).await;
        assert_eq!(client.status("/auth/health").await, StatusCode::OK);
    }
    assert_eq!(ann.sessions().await[0]["openStreams"], 2);
    drop(first);
    second.echoes(HI).await;
    let log = app.access_log(|log| log.contains("/ws 200")).await;
    assert!(log.contains("/ws 200 400000 "), "{log}");
}

#[tokio::test]
async fn a_handshake_over_http2_with_a_key_gets_the_accept_header_of_http1() {
    let app = app_before(echo(), "").await;
    let ann = app.user("ann").await;
    let mut client = H2Client::open(app.address).await;
    let key = [("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")];
    for (more, proof) in [(&key[..], Some("yes")), (&[], None)] {
        let answer = client.open_websocket(&ann, more).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let shown = answer.headers().get("sec-websocket-accept");
        assert_eq!(shown.map(|shown| shown.to_str().unwrap()), proof);
    }
}

#[tokio::test]
async fn s34_a_handshake_over_http2_is_authorized_as_a_get() {
    let app = app_before(
        echo(),
        "[[rule]]\nmethods = [\"GET\"]\npath = \"/ws\"\nroles = [\"admin\"]\n",
    )
    .await;
    let (ann, root) = (
        app.user("ann").await,
        app.user_with_roles("root", &["admin"]).await,
    );
    let mut client = H2Client::open(app.address).await;
    let anon = app.anon();
    assert_eq!(client.open_websocket(&anon, &[]).await.status(), 401);
    assert_eq!(client.open_websocket(&ann, &[]).await.status(), 403);
    let cookie = format!("sidegate_access={}", root.access);
    let own = format!("http://{}", app.address);
    for origins in [
        &[][..],
        &["https://evil.example"],
        &["null"],
        &[own.as_str(), own.as_str()],
    ] {
        let mut headers = vec![("cookie", cookie.as_str())];
        headers.extend(origins.iter().map(|origin| ("origin", *origin)));
        let refused = client.open_websocket(&anon, &headers).await;
        assert_eq!(refused.status(), 403, "{origins:?}");
    }
    let headers = [("cookie", cookie.as_str()), ("origin", own.as_str())];
    Socket::of(client.open_websocket(&anon, &headers).await)
        .await
        .echoes(HI)
        .await;
    client.socket(&root).await.echoes(HI).await;
}

#[tokio::test]
async fn s30_websockets_over_http2_end_with_their_session_and_others_stay_open() {
    let app = app_before(echo(), "").await;
    let ann = app.user("ann").await;
    let other = app.login("ann").await;
    let mut client = H2Client::open(app.address).await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(client.socket(&ann).await);
    }
    let mut others = client.socket(&other).await;
    assert_eq!(ann.logout().await.status, 204);
    for socket in sockets {
        assert_eq!(socket.rest().await, ENDED);
    }
    others.echoes(HI).await;
    assert_eq!(client.status("/auth/health").await, StatusCode::OK);
    let log = app
        .access_log(|log| log.matches("session_ended").count() == 3)
        .await;
    assert_eq!(log.matches("/ws ").count(), 3, "a line each: {log}");
    until(|| (app.service().streams().len() == 1).then_some(())).await;
}

#[tokio::test]
async fn s30_a_websocket_over_http2_survives_refreshes_until_the_session_expires() {
    let app = app_before(echo(), "[sessions]\nlifetime = \"2h\"\n").await;
    let mut ann = app.user("ann").await;
    let mut client = H2Client::open(app.address).await;
    let mut socket = client.socket(&ann).await;
    for _ in 0..3 {
        app.clock.advance(Duration::from_secs(1_200));
        ann.refresh().await;
        socket.echoes(HI).await;
    }
    app.clock.advance(Duration::from_secs(3_601));
    assert_eq!(socket.rest().await, ENDED);
}

#[tokio::test]
async fn a_websocket_over_http2_gets_a_close_frame_at_a_stop() {
    let app = app_before(echo(), "").await;
    let ann = app.user("ann").await;
    let mut client = H2Client::open(app.address).await;
    let (first, second) = (client.socket(&ann).await, client.socket(&ann).await);
    app.running().stop();
    for socket in [first, second] {
        assert_eq!(socket.rest().await, b"\x88\x0c\x03\xe9going away");
    }
    client.ends().await;
    app.stop().await;
}

#[tokio::test]
async fn a_declined_handshake_over_http2_returns_the_answer_of_the_application() {
    let upstream = crate::support::scripted::ManualApp::start();
    upstream.answer("HTTP/1.1 418 No\r\nContent-Length: 2\r\n\r\nno");
    let app = app_before(upstream.address, "").await;
    let ann = app.user("ann").await;
    let mut client = H2Client::open(app.address).await;
    assert_eq!(client.open_websocket(&ann, &[]).await.status(), 418);
    let request = upstream.next_request().await.to_lowercase();
    assert!(request.starts_with("get /ws?x=1 http/1.1\r\n"), "{request}");
    for line in [
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-key: ",
    ] {
        assert_eq!(request.matches(line).count(), 1, "{line}: {request}");
    }
    assert_eq!(ann.sessions().await[0]["openStreams"], Value::from(0));
}
