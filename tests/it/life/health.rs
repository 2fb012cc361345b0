//! Health, readiness and metrics are on the admin port only; the public port shows none of them.

use tokio::time::Instant;

use crate::support::client::{DEADLINE, TestRequest};
use crate::support::harness::TestApp;

#[tokio::test]
async fn s55_health_and_metrics_are_on_the_admin_port_only() {
    let app = TestApp::start().await;
    for (path, words) in [
        ("/livez", "alive"),
        ("/startupz", "started"),
        ("/readyz", "ready"),
        ("/metrics", "# EOF"),
    ] {
        let answer = app.admin_get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
        assert_eq!(app.anon().get(path).await.status, 401, "{path} in public");
        let post = TestRequest::new("POST", path).send(app.admin).await;
        assert_eq!(
            (post.status, post.header("allow")),
            (405, Some("GET, HEAD"))
        );
    }
    for path in [
        "/",
        "/auth/login",
        "/auth/health",
        "/x",
        "/metrics/",
        "/../metrics",
    ] {
        assert_eq!(app.admin_get(path).await.status, 404, "{path}");
    }
    assert_eq!(app.upstream.count(), 0);
}

#[tokio::test]
async fn s55_the_public_port_shows_no_health_and_no_metrics() {
    let app = TestApp::start().await;
    let answer = app.anon().get("/auth/health").await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, r#"{"status":"ok"}"#)
    );
    for header in ["server", "x-powered-by", "via"] {
        assert_eq!(answer.header(header), None);
    }
}

#[tokio::test]
async fn s50_requests_and_refusals_are_counted() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    ann.get("/x").await;
    app.anon().get("/x").await;
    app.anon().get("/a/../x").await;
    let garbage = app.raw(b"GET /x HTTP/1.1\r\nno colon\r\n\r\n").await;
    assert!(garbage.starts_with(b"HTTP/1.1 400 "));
    let expected = [
        "sidegate_requests_total{route=\"upstream\",status=\"2xx\"} 1\n",
        "missing_token\"} 1\n",
        "bad_request\"} 2\n",
    ];
    let deadline = Instant::now() + DEADLINE;
    loop {
        let page = app.admin_get("/metrics").await.text();
        assert!(page.ends_with("# EOF\n"));
        // Requests that hyper refuses are counted after their answer is sent.
        if expected.iter().all(|line| page.contains(line)) {
            return;
        }
        assert!(Instant::now() < deadline, "not in time: {page}");
    }
}
