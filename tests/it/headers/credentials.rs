//! Credentials are not forwarded to the application, and a request with two credentials is refused.

use super::RULES;
use crate::support::harness::TestApp;
use crate::support::received::{one, seen};

#[tokio::test]
async fn s15_credentials_are_not_forwarded() {
    let app = TestApp::with(RULES).await;
    let ann = app.user("ann").await;
    let cookies = format!(
        "a=1; sidegate_access={}; b=2; sidegate_refresh=r; sidegate_device=d; c",
        ann.access
    );
    let asking = ann
        .with_header("Cookie", &cookies)
        .with_header("Proxy-Authorization", "Basic x");
    let received = seen(&asking.get("/x").await);
    assert_eq!(one(&received, "COOKIE"), Some("a=1; b=2; c"));
    assert_eq!(one(&received, "AUTHORIZATION"), None);
    assert_eq!(one(&received, "PROXY_AUTHORIZATION"), None);
    let only_ours = app
        .anon()
        .with_header("Cookie", &format!("sidegate_access={}", ann.access));
    let received = seen(&only_ours.get("/x").await);
    assert_eq!(
        (one(&received, "COOKIE"), one(&received, "X_USER_NAME")),
        (None, Some("ann"))
    );
    let heads = app.upstream.take_heads();
    let heads = String::from_utf8_lossy(&heads.concat()).into_owned();
    assert!(
        !heads.contains(&ann.access),
        "a token reached the application"
    );
}

#[tokio::test]
async fn s15_authorization_is_forwarded_when_it_is_configured() {
    let app = TestApp::with(&format!("[headers]\npass_authorization = true\n{RULES}")).await;
    let ann = app.user("ann").await;
    let received = seen(&ann.get("/x").await);
    assert_eq!(
        one(&received, "AUTHORIZATION"),
        Some(format!("Bearer {}", ann.access).as_str())
    );
    let basic = app.anon().with_header("Authorization", "Basic YTpi");
    let received = seen(&basic.get("/public/x").await);
    assert_eq!(one(&received, "AUTHORIZATION"), Some("Basic YTpi"));
}

#[tokio::test]
async fn s21_two_credentials_in_one_request_are_refused() {
    let app = TestApp::with(RULES).await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let cookie = |token: &str| format!("sidegate_access={token}");
    for (two, code) in [
        (
            ann.with_header("Authorization", "Basic YTpi"),
            "two_credentials",
        ),
        (
            ann.with_header("Authorization", &format!("Bearer {}", ann.access)),
            "two_credentials",
        ),
        (
            ann.with_header("Cookie", &cookie(&bob.access)),
            "two_credentials",
        ),
        (
            ann.with_header("Cookie", &format!("x=y; {}", cookie(&bob.access))),
            "two_credentials",
        ),
    ] {
        for path in ["/x", "/optional/x"] {
            let answer = two.get(path).await;
            assert!(matches!(answer.status, 400 | 401), "{}", answer.status);
            assert_eq!(answer.code(), code, "{path}");
        }
    }
    for same in [
        cookie(&ann.access),
        format!("{0}; {0}", cookie(&ann.access)),
        "sidegate_access=".to_owned(),
    ] {
        let answer = ann.with_header("Cookie", &same).get("/x").await;
        assert_eq!(answer.status, 200, "one session is one credential: {same}");
    }
    assert_eq!(app.upstream.count(), 3);
}
