//! An idle connection releases its buffers and still serves the next request.

use serde_json::json;
use tokio::time::Instant;

use crate::support::certificates::{Site, tls_connect};
use crate::support::client::{Connection, DEADLINE, TestRequest};
use crate::support::harness::{PASSWORD, TestApp};

/// Waits until this many connections are idle without buffers, by the metrics.
async fn until_resting(app: &TestApp, count: u64) {
    let line = format!("sidegate_connections_resting {count}");
    let deadline = Instant::now() + DEADLINE;
    loop {
        let page = app.admin_get("/metrics").await.text();
        if page.lines().any(|known| known == line) {
            return;
        }
        assert!(page.contains("sidegate_connections_resting "), "{page}");
        assert!(Instant::now() < deadline, "not in time: {page}");
    }
}

#[tokio::test]
async fn an_idle_connection_serves_the_next_request() {
    let app = TestApp::start().await;
    let mut connection = Connection::open(app.address).await;
    for _ in 0..2 {
        assert_eq!(connection.get("/x").await.status, 401);
        until_resting(&app, 1).await;
    }
    // A head in two parts; the first one ends the idle state.
    connection.write(b"GET /x HTTP/1.1\r\nHo").await;
    until_resting(&app, 0).await;
    connection.write(b"st: localhost\r\n\r\n").await;
    assert_eq!(connection.answer("GET").await.status, 401);
}

#[tokio::test]
async fn an_idle_connection_over_tls_serves_the_next_request() {
    let site = Site::new();
    let app = TestApp::with(&site.with("", "")).await;
    let stream = tls_connect(app.address, "app.example.org", site.client(), &["http/1.1"])
        .await
        .expect("a handshake");
    let mut connection = Connection::over(stream, "app.example.org");
    for _ in 0..2 {
        assert_eq!(connection.get("/x").await.status, 200);
        until_resting(&app, 1).await;
    }
    assert_eq!(connection.get("/x").await.status, 200);
}

#[tokio::test]
async fn an_idle_connection_closed_by_its_client_is_released() {
    let app = TestApp::start().await;
    let mut connection = Connection::open(app.address).await;
    assert_eq!(connection.get("/x").await.status, 401);
    until_resting(&app, 1).await;
    drop(connection);
    until_resting(&app, 0).await;
}

#[tokio::test]
async fn a_stop_closes_an_idle_connection() {
    let app = TestApp::start().await;
    let mut connection = Connection::open(app.address).await;
    assert_eq!(connection.get("/x").await.status, 401);
    until_resting(&app, 1).await;
    app.running().stop();
    assert_eq!(connection.rest().await, b"");
    app.stop().await;
}

/// After a body hyper may expect more of the same request, so its state is kept.
#[tokio::test]
async fn a_connection_whose_last_request_had_a_body_keeps_its_state() {
    let app = TestApp::start().await;
    app.account("ann", &["user"]).await;
    let mut kept = Connection::open(app.address).await;
    let login = json!({"identifier": "ann", "password": PASSWORD});
    let answer = kept
        .request(&TestRequest::new("POST", "/auth/login").json(&login))
        .await;
    assert_eq!(answer.status, 200);
    let mut other = Connection::open(app.address).await;
    assert_eq!(other.get("/x").await.status, 401);
    // The connection that was idle more recently becomes idle, the other one never does.
    until_resting(&app, 1).await;
    drop(other);
    until_resting(&app, 0).await;
    assert_eq!(kept.get("/x").await.status, 401);
    until_resting(&app, 1).await;
}
