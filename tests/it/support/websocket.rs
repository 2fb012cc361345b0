//! How does a test open a WebSocket through Sidegate, and which application answers it?

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::support::actors::Actor;
use crate::support::answer::Answer;
use crate::support::client::{Connection, TestRequest};
use crate::support::harness::TestApp;
use crate::support::scripted::{head, serve};

/// An application that switches protocols and then sends back what it reads, until the peer closes.
pub(crate) fn echo() -> SocketAddr {
    serve(|mut stream| {
        let Some(_) = head(&mut stream) else { return };
        drop(stream.write_all(SWITCHED));
        copy(&mut stream);
    })
}

/// Sends back what it reads, until the peer closes.
pub(crate) fn copy(stream: &mut TcpStream) {
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

/// Sidegate in front of an application.
pub(crate) async fn app_before(upstream: SocketAddr, extra: &str) -> TestApp {
    TestApp::with(&format!("[upstream]\nurl = \"http://{upstream}\"\n{extra}")).await
}

/// The handshake that browsers send.
pub(crate) fn handshake() -> TestRequest {
    TestRequest::new("GET", "/ws?x=1")
        .with("Connection", "keep-alive, Upgrade")
        .with("Upgrade", "websocket")
        .with("Sec-WebSocket-Version", "13")
        .with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// Sends a handshake; returns the connection and the head of the answer.
pub(crate) async fn send_handshake(actor: &Actor, request: TestRequest) -> (Connection, Answer) {
    let mut connection = Connection::open(actor.to).await;
    let bytes = actor.with_credentials(request).bytes(&actor.to.to_string());
    connection.write(&bytes).await;
    let answer = connection.only_head().await;
    (connection, answer)
}
