//! How does a test send exact bytes over HTTP/1.1 and read the whole answer?

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::support::answer::Answer;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

/// The deadline of any wait: after it the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A server with a timeout of one second must answer a client that is faster than this: well below the
/// timeout, because the server measures with a coarse clock.
pub(crate) const PROMPT: Duration = Duration::from_millis(500);

/// A request, built by hand.
#[derive(Debug, Clone)]
pub(crate) struct TestRequest {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl TestRequest {
    /// A request without headers except `Host`.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a body with its length and type.
    pub(crate) fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.with("Content-Type", kind)
            .with("Content-Length", &length)
    }

    /// Adds a JSON body.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// The bytes on the wire.
    pub(crate) fn bytes(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let own_host = self
            .headers
            .iter()
            .any(|(n, _)| n.eq_ignore_ascii_case("host"));
        if !own_host {
            head.extend(["Host: ", host, "\r\n"]);
        }
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if self.body.is_empty() && self.method == "POST" {
            head.push_str("Content-Length: 0\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it over a new connection.
    pub(crate) async fn send(&self, to: SocketAddr) -> Answer {
        let mut connection = Connection::open(to).await;
        connection.request(self).await
    }

    /// The same to a server with a timeout of one second, as [`send_until_answered`] explains.
    pub(crate) async fn send_in_time(&self, to: SocketAddr) -> Answer {
        let bytes = self.bytes(&to.to_string());
        let mut connection = send_until_answered(|| Connection::open(to), &bytes).await;
        connection.answer(&self.method).await
    }
}

/// Sends these bytes over a new connection and waits for the beginning of the answer. A server that
/// stops waits only one second for a request. On a busy machine the client may be slower and find its
/// connection closed; then it tries again. A client that was fast enough must be answered.
pub(crate) async fn send_until_answered<F>(open: impl Fn() -> F, bytes: &[u8]) -> Connection
where
    F: Future<Output = Connection>,
{
    let deadline = Instant::now() + DEADLINE;
    loop {
        let began = Instant::now();
        let mut connection = open().await;
        connection.write(bytes).await;
        let is_prompt = began.elapsed() < PROMPT;
        if connection.is_answered().await {
            return connection;
        }
        assert!(!is_prompt, "a request sent in time got no answer");
        assert!(Instant::now() < deadline, "never as quick as it takes");
    }
}

/// A stream from 127.0.0.x.
pub(crate) async fn stream_from(last: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let own = SocketAddr::from(([127, 0, 0, last], 0));
    socket
        .bind(own)
        .expect("an address of the loopback network");
    let stream = timeout(DEADLINE, socket.connect(to)).await;
    stream.expect("a connection in time").expect("a connection")
}

/// A transport of a connection.
pub(crate) trait Wire: AsyncRead + AsyncWrite + fmt::Debug + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Unpin + Send> Wire for T {}

/// A persistent connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Box<dyn Wire>,
    host: String,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> Self {
        let stream = timeout(DEADLINE, TcpStream::connect(to)).await;
        let stream = stream.expect("a connection in time").expect("a connection");
        Self::over(stream, &to.to_string())
    }

    /// Opens it from this address of the loopback network.
    pub(crate) async fn open_from(last: u8, to: SocketAddr) -> Self {
        Self::over(stream_from(last, to).await, &to.to_string())
    }

    /// Uses an open stream to this host.
    pub(crate) fn over(stream: impl Wire + 'static, host: &str) -> Self {
        Self {
            stream: Box::new(stream),
            host: host.to_owned(),
            read: Vec::new(),
        }
    }

    /// Sends a request and reads its whole answer.
    pub(crate) async fn request(&mut self, request: &TestRequest) -> Answer {
        let bytes = request.bytes(&self.host);
        self.write(&bytes).await;
        self.answer(&request.method).await
    }

    /// Sends a `GET` without further headers and reads its whole answer.
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.request(&TestRequest::new("GET", path)).await
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // A server may refuse before it has read everything; its answer counts.
        let written = timeout(DEADLINE, self.stream.write_all(bytes)).await;
        drop(written.expect("written in time"));
    }

    /// Whether any byte arrives before the end.
    pub(crate) async fn is_answered(&mut self) -> bool {
        let is_heard = timeout(DEADLINE, self.more()).await;
        is_heard.expect("an answer or an end in time")
    }

    /// Reads one whole answer to a request of this method; interim answers are skipped.
    pub(crate) async fn answer(&mut self, method: &str) -> Answer {
        let answer = timeout(DEADLINE, self.read_answer(method)).await;
        answer.expect("an answer in time")
    }

    /// Reads the head of an answer and leaves the rest.
    pub(crate) async fn only_head(&mut self) -> Answer {
        let (status, headers) = timeout(DEADLINE, self.head())
            .await
            .expect("a head in time");
        Answer {
            status,
            headers,
            body: Vec::new(),
        }
    }

    /// Reads this many bytes.
    pub(crate) async fn read(&mut self, length: usize) -> Vec<u8> {
        let reading = self.exactly(length);
        timeout(DEADLINE, reading).await.expect("bytes in time")
    }

    /// Whether any byte arrives within this time.
    pub(crate) async fn receives_within(&mut self, span: Duration) -> bool {
        timeout(span, self.more()).await.is_ok()
    }

    /// Reads until the peer closes.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        let reading = async { while self.more().await {} };
        timeout(DEADLINE, reading).await.expect("an end in time");
        self.read
    }

    async fn read_answer(&mut self, method: &str) -> Answer {
        loop {
            let (status, headers) = self.head().await;
            if status < 200 {
                continue;
            }
            let mut answer = Answer {
                status,
                headers,
                body: Vec::new(),
            };
            if method == "HEAD" || status == 204 || status == 304 {
                return answer;
            }
            answer.body = if answer.header("transfer-encoding").is_some() {
                self.chunks().await
            } else if let Some(length) = answer.header("content-length") {
                let length = length.parse().expect("a length");
                self.exactly(length).await
            } else {
                while self.more().await {}
                std::mem::take(&mut self.read)
            };
            return answer;
        }
    }

    async fn head(&mut self) -> (u16, Vec<(String, String)>) {
        let end = loop {
            match find(&self.read, b"\r\n\r\n") {
                Some(at) => break at,
                None => assert!(
                    self.more().await,
                    "closed before a whole head: {:?}",
                    String::from_utf8_lossy(&self.read)
                ),
            }
        };
        let head: Vec<u8> = self.read.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().expect("a status line");
        let status = status.get(9..12).and_then(|code| code.parse().ok());
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').expect("a header line");
            (name.to_owned(), value.trim().to_owned())
        });
        (status.expect("a status"), headers.collect())
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await;
            let size = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size.trim(), 16).expect("a chunk size");
            if size == 0 {
                while !self.line().await.is_empty() {}
                return body;
            }
            body.extend(self.exactly(size).await);
            assert_eq!(self.line().await, "");
        }
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(at) = find(&self.read, b"\r\n") {
                let line: Vec<u8> = self.read.drain(..at + 2).collect();
                return String::from_utf8_lossy(&line[..at]).into_owned();
            }
            assert!(self.more().await, "closed within a line");
        }
    }

    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            assert!(self.more().await, "closed within a body");
        }
        self.read.drain(..length).collect()
    }

    /// Reads available bytes; `false` at the end.
    async fn more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.read).await, Ok(1..))
    }
}

/// Sends bytes as they are, closes the sending side, and reads until the peer closes.
pub(crate) async fn raw(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut connection = Connection::open(to).await;
    connection.write(bytes).await;
    drop(connection.stream.shutdown().await);
    connection.rest().await
}

/// The position of a part in a text.
pub(crate) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
