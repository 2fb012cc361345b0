//! An idle connection drops its buffers and goes on as if nothing had happened.

use serde_json::json;
use tokio::time::Instant;

use crate::client::{Ask, Connection, DEADLINE};
use crate::harness::{PASSWORD, TestApp};
use crate::site::{Site, shake};

/// Waits until so many connections rest, as the metrics say.
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
async fn a_connection_that_rested_answers_the_next_request() {
    let app = TestApp::start().await;
    let mut connection = Connection::open(app.address).await;
    for _ in 0..2 {
        assert_eq!(connection.ask(&Ask::new("GET", "/x")).await.status, 401);
        until_resting(&app, 1).await;
    }
    // A head in two parts, the first of which ends the rest.
    connection.write(b"GET /x HTTP/1.1\r\nHo").await;
    until_resting(&app, 0).await;
    connection.write(b"st: localhost\r\n\r\n").await;
    assert_eq!(connection.answer("GET").await.status, 401);
}

#[tokio::test]
async fn a_connection_over_tls_that_rested_answers_the_next_request() {
    let site = Site::new();
    let app = TestApp::with(&site.with("", "")).await;
    let stream = shake(app.address, "app.example.org", site.client(), &["http/1.1"])
        .await
        .expect("a handshake");
    let mut connection = Connection::over(stream, "app.example.org");
    for _ in 0..2 {
        assert_eq!(connection.ask(&Ask::new("GET", "/x")).await.status, 200);
        until_resting(&app, 1).await;
    }
    assert_eq!(connection.ask(&Ask::new("GET", "/x")).await.status, 200);
}

#[tokio::test]
async fn a_client_that_closes_a_resting_connection_leaves_nothing_behind() {
    let app = TestApp::start().await;
    let mut connection = Connection::open(app.address).await;
    assert_eq!(connection.ask(&Ask::new("GET", "/x")).await.status, 401);
    until_resting(&app, 1).await;
    drop(connection);
    until_resting(&app, 0).await;
}

#[tokio::test]
async fn the_end_of_the_process_closes_a_resting_connection() {
    let app = TestApp::start().await;
    let mut connection = Connection::open(app.address).await;
    assert_eq!(connection.ask(&Ask::new("GET", "/x")).await.status, 401);
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
    let asked = kept
        .ask(&Ask::new("POST", "/auth/login").json(&login))
        .await;
    assert_eq!(asked.status, 200);
    let mut other = Connection::open(app.address).await;
    assert_eq!(other.ask(&Ask::new("GET", "/x")).await.status, 401);
    // The one that was idle for less long rests, the other one never does.
    until_resting(&app, 1).await;
    drop(other);
    until_resting(&app, 0).await;
    assert_eq!(kept.ask(&Ask::new("GET", "/x")).await.status, 401);
    until_resting(&app, 1).await;
}
