//! The idle limit counts from activity, and what browsers keep lives as long as the session can.

use std::time::Duration;

use sidegate::model::session::Session;
use sidegate::types::time::Clock as _;
use tokio::time::{Instant, sleep};

use crate::actors::Actor;
use crate::browser::{COOKIES, app};
use crate::client::{Answer, DEADLINE};
use crate::harness::{PASSWORD, TestApp};

const SHORT: &str = "[sessions]\nidle_timeout = \"1m\"\n[tokens]\naccess_ttl = \"1m\"\n";

/// A cookie as a browser keeps it.
#[derive(Debug, Clone)]
struct Kept {
    pair: String,
    until: Duration,
}

/// A browser that drops what is over by its own clock.
#[derive(Debug)]
struct Browser {
    app: TestApp,
    kept: Vec<Kept>,
    at: Duration,
}

impl Browser {
    async fn log_in(app: TestApp) -> Self {
        let told = app.anon().try_login("ann", PASSWORD).await;
        assert_eq!(told.status, 200, "{}", told.text());
        let mut browser = Self {
            app,
            kept: Vec::new(),
            at: Duration::ZERO,
        };
        browser.keep(&told);
        browser
    }

    fn keep(&mut self, told: &Answer) {
        for line in told.all("set-cookie") {
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

    /// Opens a page at this second of the story; waits until the visit is noted.
    async fn visit(&mut self, second: u64, path: &str) -> u16 {
        let at = Duration::from_secs(second);
        self.app
            .clock
            .advance(at.checked_sub(self.at).expect("a later second"));
        self.at = at;
        let told = self.actor().get(path).await;
        self.keep(&told);
        if told.status == 200 {
            noted(&self.app).await;
        }
        told.status
    }
}

/// Waits until what was done just now is noted as the session's activity.
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
async fn b1_activity_keeps_a_browser_logged_in_and_silence_ends_it() {
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
async fn b1_the_last_visit_counts_however_close_it_followed_the_one_before() {
    let app = app(&format!("{SHORT}{COOKIES}")).await;
    let mut browser = Browser::log_in(app).await;
    for second in [1, 2, 57, 59] {
        assert_eq!(browser.visit(second, "/orders").await, 200, "{second}");
    }
    assert_eq!(browser.visit(118, "/orders").await, 200);
}

#[tokio::test]
async fn b1_a_session_that_only_shows_access_tokens_is_kept_by_them() {
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
async fn b1_activity_of_an_ordinary_session_is_noted_once_a_minute() {
    // Each worker counts for itself.
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
async fn b1_the_refresh_cookie_lives_as_long_as_the_session_can() {
    let app = app(COOKIES).await;
    let age = |told: &Answer| {
        let line = told.set_cookie("sidegate_refresh").to_owned();
        let (_, age) = line.split_once("Max-Age=").expect("an age");
        let age = age.split(';').next().unwrap_or_default();
        age.parse::<u64>().expect("seconds")
    };
    let told = app.anon().try_login("ann", PASSWORD).await;
    assert_eq!(age(&told), 7 * 86_400);
    app.clock.advance(Duration::from_secs(3600));
    let late = app
        .anon()
        .with_header("Cookie", &told.cookie_pair("sidegate_refresh"));
    let page = late.get("/orders").await;
    assert_eq!(age(&page), 7 * 86_400 - 3600, "and not a second longer");
    let body = serde_json::json!({"identifier": "ann", "password": PASSWORD, "remember": true});
    let told = app.anon().post("/auth/login", body).await;
    assert_eq!(age(&told), 30 * 86_400);
}
