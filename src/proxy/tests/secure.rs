//! TLS towards upstreams with certificates made here: what is believed, what is shown, what is spoken.

use std::convert::Infallible;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_rustls::TlsAcceptor;

use super::{HELLO, LIMIT, arrived, get, send, settings, text};
use crate::proxy::{Address, Proxy, Settings, Tls, UpstreamError};
use crate::tls::client;

/// One who signs certificates, and files for what was signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    folder: TempDir,
}

type Pair = (CertificateDer<'static>, KeyPair);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().display().to_string();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("ca.pem"), cert.pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            root: cert.der().clone(),
            folder,
        }
    }

    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        (cert.der().clone(), key)
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A client's certificate and key in files.
    fn identity(&self) -> (PathBuf, PathBuf) {
        let params = CertificateParams::new(vec!["sidegate".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let at = |name: &str| self.folder.path().join(name);
        fs::write(at("client.crt"), cert.pem()).unwrap();
        fs::write(at("client.key"), key.serialize_pem()).unwrap();
        (at("client.crt"), at("client.key"))
    }
}

/// What a server is like.
struct Server {
    pair: Pair,
    protocols: &'static [&'static [u8]],
    /// Whose clients are let in; none = everybody.
    clients: Option<CertificateDer<'static>>,
}

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];
const HTTP1: &[&[u8]] = &[b"http/1.1"];

/// How the handshakes of a server went.
type Kinds = Arc<Mutex<Vec<HandshakeKind>>>;

impl Server {
    fn new(pair: Pair, protocols: &'static [&'static [u8]]) -> Self {
        Self {
            pair,
            protocols,
            clients: None,
        }
    }

    fn acceptor(self) -> TlsAcceptor {
        let provider = crate::tls::provider();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match self.clients {
            None => builder.with_no_client_auth(),
            Some(root) => {
                let mut roots = RootCertStore::empty();
                roots.add(root).unwrap();
                let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(clients.build().unwrap())
            }
        };
        let (cert, key) = self.pair;
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder.with_single_cert(vec![cert], key).unwrap();
        config.alpn_protocols = self.protocols.iter().map(|name| name.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Answers every request with its version and the bytes of its body.
    async fn start(self) -> (u16, Kinds) {
        let acceptor = self.acceptor();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let kinds = Kinds::default();
        let seen = Arc::clone(&kinds);
        beside(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                beside(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let session = stream.get_ref().1;
                    seen.lock().unwrap().extend(session.handshake_kind());
                    let is_http2 = session.alpn_protocol() == Some(b"h2");
                    let stream = TokioIo::new(stream);
                    if is_http2 {
                        let server = http2::Builder::new(TokioExecutor::new());
                        let serving = server.serve_connection(stream, service_fn(answer));
                        serving.await.ok();
                    } else {
                        let serving =
                            http1::Builder::new().serve_connection(stream, service_fn(answer));
                        serving.await.ok();
                    }
                });
            }
        });
        (port, kinds)
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let version = request.version();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let text = format!("{version:?} {}", body.len());
    Ok(Response::new(Full::from(text)))
}

fn beside(task: impl Future<Output = ()> + Send + 'static) {
    drop(Handle::current().spawn(task));
}

fn secured(host: &str, port: u16, tls: Tls) -> Settings {
    Settings {
        upstream: Address::Tls {
            host: host.to_owned(),
            port,
            tls,
        },
        ..settings(port)
    }
}

fn believing(authority: &Authority) -> Tls {
    Tls {
        ca: Some(authority.ca()),
        ..Tls::default()
    }
}

/// All reasons of an error, from the outermost on.
fn reasons(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        text = format!("{text}: {cause}");
        below = cause.source();
    }
    text
}

async fn refused(host: &str, port: u16, tls: Tls) -> String {
    let proxy = Proxy::new(secured(host, port, tls)).unwrap();
    let error = send(&proxy, get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Unreachable(_)), "{error:?}");
    assert_eq!(proxy.stats().open, 0);
    reasons(&error)
}

#[tokio::test]
async fn http_2_is_spoken_where_the_upstream_chooses_it() {
    let authority = Authority::new();
    let (port, kinds) = Server::new(authority.sign("localhost", |_| {}), BOTH)
        .start()
        .await;
    let proxy = Proxy::new(secured("localhost", port, believing(&authority))).unwrap();
    for _ in 0..3 {
        let response = send(&proxy, get("/")).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "HTTP/2.0 0");
    }
    assert_eq!(kinds.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn http_1_1_is_spoken_where_the_upstream_chooses_that() {
    let authority = Authority::new();
    for protocols in [HTTP1, &[]] {
        let server = Server::new(authority.sign("localhost", |_| {}), protocols);
        let (port, kinds) = server.start().await;
        let proxy = Proxy::new(secured("localhost", port, believing(&authority))).unwrap();
        // Session tickets come with the first answer; they are no reason not to use a connection,
        // also for requests that could not be sent again.
        for method in [Method::GET, Method::POST, Method::GET, Method::POST] {
            let body = if method == Method::POST { "abc" } else { "" };
            let expected = format!("HTTP/1.1 {}", body.len());
            let mut request = Request::new(Full::from(body));
            *request.method_mut() = method;
            let response = send(&proxy, request).await.unwrap();
            assert_eq!(text(response).await.unwrap(), expected);
        }
        assert_eq!(kinds.lock().unwrap().len(), 1);
        let stats = proxy.stats();
        assert_eq!((stats.created, stats.idle), (1, 1));
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_not_used() {
    let authority = Authority::new();
    let server = Server::new(authority.sign("localhost", |_| {}), HTTP1);
    let acceptor = server.acceptor();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, mut told) = tokio::sync::mpsc::channel(4);
    beside(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut head = [0; 4096];
            assert!(stream.read(&mut head).await.unwrap() > 0);
            stream.write_all(HELLO.as_bytes()).await.unwrap();
            // It says goodbye (close_notify) and does not hang up.
            stream.shutdown().await.unwrap();
            tell.send(stream).await.unwrap();
        }
    });
    let proxy = Proxy::new(secured("localhost", port, believing(&authority))).unwrap();
    let mut held = Vec::new();
    for number in 1..=3 {
        let request = Request::post("/").body(Full::from("")).unwrap();
        let response = send(&proxy, request).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "hello");
        let closed = tokio::time::timeout(LIMIT, told.recv()).await;
        held.push(closed.expect("in time").unwrap());
        arrived(port);
        let stats = proxy.stats();
        assert_eq!((stats.created, stats.retried), (number, 0));
    }
}

#[tokio::test]
async fn megabytes_go_both_ways_over_tls() {
    let authority = Authority::new();
    for protocols in [BOTH, HTTP1] {
        let server = Server::new(authority.sign("localhost", |_| {}), protocols);
        let (port, _) = server.start().await;
        let proxy = Proxy::new(secured("localhost", port, believing(&authority))).unwrap();
        let size = 8 * 1024 * 1024;
        let request = Request::post("/").body(Full::from(vec![b'x'; size]));
        let response = send(&proxy, request.unwrap()).await.unwrap();
        let told = text(response).await.unwrap();
        assert!(told.ends_with(&format!(" {size}")), "{told}");
    }
}

#[tokio::test]
async fn sessions_are_resumed() {
    let authority = Authority::new();
    let server = Server::new(authority.sign("localhost", |_| {}), HTTP1);
    let (port, kinds) = server.start().await;
    let mut settings = secured("localhost", port, believing(&authority));
    settings.idle_timeout = std::time::Duration::ZERO;
    let proxy = Proxy::new(settings).unwrap();
    for _ in 0..4 {
        text(send(&proxy, get("/")).await.unwrap()).await.unwrap();
    }
    let kinds = kinds.lock().unwrap().clone();
    assert!(kinds.contains(&HandshakeKind::Resumed), "{kinds:?}");
}

#[tokio::test]
async fn no_session_outlives_the_files_that_it_was_verified_by() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Server::new(authority.sign("localhost", |_| {}), HTTP1);
    let (port, kinds) = server.start().await;
    let mut settings = secured("localhost", port, believing(&authority));
    settings.idle_timeout = std::time::Duration::ZERO;
    let proxy = Proxy::new(settings).unwrap();
    for _ in 0..2 {
        proxy.believe(&client::config(believing(&authority).files()).unwrap());
        text(send(&proxy, get("/")).await.unwrap()).await.unwrap();
    }
    let kinds = kinds.lock().unwrap().clone();
    assert!(!kinds.contains(&HandshakeKind::Resumed), "{kinds:?}");
    proxy.believe(&client::config(believing(&other).files()).unwrap());
    let error = send(&proxy, get("/")).await.unwrap_err();
    assert!(reasons(&error).contains("UnknownIssuer"), "{error:?}");
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Server::new(authority.sign("localhost", |_| {}), BOTH);
    let (port, _) = server.start().await;
    for tls in [believing(&other), Tls::default()] {
        let told = refused("localhost", port, tls).await;
        assert_eq!(
            told,
            "the upstream cannot be reached: invalid peer certificate: UnknownIssuer"
        );
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_unless_it_is_named() {
    let authority = Authority::new();
    let server = Server::new(authority.sign("app.internal", |_| {}), BOTH);
    let (port, _) = server.start().await;
    let told = refused("localhost", port, believing(&authority)).await;
    assert!(
        told.contains("certificate not valid for name \"localhost\"")
            && told.contains("app.internal"),
        "{told}"
    );
    let tls = Tls {
        server_name: Some("app.internal".to_owned()),
        ..believing(&authority)
    };
    let proxy = Proxy::new(secured("localhost", port, tls)).unwrap();
    assert!(send(&proxy, get("/")).await.is_ok());
}

#[tokio::test]
async fn a_certificate_for_an_address_is_believed() {
    let authority = Authority::new();
    let server = Server::new(authority.sign("127.0.0.1", |_| {}), BOTH);
    let (port, _) = server.start().await;
    let proxy = Proxy::new(secured("127.0.0.1", port, believing(&authority))).unwrap();
    assert!(send(&proxy, get("/")).await.is_ok());
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let pair = authority.sign("localhost", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    });
    let (port, _) = Server::new(pair, BOTH).start().await;
    let told = refused("localhost", port, believing(&authority)).await;
    assert!(told.contains("certificate expired"), "{told}");
}

#[tokio::test]
async fn a_server_that_demands_a_certificate_gets_ours() {
    let authority = Authority::new();
    for protocols in [BOTH, HTTP1] {
        let server = Server {
            clients: Some(authority.root.clone()),
            ..Server::new(authority.sign("localhost", |_| {}), protocols)
        };
        let (port, _) = server.start().await;
        let told = refused("localhost", port, believing(&authority)).await;
        assert!(told.contains("CertificateRequired"), "{told}");
        let tls = Tls {
            identity: Some(authority.identity()),
            ..believing(&authority)
        };
        let proxy = Proxy::new(secured("localhost", port, tls)).unwrap();
        assert!(send(&proxy, get("/")).await.is_ok());
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_counts_as_connecting() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut settings = secured("localhost", port, Tls::default());
    settings.connect_timeout = std::time::Duration::from_millis(20);
    let proxy = Proxy::new(settings).unwrap();
    let error = send(&proxy, get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout), "{error:?}");
}

#[tokio::test]
async fn an_upstream_that_comes_back_with_http_2_is_asked_again() {
    let authority = Authority::new();
    let server = Server::new(authority.sign("localhost", |_| {}), HTTP1);
    let (port, _) = server.start().await;
    let proxy = Proxy::new(secured("localhost", port, believing(&authority))).unwrap();
    text(send(&proxy, get("/")).await.unwrap()).await.unwrap();
    let links = proxy.core.links.as_ref().unwrap();
    links.forget();
    let response = send(&proxy, get("/")).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "HTTP/1.1 0");
}
