//! How does a test keep several requests open on one HTTP/2 connection?

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::actors::Actor;
use crate::support::client::{DEADLINE, Wire};
use crate::support::hyper_app::{BodySender, ChannelBody};

/// One connection.
pub(crate) struct H2Client {
    to: SocketAddr,
    sender: SendRequest<ChannelBody>,
    life: JoinSet<()>,
}

impl H2Client {
    /// Connects, and waits for the settings of the server.
    pub(crate) async fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let mut client = Self::over(stream, to).await;
        assert_eq!(client.status("/auth/health").await, StatusCode::OK);
        client
    }

    /// Uses an open stream.
    pub(crate) async fn over(stream: impl Wire + 'static, to: SocketAddr) -> Self {
        let standing = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let standing = timeout(DEADLINE, standing).await.expect("in time");
        let (sender, connection) = standing.expect("a connection of HTTP/2");
        let mut life = JoinSet::new();
        life.spawn(async move { drop(connection.await) });
        Self { to, sender, life }
    }

    /// A request with the token of this client.
    pub(crate) fn request(
        &self,
        actor: &Actor,
        method: Method,
        path: &str,
    ) -> http::request::Builder {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.to));
        if actor.access.is_empty() {
            return request;
        }
        request.header("authorization", format!("Bearer {}", actor.access))
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(&mut self, request: Request<ChannelBody>) -> Response<Incoming> {
        timeout(DEADLINE, self.sender.ready())
            .await
            .expect("in time")
            .expect("a connection");
        self.try_send(request).await.expect("an answer")
    }

    /// Sends a request and returns the result.
    pub(crate) async fn try_send(
        &mut self,
        request: Request<ChannelBody>,
    ) -> hyper::Result<Response<Incoming>> {
        let answer = timeout(DEADLINE, self.sender.send_request(request)).await;
        answer.expect("in time")
    }

    /// The status of an anonymous GET.
    pub(crate) async fn status(&mut self, path: &str) -> StatusCode {
        let request = self.request(&Actor::anonymous(self.to), Method::GET, path);
        let answer = self.send(request.body(ChannelBody::nothing()).expect("a request"));
        answer.await.status()
    }

    /// Sends a GET.
    pub(crate) async fn get(&mut self, actor: &Actor, path: &str) -> H2Answer {
        let request = self.request(actor, Method::GET, path);
        H2Answer(
            self.send(request.body(ChannelBody::nothing()).expect("a request"))
                .await,
        )
    }

    /// Prepares a gRPC call with one message and an open body.
    pub(crate) fn call(&self, actor: &Actor, path: &str) -> (BodySender, Request<ChannelBody>) {
        let (feeder, body) = ChannelBody::later();
        let message = Bytes::from_static(b"\0\0\0\0\x02hi");
        feeder
            .send(http_body::Frame::data(message))
            .expect("a body");
        let request = self
            .request(actor, Method::POST, path)
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        (feeder, request.body(body).expect("a request"))
    }

    /// Sends the handshake of a WebSocket (RFC 8441), with these additional headers.
    pub(crate) async fn open_websocket(
        &mut self,
        actor: &Actor,
        headers: &[(&str, &str)],
    ) -> Response<Incoming> {
        let mut request = self
            .request(actor, Method::CONNECT, "/ws?x=1")
            .header("sec-websocket-version", "13")
            .extension(Protocol::from_static("websocket"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(ChannelBody::nothing()).expect("a request");
        self.send(request).await
    }

    /// Opens a WebSocket.
    pub(crate) async fn socket(&mut self, actor: &Actor) -> Socket {
        Socket::of(self.open_websocket(actor, &[]).await).await
    }

    /// Waits until the server has closed the connection.
    pub(crate) async fn ends(mut self) {
        drop(self.sender);
        let ended = timeout(DEADLINE, self.life.join_next()).await;
        drop(ended.expect("an end in time"));
    }
}

/// An answer that is read piece by piece.
pub(crate) struct H2Answer(pub(crate) Response<Incoming>);

/// The next part of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyPart {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Cut,
}

impl H2Answer {
    /// The next part that is not empty.
    pub(crate) async fn next(&mut self) -> BodyPart {
        loop {
            let next = self.frame().await;
            if next != BodyPart::Data(Bytes::new()) {
                return next;
            }
        }
    }

    async fn frame(&mut self) -> BodyPart {
        let frame = timeout(DEADLINE, self.0.body_mut().frame()).await;
        match frame.expect("in time") {
            None => BodyPart::End,
            Some(Err(_)) => BodyPart::Cut,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => BodyPart::Data(data),
                Err(frame) => BodyPart::Trailers(frame.into_trailers().expect("trailers")),
            },
        }
    }
}

/// The bytes of a WebSocket.
pub(crate) struct Socket(TokioIo<Upgraded>);

impl Socket {
    pub(crate) async fn of(answer: Response<Incoming>) -> Self {
        assert_eq!(answer.status(), StatusCode::OK);
        let upgraded = timeout(DEADLINE, hyper::upgrade::on(answer)).await;
        Self(TokioIo::new(upgraded.expect("in time").expect("a tunnel")))
    }

    /// Sends this and reads it back.
    pub(crate) async fn echoes(&mut self, frame: &[u8]) {
        self.0.write_all(frame).await.expect("written");
        self.0.flush().await.expect("written");
        let mut received = vec![0; frame.len()];
        let reading = timeout(DEADLINE, self.0.read_exact(&mut received)).await;
        reading.expect("in time").expect("an echo");
        assert!(received == frame, "another echo");
    }

    /// Reads until the end.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        let mut received = Vec::new();
        let reading = timeout(DEADLINE, self.0.read_to_end(&mut received)).await;
        drop(reading.expect("an end in time"));
        received
    }
}
