//! A minimal application: every request head is answered with the same bytes.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, spawn_local};

use crate::Outcome;

/// Length of the body of each answer, in bytes.
const BODY: usize = 1024;

/// Starts the upstream on a free port.
pub(crate) async fn start() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let answer = answer();
    spawn_local(async move {
        let mut open = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.spawn_local(serve(stream, answer.clone()));
            while open.try_join_next().is_some() {}
        }
    });
    Ok(address)
}

fn answer() -> Vec<u8> {
    let text = "x".repeat(BODY - r#"{"text":""}"#.len());
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {BODY}\r\n\r\n\
         {{\"text\":\"{text}\"}}"
    )
    .into_bytes()
}

/// Requests arrive one at a time and without a body, so each ends with an empty line.
async fn serve(mut stream: TcpStream, answer: Vec<u8>) {
    // Not required; improves the figures.
    drop(stream.set_nodelay(true));
    let mut head = Vec::with_capacity(8 * 1024);
    while let Ok(1..) = stream.read_buf(&mut head).await {
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}
