//! Applications that speak HTTP/2 or TLS, behind the whole product.

use std::convert::Infallible;
use std::fs;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::client::{Ask, Connection};
use crate::harness::TestApp;

/// Says in JSON what it was asked.
async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let headers: Vec<_> = (parts.headers.iter())
        .map(|(name, value)| json!([name.as_str(), value.to_str().unwrap_or_default()]))
        .collect();
    let told = json!({
        "version": format!("{:?}", parts.version),
        "host": parts.uri.authority().map(ToString::to_string),
        "path": parts.uri.path(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    Ok(Response::new(Full::from(told.to_string())))
}

/// An application on a thread of its own, until the process ends: over TLS if there is a
/// configuration, in HTTP/2 unless TLS chose otherwise.
fn application(tls: Option<ServerConfig>) -> u16 {
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
                let acceptor = acceptor.clone();
                all.spawn(async move {
                    let Some(acceptor) = acceptor else {
                        let server = http2::Builder::new(TokioExecutor::new());
                        let stream = TokioIo::new(stream);
                        return server.serve_connection(stream, service_fn(echo)).await.ok();
                    };
                    let stream = acceptor.accept(stream).await.ok()?;
                    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let stream = TokioIo::new(stream);
                    if is_http2 {
                        let server = http2::Builder::new(TokioExecutor::new());
                        server.serve_connection(stream, service_fn(echo)).await.ok()
                    } else {
                        let server = http1::Builder::new();
                        server.serve_connection(stream, service_fn(echo)).await.ok()
                    }
                });
            }
        });
    });
    port
}

/// An application over TLS that speaks this, and the file with the certificate to believe.
fn secured(protocols: &[&[u8]]) -> (u16, TempDir) {
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
    (application(Some(config)), folder)
}

fn believing(port: u16, folder: &TempDir) -> String {
    let ca = folder.path().join("ca.pem");
    format!(
        "[upstream]\nurl = \"https://localhost:{port}\"\ntls.ca = \"{}\"",
        ca.display()
    )
}

fn values(told: &serde_json::Value, name: &str) -> Vec<String> {
    let headers = told["headers"].as_array().expect("headers");
    let named = headers.iter().filter(|header| header[0] == name);
    named
        .map(|header| header[1].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn an_application_that_speaks_http_2_is_told_who_is_calling() {
    let port = application(None);
    let app = TestApp::with(&format!("[upstream]\nurl = \"h2c://127.0.0.1:{port}\"")).await;
    let ann = app.user("ann").await;
    let ask = Ask::new("POST", "/orders/7?x=1")
        .with("X-User-Id", "root")
        .with("X_User_Name", "root")
        .with("Connection", "X-User-Id")
        .body("text/plain", "hello");
    let answer = ann.send(ask).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(told["version"], "HTTP/2.0");
    assert_eq!(told["path"], "/orders/7");
    assert_eq!(told["body"], "hello");
    assert_eq!(values(&told, "x-user-name"), ["ann"]);
    assert!(values(&told, "x_user_name").is_empty());
    assert!(!told.to_string().contains("root"), "{told}");
    assert_eq!(app.anon().get("/orders/7").await.status, 401);
}

#[tokio::test]
async fn an_application_behind_tls_is_spoken_to_as_it_chooses() {
    for (protocols, version) in [
        (&[&b"h2"[..], b"http/1.1"][..], "HTTP/2.0"),
        (&[b"http/1.1"], "HTTP/1.1"),
    ] {
        let (port, folder) = secured(protocols);
        let app = TestApp::with(&believing(port, &folder)).await;
        let ann = app.user("ann").await;
        for _ in 0..3 {
            let answer = ann.get("/").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.json()["version"], version);
        }
    }
}

#[tokio::test]
async fn an_application_that_cannot_be_believed_is_not_spoken_to() {
    let (port, folder) = secured(&[b"h2"]);
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let other = other.expect("a certificate").cert.pem();
    fs::write(folder.path().join("ca.pem"), other).expect("a file");
    let app = TestApp::with(&believing(port, &folder)).await;
    let answer = app.user("ann").await.get("/").await;
    assert_eq!(answer.verdict(), (502, "upstream_unreachable".to_owned()));
}

#[tokio::test]
async fn a_call_that_is_refused_is_told_so_in_its_own_words() {
    let port = application(None);
    let app = TestApp::with(&format!("[upstream]\nurl = \"h2c://127.0.0.1:{port}\"")).await;
    let call = Ask::new("POST", "/orders.Orders/List")
        .with("TE", "trailers")
        .body("application/grpc+proto", "ping");
    let answer = app.anon().send(call.clone()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("grpc-status"), Some("16"));
    assert_eq!(answer.header("content-type"), Some("application/grpc"));
    assert_eq!(answer.header("www-authenticate"), None);
    assert_eq!(answer.text(), "");
    let log = app
        .access_log(|log| log.contains("/orders.Orders/List"))
        .await;
    assert!(log.contains("missing_token"), "{log}");
    let answer = app.user("ann").await.send(call).await;
    let told = answer.json();
    assert_eq!(told["body"], "ping");
    assert_eq!(values(&told, "te"), ["trailers"]);
}

#[tokio::test]
async fn a_client_that_waits_for_permission_to_send_gets_it() {
    let port = application(None);
    let app = TestApp::with(&format!(
        "[policy]\ndefault = \"public\"\n[upstream]\nurl = \"h2c://127.0.0.1:{port}\""
    ))
    .await;
    let mut connection = Connection::open(app.address).await;
    let ask = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\
        Connection: close\r\n\r\nhello";
    connection.write(ask).await;
    let heard = connection.rest().await;
    let heard = String::from_utf8_lossy(&heard);
    assert!(
        heard.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"),
        "{heard}"
    );
    assert!(heard.contains("\"body\":\"hello\""), "{heard}");
}
