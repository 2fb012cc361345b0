//! How does a test get certificates, the files of a TLS server, and clients that verify them?

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::client::DEADLINE;

/// A certificate authority.
pub(crate) struct Authority {
    pub(crate) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("an authority");
        Self {
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn pem(&self) -> String {
        let text = data_encoding::BASE64.encode(&self.certificate);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }

    /// Certificate and key in PEM.
    pub(crate) fn signs(&self, names: &[&str], subject: &str) -> (rcgen::Certificate, KeyPair) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, subject);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate, key)
    }

    /// Writes a certificate and its key into a directory.
    pub(crate) fn write(&self, folder: &Path, name: &str, names: &[&str]) {
        let (certificate, key) = self.signs(names, "server");
        let write = |kind, text: String| {
            std::fs::write(folder.join(format!("{name}.{kind}")), text).expect("a file");
        };
        write("crt", certificate.pem());
        write("key", key.serialize_pem());
    }
}

/// A directory with the files of a server.
pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) authority: Authority,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new();
        authority.write(folder.path(), "tls", &["app.example.org"]);
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).expect("a file");
        Self { folder, authority }
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The configuration of an app with these files, and this text at the end.
    pub(crate) fn with(&self, tls: &str, more: &str) -> String {
        let section = self.section();
        format!("[policy]\ndefault = \"public\"\n{section}{tls}\n{more}")
    }

    /// `[server.tls]` with these files.
    pub(crate) fn section(&self) -> String {
        let (cert, key) = (self.file("tls.crt"), self.file("tls.key"));
        format!("[server.tls]\ncert = {cert:?}\nkey = {key:?}\n")
    }

    /// The configuration of a server that also redirects clients to https.
    pub(crate) fn redirecting(&self, server: &str) -> String {
        let server = format!("[server]\nredirect_listen = \"127.0.0.1:0\"\n{server}\n[server.tls]");
        self.with("", "").replacen("[server.tls]", &server, 1)
    }

    pub(crate) fn client(&self) -> ClientConfig {
        config(&self.authority, None)
    }

    /// A client with a certificate of this subject.
    pub(crate) fn client_as(&self, signed_by: &Authority, subject: &str) -> ClientConfig {
        let (certificate, key) = signed_by.signs(&[], subject);
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        config(&self.authority, Some((certificate.der().clone(), key)))
    }
}

fn config(
    trusts: &Authority,
    own: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trusts.certificate.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(vec![certificate], key)
            .expect("a client's certificate"),
    }
}

pub(crate) async fn tls_connect(
    to: SocketAddr,
    name: &str,
    mut config: ClientConfig,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(to).await?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let shaking = TlsConnector::from(Arc::new(config)).connect(name, stream);
    timeout(DEADLINE, shaking).await.expect("in time")
}

/// Sends one request over HTTP/1.1 and returns the whole answer.
pub(crate) async fn request(
    stream: &mut TlsStream<TcpStream>,
    more: &str,
) -> std::io::Result<String> {
    let head =
        format!("GET /x HTTP/1.1\r\nHost: app.example.org\r\nConnection: close\r\n{more}\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut received = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut received)).await;
    read.expect("an answer in time")?;
    Ok(String::from_utf8_lossy(&received).into_owned())
}

/// The certificate that the server presents for this name.
pub(crate) async fn presented_certificate(
    to: SocketAddr,
    name: &str,
    site: &Site,
) -> Option<CertificateDer<'static>> {
    let stream = tls_connect(to, name, site.client(), &[]).await.ok()?;
    let certificates = stream.get_ref().1.peer_certificates()?;
    Some(certificates.first()?.clone().into_owned())
}
