//! How does a test use HTTP/2: simple requests through hyper's client, or frames written by hand?

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::client::{DEADLINE, stream_from};

/// The first bytes of a client.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
/// The flags of a request without a body.
pub(crate) const WHOLE: u8 = END_HEADERS | END_STREAM;

/// A client based on hyper.
#[derive(Debug)]
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    _task: JoinSet<()>,
}

impl Client {
    /// Connects with prior knowledge.
    pub(crate) async fn open(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect(to).await.expect("a connection")).await
    }

    /// Uses an open stream.
    pub(crate) async fn over<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let executor = TokioExecutor::new();
        let standing = http2::handshake(executor, TokioIo::new(stream));
        let standing = timeout(DEADLINE, standing).await.expect("in time");
        let (sender, connection) = standing.expect("a connection of HTTP/2");
        let mut task = JoinSet::new();
        task.spawn(async move { drop(connection.await) });
        Self {
            sender,
            _task: task,
        }
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn request(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Bytes>> {
        let asking = async {
            self.sender.ready().await?;
            let answer = self.sender.send_request(request).await?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        timeout(DEADLINE, asking).await.expect("an answer in time")
    }

    /// Sends several requests at once and reads the whole answers.
    pub(crate) async fn ask_at_once(
        &mut self,
        requests: Vec<Request<Full<Bytes>>>,
    ) -> Vec<hyper::Result<Response<Bytes>>> {
        let mut asking = JoinSet::new();
        for request in requests {
            let mut one = Self {
                sender: self.sender.clone(),
                _task: JoinSet::new(),
            };
            asking.spawn(async move { one.request(request).await });
        }
        asking.join_all().await
    }

    /// Sends a GET.
    pub(crate) async fn get(&mut self, target: &str) -> Response<Bytes> {
        let request = Request::get(target).body(Full::default());
        let answer = self.request(request.expect("a request")).await;
        answer.expect("an answer")
    }
}

/// A connection with frames written by hand.
#[derive(Debug)]
pub(crate) struct Frames {
    stream: TcpStream,
}

/// One frame.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frames {
    /// Connects and sends the preface and empty settings.
    pub(crate) async fn open(to: SocketAddr) -> Self {
        let mut frames = Self::silent(to).await;
        frames.write(PREFACE).await;
        frames.write(&frame(SETTINGS, 0, 0, b"")).await;
        frames
    }

    /// The same from 127.0.0.x.
    pub(crate) async fn open_from(last: u8, to: SocketAddr) -> Self {
        let stream = stream_from(last, to).await;
        stream.set_nodelay(true).expect("a socket");
        let mut frames = Self { stream };
        frames.write(PREFACE).await;
        frames.write(&frame(SETTINGS, 0, 0, b"")).await;
        frames
    }

    /// Connects and sends nothing.
    pub(crate) async fn silent(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Self { stream }
    }

    /// Sends bytes; returns whether the peer still accepts them.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        let written = timeout(DEADLINE, self.stream.write_all(bytes)).await;
        written.expect("written in time").is_ok()
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn read(&mut self) -> Option<Frame> {
        let reading = async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, flags, id @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            Some(Frame {
                kind,
                flags,
                stream: u32::from_be_bytes(id),
                payload,
            })
        };
        timeout(DEADLINE, reading).await.expect("a frame in time")
    }

    /// Whether a frame arrives within this time. No byte is lost if none does.
    pub(crate) async fn receives_within(&self, span: Duration) -> bool {
        timeout(span, self.stream.peek(&mut [0])).await.is_ok()
    }

    /// Reads up to a frame of this kind; `None` when the connection ends before.
    pub(crate) async fn until(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.read().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Reads until the end.
    pub(crate) async fn ends(&mut self) {
        while self.read().await.is_some() {}
    }
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a length")
        .to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block without indexing or Huffman codes (RFC 7541, 6.2.2).
pub(crate) fn block(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in lines {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        block.push(u8::try_from(length).expect("a byte"));
        return;
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128 + 128).expect("a byte"));
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("a byte"));
}

/// The header block of a GET.
pub(crate) fn get(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut lines = vec![
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "app"),
        (":path", path),
    ];
    lines.extend_from_slice(more);
    block(&lines)
}
