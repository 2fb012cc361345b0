//! Applications that speak HTTP/2, in the clear and over TLS.

use std::fs;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::json;
use tempfile::TempDir;

use crate::support::client::{Connection, TestRequest};
use crate::support::harness::TestApp;
use crate::support::hyper_app;

/// Describes its request in JSON.
async fn echo(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let headers: Vec<_> = (parts.headers.iter())
        .map(|(name, value)| json!([name.as_str(), value.to_str().unwrap_or_default()]))
        .collect();
    let received = json!({
        "version": format!("{:?}", parts.version),
        "host": parts.uri.authority().map(ToString::to_string),
        "path": parts.uri.path(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    Response::new(Full::from(received.to_string()))
}

/// An application in HTTP/2 without TLS.
fn application() -> u16 {
    hyper_app::application(None, echo)
}

/// An application over TLS with these protocols, and the file with its certificate.
fn secured(protocols: &[&[u8]]) -> (u16, TempDir) {
    let (config, folder) = hyper_app::secured(protocols);
    (hyper_app::application(Some(config), echo), folder)
}

fn believing(port: u16, folder: &TempDir) -> String {
    let ca = folder.path().join("ca.pem");
    format!(
        "[upstream]\nurl = \"https://localhost:{port}\"\ntls.ca = \"{}\"",
        ca.display()
    )
}

fn values(received: &serde_json::Value, name: &str) -> Vec<String> {
    let headers = received["headers"].as_array().expect("headers");
    let named = headers.iter().filter(|header| header[0] == name);
    named
        .map(|header| header[1].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn an_application_over_http_2_receives_the_identity_headers() {
    let port = application();
    let app = TestApp::with(&format!("[upstream]\nurl = \"h2c://127.0.0.1:{port}\"")).await;
    let ann = app.user("ann").await;
    let request = TestRequest::new("POST", "/orders/7?x=1")
        .with("X-User-Id", "root")
        .with("X_User_Name", "root")
        .with("Connection", "X-User-Id")
        .body("text/plain", "hello");
    let answer = ann.send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = answer.json();
    assert_eq!(received["version"], "HTTP/2.0");
    assert_eq!(received["path"], "/orders/7");
    assert_eq!(received["body"], "hello");
    assert_eq!(values(&received, "x-user-name"), ["ann"]);
    assert!(values(&received, "x_user_name").is_empty());
    assert!(!received.to_string().contains("root"), "{received}");
    assert_eq!(app.anon().get("/orders/7").await.status, 401);
}

#[tokio::test]
async fn an_application_behind_tls_chooses_the_protocol() {
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
async fn an_application_with_an_unverified_certificate_gets_no_request() {
    let (port, folder) = secured(&[b"h2"]);
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let other = other.expect("a certificate").cert.pem();
    fs::write(folder.path().join("ca.pem"), other).expect("a file");
    let app = TestApp::with(&believing(port, &folder)).await;
    let answer = app.user("ann").await.get("/").await;
    assert_eq!(answer.refusal(), (502, "upstream_unreachable".to_owned()));
}

#[tokio::test]
async fn a_refused_grpc_call_gets_a_grpc_status() {
    let port = application();
    let app = TestApp::with(&format!("[upstream]\nurl = \"h2c://127.0.0.1:{port}\"")).await;
    let call = TestRequest::new("POST", "/orders.Orders/List")
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
    let received = answer.json();
    assert_eq!(received["body"], "ping");
    assert_eq!(values(&received, "te"), ["trailers"]);
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    let port = application();
    let app = TestApp::with(&format!(
        "[policy]\ndefault = \"public\"\n[upstream]\nurl = \"h2c://127.0.0.1:{port}\""
    ))
    .await;
    let mut connection = Connection::open(app.address).await;
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\
        Connection: close\r\n\r\nhello";
    connection.write(request).await;
    let received = connection.rest().await;
    let received = String::from_utf8_lossy(&received);
    assert!(
        received.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"),
        "{received}"
    );
    assert!(received.contains("\"body\":\"hello\""), "{received}");
}
