//! Slow clients: partial heads, pauses between requests, requests in a row.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::client::{Connection, send_until_answered};
use crate::support::harness::TestApp;

const QUICK: &str = "[policy]\ndefault = \"public\"\n[server]\nheader_timeout = \"1s\"\n";

#[tokio::test]
async fn s10_a_partial_second_request_has_the_same_timeout_as_the_first() {
    let app = TestApp::with(QUICK).await;
    let whole = "GET /a HTTP/1.1\r\nHost: app\r\n\r\n";
    let chunked =
        "POST /a HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    for first in [whole, chunked] {
        let bytes = format!("{first}GET /b HTTP/1.1\r\nHo").into_bytes();
        let mut connection = send_until_answered(|| Connection::open(app.address), &bytes).await;
        assert_eq!(connection.answer("GET").await.status, 200);
        let began = Instant::now();
        connection.rest().await;
        assert!(began.elapsed() < Duration::from_secs(30), "{first}");
    }
}

#[tokio::test]
async fn requests_in_a_row_are_answered_one_by_one_and_the_connection_is_kept() {
    let app = TestApp::with(QUICK).await;
    let request = "GET /a HTTP/1.1\r\nHost: app\r\n\r\n";
    let five = request.repeat(5);
    let mut connection =
        send_until_answered(|| Connection::open(app.address), five.as_bytes()).await;
    for _ in 0..5 {
        assert_eq!(connection.answer("GET").await.status, 200);
    }
    // Longer than the header timeout: the connection is between two requests, not within one.
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    connection.write(request.as_bytes()).await;
    assert_eq!(connection.answer("GET").await.status, 200);
}

#[tokio::test]
async fn a_malformed_head_has_a_line_in_the_access_log() {
    let app = TestApp::start().await;
    app.raw(b"GET /a HTTP/1.1\r\nBad Header: x\r\n\r\n").await;
    let long = format!("GET /a HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    app.raw(long.as_bytes()).await;
    let log = app.access_log(|log| log.lines().count() >= 2).await;
    assert!(log.contains(" 400 ") && log.contains(" 431 "), "{log}");
}
