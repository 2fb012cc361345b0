//! Which TLS server is the upstream of a test?

use std::convert::Infallible;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_rustls::TlsAcceptor;

use super::{get, send, settings};
use crate::proxy::{Address, Proxy, Settings, Tls, UpstreamError};

/// A certificate authority, and a directory for its files.
pub(super) struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) root: CertificateDer<'static>,
    pub(super) folder: TempDir,
}

pub(super) type Pair = (CertificateDer<'static>, KeyPair);

impl Authority {
    pub(super) fn new() -> Self {
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

    pub(super) fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        (cert.der().clone(), key)
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The files of a client certificate and its key.
    pub(super) fn identity(&self) -> (PathBuf, PathBuf) {
        let params = CertificateParams::new(vec!["sidegate".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let at = |name: &str| self.folder.path().join(name);
        fs::write(at("client.crt"), cert.pem()).unwrap();
        fs::write(at("client.key"), key.serialize_pem()).unwrap();
        (at("client.crt"), at("client.key"))
    }
}

/// The configuration of a server.
pub(super) struct Server {
    pub(super) pair: Pair,
    pub(super) protocols: &'static [&'static [u8]],
    /// The authority whose clients are accepted; `None` accepts all.
    pub(super) clients: Option<CertificateDer<'static>>,
}

pub(super) const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

pub(super) const HTTP1: &[&[u8]] = &[b"http/1.1"];

/// The kinds of the handshakes of a server.
pub(super) type Kinds = Arc<Mutex<Vec<HandshakeKind>>>;

impl Server {
    pub(super) fn new(pair: Pair, protocols: &'static [&'static [u8]]) -> Self {
        Self {
            pair,
            protocols,
            clients: None,
        }
    }

    pub(super) fn acceptor(self) -> TlsAcceptor {
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
    pub(super) async fn start(self) -> (u16, Kinds) {
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
                    seen.lock().extend(session.handshake_kind());
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

pub(super) async fn answer(
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let version = request.version();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let text = format!("{version:?} {}", body.len());
    Ok(Response::new(Full::from(text)))
}

pub(super) fn beside(task: impl Future<Output = ()> + Send + 'static) {
    drop(Handle::current().spawn(task));
}

pub(super) fn secured(host: &str, port: u16, tls: Tls) -> Settings {
    Settings {
        upstream: Address::Tls {
            host: host.to_owned(),
            port,
            tls,
        },
        ..settings(port)
    }
}

pub(super) fn believing(authority: &Authority) -> Tls {
    Tls {
        ca: Some(authority.ca()),
        ..Tls::default()
    }
}

/// All reasons of an error, from the outermost on.
pub(super) fn reasons(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        text = format!("{text}: {cause}");
        below = cause.source();
    }
    text
}

pub(super) async fn refused(host: &str, port: u16, tls: Tls) -> String {
    let proxy = Proxy::new(&secured(host, port, tls)).unwrap();
    let error = send(&proxy, get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Unreachable(_)), "{error:?}");
    assert_eq!(proxy.stats().open, 0);
    reasons(&error)
}
