//! The walk through a session's life, as a story.

use crate::harness::TestApp;

#[tokio::test]
async fn a_signed_in_request_reaches_the_upstream_and_a_stranger_does_not() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    assert_eq!(ann.get("/orders/7").await.status, 200);
    let refused = app.anon().get("/orders/7").await;
    assert_eq!(refused.verdict(), (401, "missing_token".to_owned()));
    assert_eq!(app.upstream.count(), 1);
}
