//! How does a test write an application as a function? It runs behind hyper's server, over TLS if
//! configured, and in HTTP/2 unless TLS selected HTTP/1.1. The bodies are fed by the test.

use std::collections::VecDeque;
use std::error::Error;
use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Starts an application on its own thread, until the process ends; returns its port.
pub(crate) fn application<F, R, B>(tls: Option<ServerConfig>, answer: F) -> u16
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    listener.set_nonblocking(true).expect("a socket");
    let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    thread::spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).expect("a listener");
            let mut all = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                drop(stream.set_nodelay(true));
                let acceptor = acceptor.clone();
                let answer = answer.clone();
                let service = service_fn(move |request| {
                    let answering = answer(request);
                    async move { Ok::<_, std::convert::Infallible>(answering.await) }
                });
                all.spawn(async move {
                    let server = http2::Builder::new(TokioExecutor::new());
                    let Some(acceptor) = acceptor else {
                        let stream = TokioIo::new(stream);
                        return server.serve_connection(stream, service).await.ok();
                    };
                    let stream = acceptor.accept(stream).await.ok()?;
                    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let stream = TokioIo::new(stream);
                    if is_http2 {
                        return server.serve_connection(stream, service).await.ok();
                    }
                    let server = http1::Builder::new();
                    server.serve_connection(stream, service).await.ok()
                });
            }
        });
    });
    port
}

/// The configuration of an application over TLS with these protocols, and a directory with the
/// certificate to trust.
pub(crate) fn secured(protocols: &[&[u8]]) -> (ServerConfig, TempDir) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let made = made.expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("ca.pem"), made.cert.pem()).expect("a file");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(sidegate::tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key);
    let mut config = config.expect("a configuration");
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    (config, folder)
}

/// A body whose pieces are sent by the test; it ends when the sender is dropped.
#[derive(Debug)]
pub(crate) struct ChannelBody(UnboundedReceiver<Frame<Bytes>>);

/// The sender of a body.
pub(crate) type BodySender = UnboundedSender<Frame<Bytes>>;

impl ChannelBody {
    /// An empty body.
    pub(crate) fn nothing() -> Self {
        Self::now(&[], None)
    }

    /// A complete body.
    pub(crate) fn now(pieces: &[Bytes], trailers: Option<HeaderMap>) -> Self {
        let (feeder, fed) = Self::later();
        for piece in pieces {
            feeder.send(Frame::data(piece.clone())).expect("a body");
        }
        if let Some(trailers) = trailers {
            feeder.send(Frame::trailers(trailers)).expect("a body");
        }
        fed
    }

    /// A body that is sent later.
    pub(crate) fn later() -> (BodySender, Self) {
        let (feeder, fed) = unbounded_channel();
        (feeder, Self(fed))
    }
}

impl Body for ChannelBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.get_mut().0.poll_recv(task).map(|piece| piece.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }
}

/// The body of the answer of an application.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    /// These pieces, and then nothing more until the client closes.
    Waiting(VecDeque<Bytes>),
    /// The body of the request.
    Echo(Incoming),
    /// Without an end.
    EndlessApp(Bytes),
    /// The pieces of a channel.
    ChannelBody(ChannelBody),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Waiting(pieces) => match pieces.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None => Poll::Pending,
            },
            Self::Echo(body) => Pin::new(body).poll_frame(task),
            Self::EndlessApp(piece) => Poll::Ready(Some(Ok(Frame::data(piece.clone())))),
            Self::ChannelBody(fed) => Pin::new(fed).poll_frame(task),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::ChannelBody(fed) => fed.is_end_stream(),
            _ => false,
        }
    }
}
