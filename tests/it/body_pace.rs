//! How fast the body of a forwarded request must come. The one test takes as long as the window is that
//! the rate is averaged over.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Answer, Connection, DEADLINE};
use crate::harness::TestApp;

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_told_so() {
    let app = TestApp::with("[policy]\ndefault = \"public\"\n").await;
    // Over HTTP/1.1 a content type makes no call of gRPC, which might be quiet.
    let grpc = trickle(&app, "Content-Type: application/grpc\r\n");
    let (plain, grpc) = tokio::join!(trickle(&app, ""), grpc);
    assert_eq!(plain.verdict(), (408, "request_timeout".to_owned()));
    assert_eq!(plain.header("connection"), Some("close"));
    assert_eq!(grpc.header("grpc-status"), Some("4"));
}

/// What a client is told in the end that sends five bytes a second.
async fn trickle(app: &TestApp, lines: &str) -> Answer {
    let head = format!("POST /a HTTP/1.1\r\nHost: app\r\n{lines}Content-Length: 100000\r\n\r\n");
    let mut slow = Connection::open(app.address).await;
    slow.write(head.as_bytes()).await;
    let deadline = Instant::now() + DEADLINE;
    while !slow.hears_within(Duration::from_millis(200)).await {
        assert!(Instant::now() < deadline, "a trickle is let pass");
        slow.write(b"x").await;
    }
    let answer = slow.answer("POST").await;
    assert_eq!(slow.rest().await, b"");
    answer
}
