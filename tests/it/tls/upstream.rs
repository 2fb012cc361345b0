//! TLS files towards an upstream are watched and reloaded, and unusable ones leave the old ones in use.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use sidegate::tls::{provider, subject};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::certificates::Authority;
use crate::support::client::{Connection, DEADLINE, TestRequest};
use crate::support::harness::TestApp;
use crate::support::scripted;

/// An application that accepts clients of one authority, answers with their subject, and closes; and the
/// files for its clients, in a directory that is replaced as a whole.
struct Guarded {
    port: u16,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    folder: TempDir,
    /// Releases the second half of a slow answer.
    go: Sender<()>,
}

impl Guarded {
    /// Starts with files of a client named `first`.
    fn start() -> Self {
        let authority = Authority::new();
        let config = Arc::new(Mutex::new(demanding(&authority)));
        let (go, wait) = channel();
        let wait = Mutex::new(wait);
        let current = Arc::clone(&config);
        let address = scripted::serve(move |stream| {
            let config = Arc::clone(&current.lock().expect("a configuration"));
            drop(answer(stream, config, || {
                wait.lock().expect("a word").recv().ok();
            }));
        });
        let guarded = Self {
            port: address.port(),
            config,
            folder: tempfile::tempdir().expect("a folder"),
            go,
        };
        guarded.files(&authority, "first");
        guarded
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Replaces the directory by one with the files of this client.
    fn files(&self, authority: &Authority, client: &str) {
        let made = self.folder.path().join(client);
        fs::create_dir(&made).expect("a folder");
        let (certificate, key) = authority.signs(&[], client);
        for (name, text) in [
            ("ca.pem", authority.pem()),
            ("client.crt", certificate.pem()),
            ("client.key", key.serialize_pem()),
        ] {
            fs::write(made.join(name), text).expect("a file");
        }
        let link = self.folder.path().join("next");
        symlink(&made, &link).expect("a link");
        fs::rename(&link, self.data()).expect("a swap");
    }

    /// Another authority on both sides, and a client named `second`.
    fn renew(&self) {
        let authority = Authority::new();
        *self.config.lock().expect("a configuration") = demanding(&authority);
        self.files(&authority, "second");
    }

    /// The configuration of an app in front of it.
    fn behind(&self, interval: &str) -> String {
        let file = |name: &str| self.data().join(name).display().to_string();
        format!(
            "[policy]\ndefault = \"public\"\n[server.tls]\nreload_interval = {interval:?}\n\
             [upstream]\nurl = \"https://localhost:{}\"\n\
             tls = {{ ca = {:?}, cert = {:?}, key = {:?} }}\n",
            self.port,
            file("ca.pem"),
            file("client.crt"),
            file("client.key"),
        )
    }
}

/// A server with a certificate of this authority, which it also requires of clients.
fn demanding(authority: &Authority) -> Arc<ServerConfig> {
    let (certificate, key) = authority.signs(&["localhost"], "server");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).expect("a root");
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(clients.build().expect("a verifier"))
        .with_single_cert(vec![certificate.der().clone()], key);
    Arc::new(config.expect("a configuration"))
}

/// Serves one request over TLS; the second half of an answer to `/slow` waits.
fn answer(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    wait: impl FnOnce(),
) -> std::io::Result<()> {
    let session = ServerConnection::new(config).expect("a session");
    let mut stream = StreamOwned::new(session, stream);
    let Some(head) = scripted::head(&mut stream) else {
        return Ok(());
    };
    let shown = stream.conn.peer_certificates().and_then(|all| all.first());
    let name = shown.and_then(|own| subject(own)).unwrap_or_default();
    let length = name.len();
    let (begin, rest) = name.split_at(3);
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{begin}"
    )?;
    stream.flush()?;
    if head.starts_with("GET /slow ") {
        wait();
    }
    stream.write_all(rest.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// The client's subject, as the application saw it.
async fn asked_by(app: &TestApp) -> String {
    let answer = app.anon().get("/x").await;
    if answer.status == 200 {
        return answer.text();
    }
    assert_eq!(answer.refusal(), (502, "upstream_unreachable".to_owned()));
    String::new()
}

/// Waits until the application sees this subject.
async fn until_asked_by(app: &TestApp, name: &str) {
    let deadline = Instant::now() + DEADLINE;
    while asked_by(app).await != name {
        assert!(Instant::now() < deadline, "never asked by {name}");
        sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn upstream_tls_files_are_watched_while_connections_stay_open() {
    let upstream = Guarded::start();
    let app = TestApp::with(&upstream.behind("1s")).await;
    assert_eq!(asked_by(&app).await, "CN=first");
    let mut stands = Connection::open(app.address).await;
    stands
        .write(&TestRequest::new("GET", "/slow").bytes("a"))
        .await;
    assert_eq!(stands.only_head().await.status, 200);
    upstream.renew();
    until_asked_by(&app, "CN=second").await;
    upstream.go.send(()).expect("an application");
    assert_eq!(stands.read(8).await, b"CN=first");
}

#[tokio::test]
async fn unusable_upstream_tls_files_leave_the_old_ones_in_use() {
    let upstream = Guarded::start();
    let app = TestApp::with(&upstream.behind("1s")).await;
    assert_eq!(asked_by(&app).await, "CN=first");
    // In one step: a file that is empty for a moment would be another error.
    let bad = upstream.folder.path().join("bad.key");
    fs::write(&bad, "nothing").expect("a file");
    fs::rename(&bad, upstream.data().join("client.key")).expect("a file");
    let deadline = Instant::now() + DEADLINE;
    let received = "sidegate_tls_reload_failures_total 1\n";
    while !app.admin_get("/metrics").await.text().contains(received) {
        assert!(Instant::now() < deadline, "the bad key is never seen");
        sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(asked_by(&app).await, "CN=first");
    upstream.renew();
    until_asked_by(&app, "CN=second").await;
}

#[tokio::test]
async fn a_reload_reads_the_upstream_tls_files_again() {
    let upstream = Guarded::start();
    let text = upstream.behind("1d");
    let app = TestApp::with(&text).await;
    assert_eq!(asked_by(&app).await, "CN=first");
    upstream.renew();
    app.running().reload().expect("a valid configuration");
    assert_eq!(asked_by(&app).await, "CN=second");
    fs::write(upstream.data().join("client.key"), "nothing").expect("a file");
    app.rewrite(&text.replace("public", "user"));
    let received = app.running().reload().expect_err("a bad key");
    assert!(received.contains("upstream.tls.key"), "{received}");
    // The rest of the file has no effect.
    assert_eq!(asked_by(&app).await, "CN=second");
}

#[tokio::test]
async fn a_reload_changes_how_often_files_are_checked() {
    let upstream = Guarded::start();
    let app = TestApp::with(&upstream.behind("1d")).await;
    assert_eq!(asked_by(&app).await, "CN=first");
    app.rewrite(&upstream.behind("1s"));
    app.running().reload().expect("a valid configuration");
    upstream.renew();
    until_asked_by(&app, "CN=second").await;
}
