//! Applications that speak HTTP/2 or TLS, behind the whole product.

use std::fs;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::json;
use tempfile::TempDir;

use crate::client::{Ask, Connection};
use crate::harness::TestApp;
use crate::served;

/// Says in JSON what it was asked.
async fn echo(request: Request<Incoming>) -> Response<Full<Bytes>> {
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
    Response::new(Full::from(told.to_string()))
}

/// One in HTTP/2 without TLS.
fn application() -> u16 {
    served::application(None, echo)
}

/// An application over TLS that speaks this, and the file with the certificate to believe.
fn secured(protocols: &[&[u8]]) -> (u16, TempDir) {
    let (config, folder) = served::secured(protocols);
    (served::application(Some(config), echo), folder)
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
    let port = application();
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
    let port = application();
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
    let port = application();
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
