//! Which applications play the current exchange, in each protocol of an upstream?

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sidegate::types::random::SeededRandom;
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::http1_application::serve;
use super::message::{Content, ReceivedRequest, pieces, to_lines, to_map};
use super::table::Exchange;
use crate::support::hyper_app::{BodySender, ChannelBody, application, secured};

/// The current exchange and the received request. Shared by all applications.
#[derive(Debug)]
pub(super) struct Playback {
    play: Mutex<Option<Exchange>>,
    received: Mutex<Option<ReceivedRequest>>,
    dice: SeededRandom,
    /// Work that continues after an early answer.
    rest: Mutex<JoinSet<()>>,
}

impl Playback {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            play: Mutex::default(),
            received: Mutex::default(),
            dice: SeededRandom::new(seed),
            rest: Mutex::default(),
        })
    }

    pub(super) fn dice(&self) -> &SeededRandom {
        &self.dice
    }

    pub(super) fn play(&self, exchange: &Exchange) {
        *self.play.lock().expect("the play") = Some(exchange.clone());
    }

    pub(super) fn received(&self) -> Option<ReceivedRequest> {
        self.received.lock().expect("the received request").take()
    }

    pub(super) fn now(&self) -> Exchange {
        self.play.lock().expect("the play").clone().expect("a play")
    }

    pub(super) fn record(&self, received: ReceivedRequest) {
        *self.received.lock().expect("the received request") = Some(received);
    }
}

/// A kind of application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    Unix,
    H2c,
    Https1,
    Https2,
}

impl Kind {
    pub(super) fn is_http2(self) -> bool {
        matches!(self, Self::H2c | Self::Https2)
    }
}

/// A running application.
pub(super) struct Application {
    pub(super) kind: Kind,
    /// Its address in the configuration.
    pub(super) upstream: String,
    pub(super) port: u16,
    _folder: Option<TempDir>,
    _life: JoinSet<()>,
}

impl Application {
    pub(super) async fn start(kind: Kind, stage: &Arc<Playback>) -> Self {
        let mut life = JoinSet::new();
        let (port, upstream, folder) = match kind {
            Kind::Http => {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let port = listener.local_addr().expect("an address").port();
                life.spawn(over_tcp(listener, None, Arc::clone(stage)));
                (port, format!("url = \"http://127.0.0.1:{port}\""), None)
            }
            Kind::Unix => {
                let folder = tempfile::tempdir().expect("a folder");
                let path = folder.path().join("app.sock");
                let upstream = format!("url = \"unix:{}\"", path.display());
                life.spawn(over_unix(path, Arc::clone(stage)));
                (0, upstream, Some(folder))
            }
            Kind::H2c => {
                let port = over_http2(None, stage);
                (port, format!("url = \"h2c://127.0.0.1:{port}\""), None)
            }
            Kind::Https1 => {
                let (config, folder) = secured(&[b"http/1.1"]);
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let port = listener.local_addr().expect("an address").port();
                let acceptor = TlsAcceptor::from(Arc::new(config));
                life.spawn(over_tcp(listener, Some(acceptor), Arc::clone(stage)));
                (port, https(port, &folder), Some(folder))
            }
            Kind::Https2 => {
                let (config, folder) = secured(&[b"h2"]);
                let port = over_http2(Some(config), stage);
                (port, https(port, &folder), Some(folder))
            }
        };
        Self {
            kind,
            upstream,
            port,
            _folder: folder,
            _life: life,
        }
    }
}

fn https(port: u16, folder: &TempDir) -> String {
    let ca = folder.path().join("ca.pem").display().to_string();
    format!("url = \"https://localhost:{port}\"\ntls.ca = {ca:?}")
}

async fn over_tcp(listener: TcpListener, tls: Option<TlsAcceptor>, stage: Arc<Playback>) {
    let mut all = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("a socket");
        let (tls, stage) = (tls.clone(), Arc::clone(&stage));
        all.spawn(async move {
            match tls {
                None => drop(serve(stream, &stage).await),
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        drop(serve(stream, &stage).await);
                    }
                }
            }
        });
    }
}

async fn over_unix(path: PathBuf, stage: Arc<Playback>) {
    let listener = UnixListener::bind(path).expect("a socket");
    let mut all = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let stage = Arc::clone(&stage);
        all.spawn(async move { drop(serve(stream, &stage).await) });
    }
}

/// Plays over HTTP/2.
fn over_http2(tls: Option<rustls::ServerConfig>, stage: &Arc<Playback>) -> u16 {
    let stage = Arc::clone(stage);
    application(tls, move |request| play(request, Arc::clone(&stage)))
}

async fn play(request: Request<Incoming>, stage: Arc<Playback>) -> Response<ChannelBody> {
    let exchange = stage.now();
    let (parts, body) = request.into_parts();
    let mut headers = to_lines(&parts.headers);
    if let Some(host) = parts.uri.authority() {
        headers.push(("host".to_owned(), host.as_str().as_bytes().to_vec()));
    }
    let target = parts.uri.path_and_query().map(ToString::to_string);
    let mut received = ReceivedRequest {
        method: parts.method.to_string(),
        target: target.unwrap_or_default(),
        headers,
        body: Vec::new(),
    };
    let (feeder, fed) = ChannelBody::later();
    let hearing = {
        let stage = Arc::clone(&stage);
        async move {
            received.body = body.collect().await.expect("a body").to_bytes().to_vec();
            stage.record(received);
        }
    };
    if exchange.is_early {
        say(&feeder, &exchange, &stage);
        // At the end of the answer hyper drops the rest of the request.
        let ending = async move {
            hearing.await;
            drop(feeder);
        };
        stage.rest.lock().expect("the rest").spawn(ending);
    } else {
        hearing.await;
        say(&feeder, &exchange, &stage);
    }
    let mut answer = Response::new(fed);
    *answer.status_mut() = StatusCode::from_u16(exchange.status).expect("a status");
    *answer.headers_mut() = to_map(&exchange.answer);
    if let Content::Sized(body) = &exchange.content {
        let length = HeaderValue::from(body.len());
        answer.headers_mut().insert("content-length", length);
    }
    answer
}

/// The body of the answer.
fn say(feeder: &BodySender, exchange: &Exchange, stage: &Playback) {
    if exchange.is_bodiless() {
        return;
    }
    for piece in pieces(exchange.content.bytes(), &stage.dice) {
        feeder.send(Frame::data(piece)).expect("a body");
    }
    if !exchange.trailers.is_empty() {
        let trailers = Frame::trailers(to_map(&exchange.trailers));
        feeder.send(trailers).expect("a body");
    }
}
