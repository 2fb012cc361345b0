//! How fast the body of a forwarded request must come. The one test takes as long as the window is that
//! the rate is averaged over.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Connection, DEADLINE};
use crate::harness::TestApp;

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_told_so() {
    let app = TestApp::with("[policy]\ndefault = \"public\"\n").await;
    let head = "POST /a HTTP/1.1\r\nHost: app\r\nContent-Length: 100000\r\n\r\n";
    let mut slow = Connection::open(app.address).await;
    slow.write(head.as_bytes()).await;
    let deadline = Instant::now() + DEADLINE;
    while !slow.hears_within(Duration::from_millis(200)).await {
        assert!(Instant::now() < deadline, "a trickle is let pass");
        slow.write(b"x").await;
    }
    let answer = slow.answer("POST").await;
    assert_eq!(answer.verdict(), (408, "request_timeout".to_owned()));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(slow.rest().await, b"");
}
