//! The idle limit counts from the last activity, and cookies of a browser last as long as its session
//! can.

use std::time::Duration;

use sidegate::model::session::Session;
use sidegate::types::time::Clock as _;
use tokio::time::{Instant, sleep};

use crate::support::actors::Actor;
use crate::support::answer::Answer;
use crate::support::browser::{COOKIES, app};
use crate::support::client::DEADLINE;
use crate::support::harness::{PASSWORD, TestApp};

const SHORT: &str = "[sessions]\nidle_timeout = \"1m\"\n[tokens]\naccess_ttl = \"1m\"\n";

/// A cookie with its expiry in a browser.
#[derive(Debug, Clone)]
struct Kept {
    pair: String,
    until: Duration,
}

/// A browser that drops expired cookies by its own clock.
#[derive(Debug)]
struct Browser {
    app: TestApp,
    kept: Vec<Kept>,
    at: Duration,
}

impl Browser {
    async fn log_in(app: TestApp) -> Self {
        let received = app.anon().try_login("ann", PASSWORD).await;
        assert_eq!(received.status, 200, "{}", received.text());
        let mut browser = Self {
            app,
            kept: Vec::new(),
            at: Duration::ZERO,
        };
        browser.keep(&received);
        browser
    }

    fn keep(&mut self, received: &Answer) {
        for line in received.all("set-cookie") {
            let pair = line.split(';').next().unwrap_or_default().to_owned();
            let name = pair.split('=').next().unwrap_or_default().to_owned();
            let (_, age) = line.split_once("Max-Age=").expect("an age");
            let age = age.split(';').next().unwrap_or_default();
            let age = Duration::from_secs(age.parse().expect("seconds"));
            self.kept
                .retain(|kept| !kept.pair.starts_with(&format!("{name}=")));
            let until = self.at + age;
            self.kept.push(Kept { pair, until });
        }
    }

    fn actor(&self) -> Actor {
        let alive = self.kept.iter().filter(|kept| kept.until > self.at);
        let pairs: Vec<_> = alive.map(|kept| kept.pair.as_str()).collect();
        self.app.anon().with_header("Cookie", &pairs.join("; "))
    }

    /// Opens a page at this second of the test; waits until the activity is written.
    async fn visit(&mut self, second: u64, path: &str) -> u16 {
        let at = Duration::from_secs(second);
        self.app
            .clock
            .advance(at.checked_sub(self.at).expect("a later second"));
        self.at = at;
        let received = self.actor().get(path).await;
        self.keep(&received);
        if received.status == 200 {
            noted(&self.app).await;
        }
        received.status
    }
}

/// Waits until the last request is written as the activity of the session.
async fn noted(app: &TestApp) -> Session {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let sessions = app.service().operator_sessions(None, None, 10).await;
        let sessions = sessions.expect("the sessions");
        let now = app.clock.now();
        if let Some(session) = sessions.into_iter().find(|s| s.last_active_at == now) {
            return session;
        }
        assert!(Instant::now() < deadline, "the activity was never noted");
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn b1_activity_keeps_a_browser_logged_in_and_inactivity_ends_the_session() {
    for path in ["/orders", "/auth/me"] {
        let app = app(&format!("{SHORT}{COOKIES}")).await;
        let mut browser = Browser::log_in(app).await;
        for second in [20, 40, 58] {
            assert_eq!(browser.visit(second, path).await, 200, "{path} {second}");
        }
        assert_eq!(browser.visit(75, "/orders").await, 200, "after {path}");
        assert_eq!(browser.visit(134, "/orders").await, 200, "59 s of silence");
        assert_eq!(browser.visit(195, "/orders").await, 401, "61 s of silence");
    }
}

#[tokio::test]
async fn b1_the_last_request_counts_also_shortly_after_the_one_before() {
    let app = app(&format!("{SHORT}{COOKIES}")).await;
    let mut browser = Browser::log_in(app).await;
    for second in [1, 2, 57, 59] {
        assert_eq!(browser.visit(second, "/orders").await, 200, "{second}");
    }
    assert_eq!(browser.visit(118, "/orders").await, 200);
}

#[tokio::test]
async fn b1_requests_with_access_tokens_alone_keep_a_session_active() {
    let app = app("[sessions]\nidle_timeout = \"20m\"\n").await;
    let mut ann = app.login("ann").await;
    app.clock.advance(Duration::from_secs(14 * 60));
    assert_eq!(ann.get("/orders").await.status, 200);
    noted(&app).await;
    app.clock.advance(Duration::from_secs(19 * 60));
    ann.refresh().await;
    app.clock.advance(Duration::from_secs(20 * 60 + 1));
    assert_eq!(ann.try_refresh().await.status, 401);
}

#[tokio::test]
async fn b1_activity_of_an_ordinary_session_is_written_once_a_minute() {
    // Each worker keeps its own record.
    let app = app("[server]\nthreads = 1\n").await;
    let ann = app.login("ann").await;
    app.clock.advance(Duration::from_secs(61));
    assert_eq!(ann.get("/orders").await.status, 200);
    let first = noted(&app).await.last_active_at;
    app.clock.advance(Duration::from_secs(30));
    assert_eq!(ann.get("/orders").await.status, 200);
    app.clock.advance(Duration::from_secs(31));
    assert_eq!(ann.get("/orders").await.status, 200);
    let next = noted(&app).await.last_active_at;
    assert_eq!(next.since(first), Duration::from_secs(61));
}

#[tokio::test]
async fn b1_the_refresh_cookie_lasts_as_long_as_the_session_can() {
    let app = app(COOKIES).await;
    let age = |received: &Answer| {
        let line = received.set_cookie("sidegate_refresh").to_owned();
        let (_, age) = line.split_once("Max-Age=").expect("an age");
        let age = age.split(';').next().unwrap_or_default();
        age.parse::<u64>().expect("seconds")
    };
    let received = app.anon().try_login("ann", PASSWORD).await;
    assert_eq!(age(&received), 7 * 86_400);
    app.clock.advance(Duration::from_secs(3600));
    let late = app
        .anon()
        .with_header("Cookie", &received.cookie_pair("sidegate_refresh"));
    let page = late.get("/orders").await;
    assert_eq!(age(&page), 7 * 86_400 - 3600, "and not a second longer");
    let body = serde_json::json!({"identifier": "ann", "password": PASSWORD, "remember": true});
    let received = app.anon().post("/auth/login", body).await;
    assert_eq!(age(&received), 30 * 86_400);
}
