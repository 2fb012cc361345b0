//! Clients that ask without pause, over every protocol, in the clear and over TLS; and uploads that are
//! in flight for as long as a test likes. None of them ever accepts a request that is not answered.

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

use crate::actors::Actor;
use crate::client::{Answer, Ask, Connection, DEADLINE, PROMPT, Wire, begun};
use crate::h2::Client;
use crate::harness::until;
use crate::live_h2::Talk;
use crate::served::{Fed, Feeder};
use crate::site::{Site, shake};

/// The name that a server's certificate is for.
const NAME: &str = "app.example.org";

/// What of a body is sent at a time.
static PIECE: [u8; 40_000] = [b'x'; 40_000];

/// How many requests share a connection of HTTP/2.
const AT_ONCE: usize = 4;

/// How a server is reached.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    pub(crate) to: SocketAddr,
    tls: Option<rustls::ClientConfig>,
}

impl Way {
    /// In the clear, or over TLS to the server of this site.
    pub(crate) fn new(to: SocketAddr, site: Option<&Site>) -> Self {
        let tls = site.map(Site::client);
        Self { to, tls }
    }

    /// A stream for HTTP/2 or HTTP/1.1.
    async fn open(&self, is_http2: bool) -> Box<dyn Wire> {
        if let Some(config) = &self.tls {
            let protocol = if is_http2 { "h2" } else { "http/1.1" };
            let shaken = shake(self.to, NAME, config.clone(), &[protocol]).await;
            return Box::new(shaken.expect("a handshake"));
        }
        let stream = timeout(DEADLINE, TcpStream::connect(self.to)).await;
        Box::new(stream.expect("in time").expect("a connection"))
    }

    /// A connection of HTTP/1.1.
    pub(crate) async fn connect(&self) -> Connection {
        Connection::over(self.open(false).await, NAME)
    }

    /// Asks on a connection of its own.
    pub(crate) async fn ask(&self, ask: &Ask) -> Answer {
        let mut connection = begun(|| self.connect(), &ask.bytes(NAME)).await;
        connection.answer(&ask.method).await
    }

    /// Logs in.
    pub(crate) async fn login(&self, name: &str, password: &str) -> Actor {
        let body = serde_json::json!({"identifier": name, "password": password});
        let answer = self.ask(&Ask::new("POST", "/auth/login").json(&body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Actor::anonymous(self.to).holding(&answer)
    }

    fn uri(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{NAME}{path}")
    }
}

/// What the clients of a test saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    stop: AtomicBool,
    answers: AtomicUsize,
}

impl Seen {
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until so many more answers have come, or until it is over.
    pub(crate) async fn more(&self, answers: usize) {
        let enough = self.answers.load(Ordering::Relaxed) + answers;
        let is_enough = || self.is_over() || self.answers.load(Ordering::Relaxed) >= enough;
        until(|| is_enough().then_some(())).await;
    }
}

/// Somebody who asks, and what must be true of every answer.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    pub(crate) way: Way,
    pub(crate) who: Actor,
    pub(crate) seen: Arc<Seen>,
    pub(crate) judge: fn(&Answer),
}

impl Crowd {
    /// Two clients of each kind, until it is over.
    pub(crate) fn press(&self, clients: &mut JoinSet<()>) {
        for _ in 0..2 {
            clients.spawn(self.clone().keep_asking());
            clients.spawn(self.clone().ask_afresh());
            clients.spawn(self.clone().ask_many());
            clients.spawn(self.clone().upload(false));
            clients.spawn(self.clone().upload(true));
        }
    }

    fn judged(&self, answer: &Answer) {
        assert_eq!(answer.status, 200, "{}", answer.text());
        (self.judge)(answer);
        self.seen.answered();
    }

    /// On one connection, for as long as the server keeps it. One on its way out waits a moment for a
    /// next request; who has let that moment pass may find the connection closed and asks on another
    /// (RFC 9112, 9.3.1).
    async fn keep_asking(self) {
        let ask = self.who.dress(Ask::new("GET", "/kept"));
        let bytes = ask.bytes(NAME);
        while !self.seen.is_over() {
            let mut connection = begun(|| self.way.connect(), &bytes).await;
            loop {
                let asked = Instant::now();
                let answer = connection.answer("GET").await;
                self.judged(&answer);
                if answer.header("connection") == Some("close") || self.seen.is_over() {
                    break;
                }
                connection.write(&bytes).await;
                let is_prompt = asked.elapsed() < PROMPT;
                if !connection.is_answered().await {
                    assert!(!is_prompt, "who asked in time is left without an answer");
                    break;
                }
            }
        }
    }

    /// Each time on a fresh connection.
    async fn ask_afresh(self) {
        let ask = self.who.dress(Ask::new("GET", "/fresh"));
        while !self.seen.is_over() {
            self.judged(&self.way.ask(&ask).await);
        }
    }

    /// Several at once on one connection of HTTP/2. What the server has not heard before it went it says,
    /// and that is asked again on the next.
    async fn ask_many(self) {
        while !self.seen.is_over() {
            let mut client = Client::over(self.way.open(true).await).await;
            let mut is_heard = true;
            while is_heard && !self.seen.is_over() {
                let requests = (0..AT_ONCE).map(|_| self.request()).collect();
                for outcome in client.ask_at_once(requests).await {
                    match outcome {
                        Ok(answer) => self.judged(&plain(answer)),
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
        Request::get(self.way.uri("/many"))
            .header("authorization", format!("Bearer {}", self.who.access))
            .body(Full::default())
            .expect("a request")
    }

    /// Bodies in pieces, each on a connection of its own.
    async fn upload(self, is_http2: bool) {
        while !self.seen.is_over() {
            let upload = Upload::begin(&self.way, &self.who, "/upload", is_http2).await;
            tokio::task::yield_now().await;
            // A connection of HTTP/2 that began while the process ends may be told to come again.
            if let Some(answer) = upload.finish().await {
                self.judged(&answer);
            }
        }
    }
}

/// Whether the server says, or could not know, that it has not looked at a request: it may be sent again
/// (RFC 9113, 6.8).
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

/// A request whose body is half sent.
pub(crate) enum Upload {
    /// And whether it began as soon as a server on its way out may want it.
    Http1(Connection, bool),
    Http2(Feeder, JoinSet<Option<Answer>>),
}

impl Upload {
    /// Sends the head and the first half.
    pub(crate) async fn begin(way: &Way, who: &Actor, path: &str, is_http2: bool) -> Self {
        if !is_http2 {
            let began = Instant::now();
            let mut connection = way.connect().await;
            let length = (2 * PIECE.len()).to_string();
            let ask = who.dress(Ask::new("PUT", path).with("Content-Length", &length));
            connection.write(&ask.bytes(NAME)).await;
            let is_prompt = began.elapsed() < PROMPT;
            connection.write(&PIECE).await;
            return Self::Http1(connection, is_prompt);
        }
        let mut talk = Talk::over(way.open(true).await, way.to).await;
        let (feeder, body) = Fed::later();
        feeder
            .send(Frame::data(Bytes::from_static(&PIECE)))
            .expect("a body");
        let mut request = talk
            .request(who, Method::PUT, path)
            .body(body)
            .expect("a request");
        *request.uri_mut() = way.uri(path).parse().expect("a uri");
        let mut answering = JoinSet::new();
        answering.spawn(async move {
            match talk.try_send(request).await {
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

    /// Sends the rest and checks that all of it has come; nothing when the server says that it has not
    /// looked at the request, or it began too late for one that goes.
    pub(crate) async fn finish(self) -> Option<Answer> {
        let answer = match self {
            Self::Http1(mut connection, is_prompt) => {
                connection.write(&PIECE).await;
                if !connection.is_answered().await {
                    assert!(!is_prompt, "who asked in time is left without an answer");
                    return None;
                }
                connection.answer("PUT").await
            }
            Self::Http2(feeder, mut answering) => {
                // A request that was not heard has let go of its body.
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
