//! Several cookies of one name: `cookies.domain` was changed, or a neighbouring host set one.

use std::time::Duration;

use crate::support::actors::Actor;
use crate::support::answer::Answer;
use crate::support::browser::{Browser, COOKIES, HTTPS, app};
use crate::support::harness::{PASSWORD, TestApp};
use crate::support::program::{self, Program};

const LATER: Duration = Duration::from_secs(3600);
const HOST: &str = "app.example.org";

/// A browser that sends these cookies from a page of the site.
fn holding(app: &TestApp, cookies: &str) -> Actor {
    let browser = app.anon().with_header("Cookie", cookies);
    browser.with_header("Sec-Fetch-Site", "same-origin")
}

fn pair(received: &Answer, name: &str) -> String {
    received.cookie_pair(&format!("sidegate_{name}"))
}

#[tokio::test]
async fn b12_the_access_cookie_that_verifies_is_used() {
    let app = app(COOKIES).await;
    let received = Browser::log_in(&app).await.received;
    let good = pair(&received, "access");
    let ended = {
        let other = Browser::log_in(&app).await;
        let own = other.actor.with_header("Sec-Fetch-Site", "same-origin");
        assert_eq!(own.post_empty("/auth/logout").await.status, 204);
        pair(&other.received, "access")
    };
    for planted in [
        "sidegate_access=x",
        "sidegate_access=",
        "sidegate_access",
        "sidegate_access=\"x y\"",
        &ended,
        &format!("{good}x"),
        &format!("sidegate_access=a; sidegate_access=b; {ended}"),
        &good,
    ] {
        for cookies in [
            format!("{planted}; {good}"),
            format!("{good}; a=1; {planted}"),
        ] {
            let browser = holding(&app, &cookies);
            for path in ["/orders", "/auth/me", "/auth/sessions"] {
                let answer = browser.get(path).await;
                assert_eq!(answer.status, 200, "{path} {cookies}: {}", answer.text());
                assert!(!answer.text().contains("sidegate_access"), "{cookies}");
            }
        }
    }
    let five = format!(
        "{good}; sidegate_access=1; sidegate_access=2; sidegate_access=3; sidegate_access=4"
    );
    let answer = holding(&app, &five).get("/orders").await;
    assert_eq!(answer.refusal(), (401, "invalid_token".into()));
}

#[tokio::test]
async fn b12_a_bearer_token_is_used_beside_an_expired_cookie() {
    let app = app(COOKIES).await;
    let browser = Browser::log_in(&app).await;
    let program = app.anon().with_access(&browser.access);
    let beside = program.with_header("Cookie", "sidegate_access=x");
    assert_eq!(beside.get("/orders").await.status, 200);
    // An invalid bearer token is refused even so: a program sends it on purpose.
    let wrong = browser.actor.with_access("x.y.z");
    assert_eq!(
        wrong.get("/orders").await.refusal(),
        (401, "invalid_token".into())
    );
}

#[tokio::test]
async fn b12_copies_that_name_different_sessions_are_refused_until_the_next_log_in() {
    let app = app(COOKIES).await;
    let (one, two) = (Browser::log_in(&app).await, Browser::log_in(&app).await);
    let cookies = format!(
        "{}; {}",
        pair(&one.received, "access"),
        pair(&two.received, "access")
    );
    let both = holding(&app, &cookies);
    let refused = both.get("/orders").await;
    assert_eq!(refused.refusal(), (400, "two_credentials".into()));
    let cookies = format!(
        "{cookies}; {}; {}",
        pair(&one.received, "refresh"),
        pair(&two.received, "refresh")
    );
    let both = holding(&app, &cookies);
    let refused = both.post_empty("/auth/refresh").await;
    assert_eq!(refused.refusal(), (401, "invalid_refresh_token".into()));
    assert_eq!(both.post_empty("/auth/logout").await.status, 204);
    for browser in [one, two] {
        let after = browser.actor.get("/orders").await;
        assert_eq!(after.refusal(), (401, "session_ended".into()));
    }
}

#[tokio::test]
async fn b12_the_refresh_cookie_that_verifies_is_used_and_the_newest_of_one_session() {
    let app = app(COOKIES).await;
    let received = Browser::log_in(&app).await.received;
    let first = pair(&received, "refresh");
    let second = {
        let refreshed = holding(&app, &first).post_empty("/auth/refresh").await;
        pair(&refreshed, "refresh")
    };
    // After the grace the first one alone would count as stolen.
    app.clock.advance(LATER);
    let both = format!("{first}; {second}; sidegate_refresh=x");
    let page = holding(&app, &both).get("/orders").await;
    assert_eq!(page.status, 200, "{}", page.text());
    let third = pair(&page, "refresh");
    let both = format!("{second}; sidegate_refresh=; {third}");
    let refreshed = holding(&app, &both).post_empty("/auth/refresh").await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
}

#[tokio::test]
async fn b12_a_planted_access_cookie_does_not_stop_the_renewal() {
    let app = app(COOKIES).await;
    let received = Browser::log_in(&app).await.received;
    app.clock.advance(LATER);
    for planted in ["sidegate_access=x", "sidegate_access="] {
        let cookies = format!("{planted}; {}", pair(&received, "refresh"));
        let page = holding(&app, &cookies).get("/orders").await;
        assert_eq!(page.status, 200, "{planted}: {}", page.text());
    }
}

#[tokio::test]
async fn b12_a_log_in_and_a_log_out_remove_every_copy_they_can_reach() {
    let app = app(COOKIES).await;
    let planted = "sidegate_access=x; sidegate_refresh=y; __Host-sidegate_device=z";
    let browser = holding(&app, planted).with_header("Host", HOST);
    let received = browser.try_login("ann", PASSWORD).await;
    let removed = |received: &Answer| -> Vec<String> {
        let lines = received.all("set-cookie");
        let lines = lines.iter().filter(|line| line.contains("; Max-Age=0;"));
        lines
            .map(|line| {
                let name = line.split('=').next().unwrap_or_default();
                let domain = line.split_once("Domain=").map_or("", |(_, domain)| domain);
                format!("{name}@{domain}")
            })
            .collect()
    };
    assert_eq!(
        removed(&received),
        [
            "sidegate_access@app.example.org",
            "sidegate_access@example.org",
            "sidegate_refresh@app.example.org",
            "sidegate_refresh@example.org",
            "__Host-sidegate_device@"
        ]
    );
    let set = received.all("set-cookie");
    let first_set = set.iter().position(|line| !line.contains("; Max-Age=0;"));
    assert_eq!(first_set, Some(5), "removals precede the new cookie");
    assert_eq!(set.len(), 8);
    let cookies = format!("{planted}; {}", pair_last(&received, "access"));
    let browser = holding(&app, &cookies).with_header("Host", HOST);
    assert_eq!(browser.get("/orders").await.status, 200);
    let received = browser.post_empty("/auth/logout").await;
    assert_eq!(received.status, 204);
    assert_eq!(
        removed(&received),
        [
            "sidegate_access@app.example.org",
            "sidegate_access@example.org",
            "sidegate_access@",
            "sidegate_refresh@app.example.org",
            "sidegate_refresh@example.org",
            "sidegate_refresh@"
        ]
    );
    assert_eq!(browser.get("/orders").await.status, 401);
}

/// The cookie that is set, after the lines that remove copies.
fn pair_last(received: &Answer, name: &str) -> String {
    let begin = format!("sidegate_{name}=");
    let lines = received.all("set-cookie");
    let line = lines.iter().rfind(|line| line.starts_with(&begin));
    let line = line.expect("the cookie");
    line.split(';').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn s15_no_spelling_of_a_sidegate_cookie_reaches_the_application() {
    for extra in [COOKIES.to_owned(), format!("{HTTPS}{COOKIES}")] {
        let app = app(&extra).await;
        let browser = Browser::log_in(&app).await;
        let both = ["access", "refresh", "device"]
            .map(|name| format!("sidegate_{name}=1; __Host-sidegate_{name}=2; a=1"))
            .join("; ");
        let cookies = format!("{}; {both}", browser.cookies);
        let answer = holding(&app, &cookies).get("/orders").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains("sidegate_"), "{}", answer.text());
        assert!(answer.text().contains("a=1; a=1; a=1"), "{}", answer.text());
    }
}

#[tokio::test]
async fn b12_the_device_cookie_known_to_the_account_is_used() {
    let app = app(&format!("[login]\nmax_failures = 2\n{COOKIES}")).await;
    app.account("bob", &["user"]).await;
    let device = pair(&app.anon().try_login("ann", PASSWORD).await, "device");
    let bobs = pair(&app.anon().try_login("bob", PASSWORD).await, "device");
    for _ in 0..2 {
        app.anon().try_login("ann", "not the password").await;
    }
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 401);
    for planted in ["sidegate_device=x", "sidegate_device=", &bobs] {
        for cookies in [
            format!("{planted}; {device}"),
            format!("{device}; {planted}"),
        ] {
            let received = holding(&app, &cookies).try_login("ann", PASSWORD).await;
            assert_eq!(received.status, 200, "{cookies}: {}", received.text());
            assert_eq!(pair_last(&received, "device"), device, "{cookies}");
            for _ in 0..2 {
                app.anon().try_login("ann", "not the password").await;
            }
        }
    }
    let received = holding(&app, &format!("{bobs}; sidegate_device=x"))
        .try_login("ann", PASSWORD)
        .await;
    assert_eq!(
        received.status, 401,
        "the device of another user passes no lock"
    );
}

#[tokio::test]
async fn b12_the_log_names_the_cause_of_copies_once() {
    let program = Program::with_ann();
    program.configure(COOKIES);
    let server = program.serve().await;
    let received = server.anon().try_login("ann", program::PASSWORD).await;
    assert_eq!(received.status, 200, "{}", received.text());
    let cause = "several cookies of one name";
    let one = server
        .anon()
        .with_header("Cookie", &pair(&received, "access"));
    assert_eq!(one.get("/orders").await.status, 200);
    assert!(!server.log().contains(cause), "one is no reason");
    let refresh = pair(&received, "refresh");
    for _ in 0..3 {
        for cookies in [
            format!("{}; sidegate_access=x", pair(&received, "access")),
            format!("sidegate_access=y; {refresh}; sidegate_refresh=x"),
        ] {
            let several = server.anon().with_header("Cookie", &cookies);
            several.get("/orders").await;
        }
    }
    server.signal("TERM");
    let line = server.logged(cause).await;
    assert!(
        line.contains("sidegate_access") && line.contains("cookies.domain"),
        "{line}"
    );
    server.logged("stopped").await;
    assert_eq!(server.log().matches(cause).count(), 1, "{}", server.log());
}
