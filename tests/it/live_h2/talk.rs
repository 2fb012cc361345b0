//! A client of HTTP/2 that has several things open at once.

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

use crate::actors::Actor;
use crate::client::{DEADLINE, Wire};
use crate::harness::TestApp;
use crate::served::{Fed, Feeder};

/// An application in HTTP/2 that plays what the path says.
pub(super) async fn app_before(port: u16, extra: &str) -> TestApp {
    TestApp::with(&format!(
        "[upstream]\nurl = \"h2c://127.0.0.1:{port}\"\n{extra}"
    ))
    .await
}

/// One connection.
pub(crate) struct Talk {
    to: SocketAddr,
    sender: SendRequest<Fed>,
    life: JoinSet<()>,
}

impl Talk {
    /// Stands when the server's settings have come.
    pub(crate) async fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let mut talk = Self::over(stream, to).await;
        assert_eq!(talk.status("/auth/health").await, StatusCode::OK);
        talk
    }

    /// Over a stream that stands.
    pub(crate) async fn over(stream: impl Wire + 'static, to: SocketAddr) -> Self {
        let standing = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let standing = timeout(DEADLINE, standing).await.expect("in time");
        let (sender, connection) = standing.expect("a connection of HTTP/2");
        let mut life = JoinSet::new();
        life.spawn(async move { drop(connection.await) });
        Self { to, sender, life }
    }

    /// A request of somebody's.
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
    pub(crate) async fn send(&mut self, request: Request<Fed>) -> Response<Incoming> {
        timeout(DEADLINE, self.sender.ready())
            .await
            .expect("in time")
            .expect("a connection");
        self.try_send(request).await.expect("an answer")
    }

    /// The same, whatever comes of it.
    pub(crate) async fn try_send(
        &mut self,
        request: Request<Fed>,
    ) -> hyper::Result<Response<Incoming>> {
        let answer = timeout(DEADLINE, self.sender.send_request(request)).await;
        answer.expect("in time")
    }

    /// The status that anybody is answered.
    pub(crate) async fn status(&mut self, path: &str) -> StatusCode {
        let request = self.request(&Actor::anonymous(self.to), Method::GET, path);
        let answer = self.send(request.body(Fed::nothing()).expect("a request"));
        answer.await.status()
    }

    /// A GET.
    pub(crate) async fn get(&mut self, actor: &Actor, path: &str) -> Heard {
        let request = self.request(actor, Method::GET, path);
        Heard(
            self.send(request.body(Fed::nothing()).expect("a request"))
                .await,
        )
    }

    /// Begins a gRPC call with one message, and keeps it open.
    pub(crate) fn call(&self, actor: &Actor, path: &str) -> (Feeder, Request<Fed>) {
        let (feeder, body) = Fed::later();
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

    /// The handshake of a WebSocket (RFC 8441), with these headers besides.
    pub(crate) async fn shake(
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
        let request = request.body(Fed::nothing()).expect("a request");
        self.send(request).await
    }

    /// A WebSocket that stands.
    pub(crate) async fn socket(&mut self, actor: &Actor) -> Socket {
        Socket::of(self.shake(actor, &[]).await).await
    }

    /// Waits until the server has ended the connection.
    pub(crate) async fn ends(mut self) {
        drop(self.sender);
        let ended = timeout(DEADLINE, self.life.join_next()).await;
        drop(ended.expect("an end in time"));
    }
}

/// An answer that is listened to piece by piece.
pub(crate) struct Heard(pub(crate) Response<Incoming>);

/// What comes next of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Cut,
}

impl Heard {
    /// The next piece that says anything.
    pub(crate) async fn next(&mut self) -> Next {
        loop {
            let next = self.frame().await;
            if next != Next::Data(Bytes::new()) {
                return next;
            }
        }
    }

    async fn frame(&mut self) -> Next {
        let frame = timeout(DEADLINE, self.0.body_mut().frame()).await;
        match frame.expect("in time") {
            None => Next::End,
            Some(Err(_)) => Next::Cut,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Next::Data(data),
                Err(frame) => Next::Trailers(frame.into_trailers().expect("trailers")),
            },
        }
    }
}

/// A WebSocket's bytes.
pub(crate) struct Socket(TokioIo<Upgraded>);

impl Socket {
    pub(crate) async fn of(answer: Response<Incoming>) -> Self {
        assert_eq!(answer.status(), StatusCode::OK);
        let upgraded = timeout(DEADLINE, hyper::upgrade::on(answer)).await;
        Self(TokioIo::new(upgraded.expect("in time").expect("a tunnel")))
    }

    /// Says this and hears it back.
    pub(crate) async fn echoes(&mut self, frame: &[u8]) {
        self.0.write_all(frame).await.expect("written");
        self.0.flush().await.expect("written");
        let mut heard = vec![0; frame.len()];
        let reading = timeout(DEADLINE, self.0.read_exact(&mut heard)).await;
        reading.expect("in time").expect("an echo");
        assert!(heard == frame, "another echo");
    }

    /// Reads until the end.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        let reading = timeout(DEADLINE, self.0.read_to_end(&mut heard)).await;
        drop(reading.expect("an end in time"));
        heard
    }
}
