//! How does a test keep requests and uploads in progress over every protocol, while something else
//! happens? Every request must be answered.

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::support::actors::Actor;
use crate::support::answer::Answer;
use crate::support::certificates::{Site, tls_connect};
use crate::support::client::{
    Connection, DEADLINE, PROMPT, TestRequest, Wire, send_until_answered,
};
use crate::support::h2::Client;
use crate::support::h2_client::H2Client;
use crate::support::hyper_app::{BodySender, ChannelBody};
use crate::support::wait::until;

/// The name in the certificate of a server.
const NAME: &str = "app.example.org";

/// The size of a piece of a body.
static PIECE: [u8; 40_000] = [b'x'; 40_000];

/// The number of parallel requests on a connection of HTTP/2.
const AT_ONCE: usize = 4;

/// The address of a server, and its TLS configuration.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) to: SocketAddr,
    tls: Option<rustls::ClientConfig>,
}

impl Target {
    /// Without a site it uses plain TCP.
    pub(crate) fn new(to: SocketAddr, site: Option<&Site>) -> Self {
        let tls = site.map(Site::client);
        Self { to, tls }
    }

    /// A stream for HTTP/2 or HTTP/1.1.
    async fn open(&self, is_http2: bool) -> Box<dyn Wire> {
        if let Some(config) = &self.tls {
            let protocol = if is_http2 { "h2" } else { "http/1.1" };
            let shaken = tls_connect(self.to, NAME, config.clone(), &[protocol]).await;
            return Box::new(shaken.expect("a handshake"));
        }
        let stream = timeout(DEADLINE, TcpStream::connect(self.to)).await;
        Box::new(stream.expect("in time").expect("a connection"))
    }

    /// Opens a connection of HTTP/1.1.
    pub(crate) async fn connect(&self) -> Connection {
        Connection::over(self.open(false).await, NAME)
    }

    /// Sends a request over a new connection.
    pub(crate) async fn request(&self, request: &TestRequest) -> Answer {
        let mut connection = send_until_answered(|| self.connect(), &request.bytes(NAME)).await;
        connection.answer(&request.method).await
    }

    /// Logs in.
    pub(crate) async fn login(&self, name: &str, password: &str) -> Actor {
        let body = serde_json::json!({"identifier": name, "password": password});
        let answer = self
            .request(&TestRequest::new("POST", "/auth/login").json(&body))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Actor::anonymous(self.to).holding(&answer)
    }

    fn uri(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{NAME}{path}")
    }
}

/// The progress of the clients of a test.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    stop: AtomicBool,
    answers: AtomicUsize,
}

impl Progress {
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until this many more answers have arrived, or until it is over.
    pub(crate) async fn more(&self, answers: usize) {
        let enough = self.answers.load(Ordering::Relaxed) + answers;
        let is_enough = || self.is_over() || self.answers.load(Ordering::Relaxed) >= enough;
        until(|| is_enough().then_some(())).await;
    }
}

/// A client that repeats requests, and the check of every answer.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) target: Target,
    pub(crate) actor: Actor,
    pub(crate) progress: Arc<Progress>,
    pub(crate) check: fn(&Answer),
}

impl Load {
    /// Starts two clients of each kind, until it is over.
    pub(crate) fn press(&self, clients: &mut JoinSet<()>) {
        for _ in 0..2 {
            clients.spawn(self.clone().keep_asking());
            clients.spawn(self.clone().ask_afresh());
            clients.spawn(self.clone().ask_many());
            clients.spawn(self.clone().upload(false));
            clients.spawn(self.clone().upload(true));
        }
    }

    fn checked(&self, answer: &Answer) {
        assert_eq!(answer.status, 200, "{}", answer.text());
        (self.check)(answer);
        self.progress.answered();
    }

    /// Uses one connection for as long as the server keeps it. A server that stops waits a moment for a
    /// next request. A client that is slower may find the connection closed and opens another (RFC 9112,
    /// 9.3.1).
    async fn keep_asking(self) {
        let request = self
            .actor
            .with_credentials(TestRequest::new("GET", "/kept"));
        let bytes = request.bytes(NAME);
        while !self.progress.is_over() {
            let mut connection = send_until_answered(|| self.target.connect(), &bytes).await;
            loop {
                let sent_at = Instant::now();
                let answer = connection.answer("GET").await;
                self.checked(&answer);
                if answer.header("connection") == Some("close") || self.progress.is_over() {
                    break;
                }
                connection.write(&bytes).await;
                let is_prompt = sent_at.elapsed() < PROMPT;
                if !connection.is_answered().await {
                    assert!(!is_prompt, "a request sent in time got no answer");
                    break;
                }
            }
        }
    }

    /// Opens a new connection for each request.
    async fn ask_afresh(self) {
        let request = self
            .actor
            .with_credentials(TestRequest::new("GET", "/fresh"));
        while !self.progress.is_over() {
            self.checked(&self.target.request(&request).await);
        }
    }

    /// Sends several requests at once on one connection of HTTP/2. Requests that the server reports as
    /// not processed are sent again on the next.
    async fn ask_many(self) {
        while !self.progress.is_over() {
            let mut client = Client::over(self.target.open(true).await).await;
            let mut is_heard = true;
            while is_heard && !self.progress.is_over() {
                let requests = (0..AT_ONCE).map(|_| self.request()).collect();
                for outcome in client.ask_at_once(requests).await {
                    match outcome {
                        Ok(answer) => self.checked(&plain(answer)),
                        Err(error) => {
                            assert!(was_not_heard(&error), "{error:?}");
                            is_heard = false;
                        }
                    }
                }
            }
        }
    }

    fn request(&self) -> Request<Full<Bytes>> {
        Request::get(self.target.uri("/many"))
            .header("authorization", format!("Bearer {}", self.actor.access))
            .body(Full::default())
            .expect("a request")
    }

    /// Sends bodies in pieces, each on its own connection.
    async fn upload(self, is_http2: bool) {
        while !self.progress.is_over() {
            let upload = Upload::begin(&self.target, &self.actor, "/upload", is_http2).await;
            tokio::task::yield_now().await;
            // A connection of HTTP/2 that began during the stop may get GOAWAY.
            if let Some(answer) = upload.finish().await {
                self.checked(&answer);
            }
        }
    }
}

/// Whether the server reports that a request was not processed, or cannot have received it: it may be
/// sent again (RFC 9113, 6.8).
fn was_not_heard(error: &hyper::Error) -> bool {
    let frame = error
        .source()
        .and_then(|cause| cause.downcast_ref::<h2::Error>());
    let is_above = |error: &h2::Error| {
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    };
    error.is_canceled() || error.is_closed() || frame.is_some_and(is_above)
}

fn plain(answer: Response<Bytes>) -> Answer {
    let (head, body) = answer.into_parts();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Answer {
        status: head.status.as_u16(),
        headers: (head.headers.iter())
            .map(|(name, value)| (name.as_str().to_owned(), text(value)))
            .collect(),
        body: body.to_vec(),
    }
}

/// A request with half of its body sent.
pub(crate) enum Upload {
    /// Whether it began soon enough for a server that stops.
    Http1(Connection, bool),
    Http2(BodySender, JoinSet<Option<Answer>>),
}

impl Upload {
    /// Sends the head and the first half.
    pub(crate) async fn begin(target: &Target, actor: &Actor, path: &str, is_http2: bool) -> Self {
        if !is_http2 {
            let began = Instant::now();
            let mut connection = target.connect().await;
            let length = (2 * PIECE.len()).to_string();
            let head = actor
                .with_credentials(TestRequest::new("PUT", path).with("Content-Length", &length));
            connection.write(&head.bytes(NAME)).await;
            let is_prompt = began.elapsed() < PROMPT;
            connection.write(&PIECE).await;
            return Self::Http1(connection, is_prompt);
        }
        let mut client = H2Client::over(target.open(true).await, target.to).await;
        let (feeder, body) = ChannelBody::later();
        feeder
            .send(Frame::data(Bytes::from_static(&PIECE)))
            .expect("a body");
        let mut request = client
            .request(actor, Method::PUT, path)
            .body(body)
            .expect("a request");
        *request.uri_mut() = target.uri(path).parse().expect("a uri");
        let mut answering = JoinSet::new();
        answering.spawn(async move {
            match client.try_send(request).await {
                Ok(answer) => {
                    let (head, body) = answer.into_parts();
                    let body = body.collect().await.expect("a body").to_bytes();
                    Some(plain(Response::from_parts(head, body)))
                }
                Err(error) => {
                    assert!(was_not_heard(&error), "{error:?}");
                    None
                }
            }
        });
        Self::Http2(feeder, answering)
    }

    /// Sends the rest and checks that all of it has arrived. Returns `None` when the server reports that
    /// the request was not processed, or when it began too late for a server that stops.
    pub(crate) async fn finish(self) -> Option<Answer> {
        let answer = match self {
            Self::Http1(mut connection, is_prompt) => {
                connection.write(&PIECE).await;
                if !connection.is_answered().await {
                    assert!(!is_prompt, "a request sent in time got no answer");
                    return None;
                }
                connection.answer("PUT").await
            }
            Self::Http2(feeder, mut answering) => {
                // The body of a request that was not processed is dropped.
                drop(feeder.send(Frame::data(Bytes::from_static(&PIECE))));
                drop(feeder);
                let answer = timeout(DEADLINE, answering.join_next()).await;
                answer
                    .expect("an answer in time")
                    .expect("a client")
                    .expect("no panic")?
            }
        };
        assert_eq!(
            answer.json()["body_len"],
            2 * PIECE.len(),
            "{}",
            answer.text()
        );
        Some(answer)
    }
}
