//! A stop: readiness fails first, requests in progress are finished, and acknowledged writes are stored.

use sidegate::net::Phase;
use tokio::time::Instant;

use crate::support::client::{Connection, DEADLINE, TestRequest};
use crate::support::harness::TestApp;
use crate::support::scripted::{ManualApp, public_upstream};
use crate::support::sockets::Sockets;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_drain_fails_readiness_before_the_listener_is_closed() {
    let app = TestApp::with("[server]\ndrain_delay = \"10m\"\n").await;
    let ann = app.user("ann").await;
    let mut kept = Connection::open(app.address).await;
    assert_eq!(
        kept.request(&ann.with_credentials(TestRequest::new("GET", "/x")))
            .await
            .status,
        200
    );
    app.running().stop();
    let (status, body) = {
        let answer = app.admin_get("/readyz").await;
        (answer.status, answer.text())
    };
    assert_eq!(status, 503);
    assert!(body.contains("draining"), "{body}");
    assert_eq!(app.admin_get("/livez").await.status, 200);
    // An idle connection is closed; a new one is served once and then closed.
    assert_eq!(kept.rest().await, b"");
    let request = ann.with_credentials(TestRequest::new("GET", "/x"));
    for _ in 0..20 {
        let answer = request.send_in_time(app.address).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection"), Some("close"));
    }
    let listener = Sockets::at(app.address);
    app.running().lifecycle().advance(Phase::Closing);
    listener.closes().await;
    app.stop().await;
}

/// A request that the application has received and not answered.
async fn with_waiting_request(drain_timeout: &str) -> (TestApp, ManualApp, Connection) {
    let upstream = ManualApp::start();
    let app = TestApp::with(&format!(
        "[server]\ndrain_timeout = \"{drain_timeout}\"\n{}",
        public_upstream(upstream.address)
    ))
    .await;
    let mut waiting = Connection::open(app.address).await;
    waiting
        .write(b"GET /slow HTTP/1.1\r\nHost: app\r\n\r\n")
        .await;
    upstream.next_request().await;
    (app, upstream, waiting)
}

#[tokio::test]
async fn a_request_in_progress_finishes_after_the_listener_is_closed() {
    let (app, upstream, mut waiting) = with_waiting_request("10m").await;
    let listener = Sockets::at(app.address);
    app.running().stop();
    listener.closes().await;
    assert_eq!(app.admin_get("/readyz").await.status, 503);
    upstream.answer(ANSWER);
    let answer = waiting.answer("GET").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(waiting.rest().await, b"");
    app.stop().await;
}

#[tokio::test]
async fn a_request_that_exceeds_the_drain_timeout_is_cut() {
    let (app, _upstream, waiting) = with_waiting_request("50ms").await;
    app.stop().await;
    assert_eq!(waiting.rest().await, b"", "cut, not answered");
}

#[tokio::test]
async fn a_request_being_read_when_the_stop_begins_is_answered() {
    let app =
        TestApp::with("[server]\ndrain_delay = \"10m\"\n[policy]\ndefault = \"public\"\n").await;
    let mut connection = Connection::open(app.address).await;
    connection
        .write(b"GET /x HTTP/1.1\r\nHost: app\r\nX-Half: ")
        .await;
    until_open(&app, 1).await;
    app.running().stop();
    connection.write(b"1\r\n\r\n").await;
    let answer = connection.answer("GET").await;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
}

/// Waits until this many connections are open, by the metrics.
async fn until_open(app: &TestApp, count: u64) {
    let line = format!("sidegate_connections {count}");
    let deadline = Instant::now() + DEADLINE;
    loop {
        let page = app.admin_get("/metrics").await.text();
        if page.lines().any(|known| known == line) {
            return;
        }
        assert!(page.contains("sidegate_connections "), "{page}");
        assert!(Instant::now() < deadline, "not in time: {page}");
    }
}

#[tokio::test]
async fn a_stop_loses_no_acknowledged_write() {
    let folder = tempfile::tempdir().unwrap();
    let app = TestApp::on_disk(folder.path(), "").await;
    let ann = app.user("ann").await;
    let bob = app.user("bob").await;
    assert_eq!(bob.logout().await.status, 204);
    let clock = app.clock.clone();
    app.stop().await;
    let app = TestApp::try_on_disk(folder.path(), "", &clock)
        .await
        .unwrap();
    let (ann, bob) = (ann.at(&app), bob.at(&app));
    assert_eq!(ann.get("/x").await.status, 200);
    assert_eq!(ann.try_refresh().await.status, 200);
    assert_eq!(bob.get("/x").await.code(), "session_ended");
    assert_eq!(bob.try_refresh().await.status, 401);
    let records = app.audit(|records| records.len() >= 5).await;
    let ends = records
        .iter()
        .filter(|record| record.action.as_str() == "session_end");
    assert_eq!(ends.count(), 1);
}
