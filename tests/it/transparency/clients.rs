//! How does every kind of client send the same request?

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use sidegate::types::random::SeededRandom;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::message::{
    Content, ReceivedAnswer, chunked, line, pieces, read_lines, to_lines, to_map,
};
use super::table::Exchange;
use crate::support::client::{DEADLINE, find};
use crate::support::hyper_app::ChannelBody;

/// The host name of every request.
const HOST: &str = "app.example.org";

/// A kind of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Http10,
    Http11,
    Http2,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Http10, Self::Http11, Self::Http2];

    /// Whether it can send this exchange.
    pub(super) fn speaks(self, exchange: &Exchange) -> bool {
        let needs_chunks = matches!(exchange.sent, Content::Streamed(_));
        let waits = exchange.request.iter().any(|(name, _)| name == "expect");
        match self {
            Self::Http10 => !needs_chunks && !waits && !exchange.is_grpc,
            Self::Http11 => !exchange.is_grpc,
            Self::Http2 => !waits,
        }
    }
}

/// A client and its server.
pub(super) struct Client<'a> {
    pub(super) kind: Kind,
    pub(super) to: SocketAddr,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) dice: &'a SeededRandom,
}

impl Client<'_> {
    /// Sends the request and reads the whole answer.
    pub(super) async fn request(&self, exchange: &Exchange) -> ReceivedAnswer {
        let asking = async {
            let stream = TcpStream::connect(self.to).await.expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            let Some(tls) = &self.tls else {
                return self.over(stream, exchange).await;
            };
            let mut tls = rustls::ClientConfig::clone(tls);
            let protocol: &[u8] = match self.kind {
                Kind::Http2 => b"h2",
                Kind::Http10 | Kind::Http11 => b"http/1.1",
            };
            tls.alpn_protocols = vec![protocol.to_vec()];
            let name = ServerName::try_from("localhost").expect("a name");
            let shaking = TlsConnector::from(Arc::new(tls)).connect(name, stream);
            self.over(shaking.await.expect("TLS"), exchange).await
        };
        timeout(DEADLINE, asking).await.expect("an answer in time")
    }

    async fn over<S>(&self, stream: S, exchange: &Exchange) -> ReceivedAnswer
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match self.kind {
            Kind::Http2 => self.over_http2(stream, exchange).await,
            Kind::Http10 | Kind::Http11 => self.over_http1(stream, exchange).await,
        }
    }

    async fn over_http1<S>(&self, stream: S, exchange: &Exchange) -> ReceivedAnswer
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut from, mut to) = tokio::io::split(stream);
        let bytes = self.bytes(exchange);
        let mut received = Vec::new();
        let writing = async {
            for piece in pieces(&bytes, self.dice) {
                // An early answer may close the connection before everything is sent.
                if to.write_all(&piece).await.is_err() || to.flush().await.is_err() {
                    return;
                }
            }
        };
        // A connection that is closed with unread bytes may be reset.
        let ((), read) = tokio::join!(writing, from.read_to_end(&mut received));
        drop(read);
        ReceivedAnswer::parse(&received, exchange)
    }

    fn bytes(&self, exchange: &Exchange) -> Vec<u8> {
        let is_old = self.kind == Kind::Http10;
        let version = if is_old { "1.0" } else { "1.1" };
        let start = format!("{} {} HTTP/{version}\r\n", exchange.method, exchange.target);
        let mut bytes = start.into_bytes();
        line(&mut bytes, "Host", HOST.as_bytes());
        for (name, value) in &exchange.request {
            line(&mut bytes, name, value);
        }
        if !is_old {
            let has_te = exchange.request.iter().any(|(name, _)| name == "te");
            let connection: &[u8] = if has_te { b"TE, close" } else { b"close" };
            line(&mut bytes, "Connection", connection);
        }
        match &exchange.sent {
            Content::Nothing => bytes.extend_from_slice(b"\r\n"),
            Content::Sized(body) => {
                line(
                    &mut bytes,
                    "Content-Length",
                    body.len().to_string().as_bytes(),
                );
                bytes.extend_from_slice(b"\r\n");
                bytes.extend(body);
            }
            Content::Streamed(body) | Content::UntilTheEnd(body) => {
                line(&mut bytes, "Transfer-Encoding", b"chunked");
                bytes.extend_from_slice(b"\r\n");
                bytes.extend(chunked(body, &[], self.dice));
            }
        }
        bytes
    }

    async fn over_http2<S>(&self, stream: S, exchange: &Exchange) -> ReceivedAnswer
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let standing = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = standing.expect("a connection of HTTP/2");
        let mut life = JoinSet::new();
        life.spawn(async move { drop(connection.await) });
        let (feeder, body) = ChannelBody::later();
        for piece in pieces(exchange.sent.bytes(), self.dice) {
            feeder.send(Frame::data(piece)).expect("a body");
        }
        drop(feeder);
        let mut request = Request::builder()
            .method(exchange.method)
            .uri(format!("{scheme}://{HOST}{}", exchange.target))
            .body(body)
            .expect("a request");
        request.headers_mut().extend(to_map(&exchange.request));
        if let Content::Sized(body) = &exchange.sent {
            request
                .headers_mut()
                .insert("content-length", body.len().into());
        }
        let answer = sender.send_request(request).await.expect("an answer");
        let (head, body) = answer.into_parts();
        let body = body.collect().await.expect("a body");
        let trailers = body.trailers().map(to_lines).unwrap_or_default();
        ReceivedAnswer {
            interim: Vec::new(),
            status: head.status.as_u16(),
            headers: to_lines(&head.headers),
            body: body.to_bytes().to_vec(),
            trailers,
        }
    }
}

impl ReceivedAnswer {
    /// The last answer in these bytes, after which the connection ended.
    fn parse(mut bytes: &[u8], exchange: &Exchange) -> Self {
        let mut interim = Vec::new();
        let (mut received, lines) = loop {
            let end = find(bytes, b"\r\n\r\n").unwrap_or_else(|| {
                panic!("no whole head: {:?}", String::from_utf8_lossy(bytes));
            });
            let (head, rest) = (&bytes[..end], &bytes[end + 4..]);
            let status = head.get(9..12).map(String::from_utf8_lossy);
            let status = status.and_then(|code| code.parse().ok()).expect("a status");
            bytes = rest;
            if status >= 200 {
                let received = Self {
                    interim,
                    status,
                    ..Self::default()
                };
                break (received, head);
            }
            interim.push(status);
        };
        let first = find(lines, b"\r\n").unwrap_or(lines.len());
        received.headers = read_lines(&lines[first..]);
        let value = |name: &str| {
            let found = received.headers.iter().find(|(n, _)| n == name);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        if exchange.is_bodiless() {
            assert_eq!(bytes, b"", "a body where there is none");
        } else if value("transfer-encoding").is_some() {
            loop {
                let at = find(bytes, b"\r\n").expect("a chunk");
                let size = String::from_utf8_lossy(&bytes[..at]).into_owned();
                let size = usize::from_str_radix(size.trim(), 16).expect("a size");
                bytes = &bytes[at + 2..];
                if size == 0 {
                    received.trailers = read_lines(bytes);
                    break;
                }
                received.body.extend_from_slice(&bytes[..size]);
                bytes = &bytes[size + 2..];
            }
        } else {
            let length = value("content-length").map(|length| length.parse().expect("a length"));
            assert_eq!(length.unwrap_or(bytes.len()), bytes.len(), "another length");
            received.body = bytes.to_vec();
        }
        received
    }
}
