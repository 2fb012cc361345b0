//! Checks and the session: log-out, renewal, activity and the log.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::original::{OriginalRequest, identity, trusting};
use crate::support::client::{DEADLINE, TestRequest};
use crate::support::harness::PASSWORD;

#[tokio::test]
async fn a_log_out_applies_to_the_next_check() {
    let app = trusting("").await;
    let ann = app.user("ann").await;
    let held = OriginalRequest::new("GET", "/orders").by(&ann);
    for request in held.every_way() {
        assert_eq!(request.send(app.address).await.status, 200);
    }
    assert_eq!(ann.logout().await.status, 204);
    for target in ["/orders", "/maybe/x", "/admin/x"] {
        for request in OriginalRequest::new("GET", target).by(&ann).every_way() {
            let answer = request.send(app.address).await;
            assert_eq!(
                answer.refusal(),
                (401, "session_ended".into()),
                "{request:?}"
            );
            assert_eq!(identity(&answer), BTreeMap::new());
        }
    }
}

#[tokio::test]
async fn a_check_renews_cookies_only_where_the_gateway_carries_them() {
    let mount = "[[mount]]\nprefix = \"/auth\"\ndelivery = \"cookies\"\n";
    for renews in [false, true] {
        let app = trusting(&format!("{mount}verify_renews = {renews}\n")).await;
        app.account("ann", &["user"]).await;
        let received = app.anon().try_login("ann", PASSWORD).await;
        app.clock.advance(Duration::from_secs(3600));
        let cookies = [
            received.cookie_pair("sidegate_access"),
            received.cookie_pair("sidegate_refresh"),
        ];
        let mut held = OriginalRequest::new("GET", "/orders");
        held.credential = Some(("Cookie".to_owned(), cookies.join("; ")));
        for request in held.every_way() {
            let answer = request.send(app.address).await;
            if !renews {
                assert_eq!(answer.refusal(), (401, "token_expired".into()));
                assert!(answer.all("set-cookie").is_empty());
                continue;
            }
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("x-user-name"), Some("ann"));
            let fresh = answer.cookie_pair("sidegate_access");
            assert_ne!(fresh, cookies[0]);
            assert_ne!(answer.cookie_pair("sidegate_refresh"), cookies[1]);
            let mut next = OriginalRequest::new("GET", "/orders");
            next.credential = Some(("Cookie".to_owned(), fresh));
            assert_eq!(next.original().send(app.address).await.status, 200);
        }
        // Without a renewal no refresh token is used up.
        let refresh = TestRequest::new("POST", "/auth/refresh")
            .with("Cookie", &cookies[1])
            .with("Sec-Fetch-Site", "same-origin");
        assert_eq!(refresh.send(app.address).await.status, 200);
    }
}

#[tokio::test]
async fn the_log_names_the_original_request() {
    let app = trusting("").await;
    let ann = app.user("ann").await;
    OriginalRequest::new("DELETE", "/orders/7?secret=1")
        .by(&ann)
        .forwarded()
        .send(app.address)
        .await;
    let anonymous = OriginalRequest::new("POST", "/orders/8?secret=2").path();
    anonymous.send(app.address).await;
    let both = |log: &str| log.contains("/orders/7") && log.contains("/orders/8");
    let log = app.access_log(both).await;
    let line = |path: &str| log.lines().find(|line| line.contains(path)).unwrap();
    let passed = line("/orders/7");
    assert!(passed.contains(" DELETE /orders/7 200 "), "{passed}");
    assert!(
        passed.contains(" 203.0.113.7 "),
        "the client, not the gateway: {passed}"
    );
    assert!(
        passed.contains(&format!("session={}", ann.session)),
        "{passed}"
    );
    let refused = line("/orders/8");
    assert!(refused.contains(" POST /orders/8 401 "), "{refused}");
    assert!(refused.contains("missing_token"), "{refused}");
    assert!(!log.contains("secret"), "{log}");
}

#[tokio::test]
async fn a_check_counts_as_activity_of_the_session() {
    let app = trusting("[sessions]\nidle_timeout = \"10m\"\n").await;
    let mut ann = app.user("ann").await;
    app.clock.advance(Duration::from_secs(9 * 60));
    let held = OriginalRequest::new("GET", "/orders").by(&ann);
    assert_eq!(held.forwarded().send(app.address).await.status, 200);
    // Activity is written in the background.
    let deadline = Instant::now() + DEADLINE;
    let now = "2027-01-15T08:09:00.000Z";
    while ann.get("/auth/me").await.json()["session"]["lastActiveAt"] != now {
        assert!(Instant::now() < deadline, "the activity was never noted");
    }
    app.clock.advance(Duration::from_secs(9 * 60));
    ann.refresh().await;
}
