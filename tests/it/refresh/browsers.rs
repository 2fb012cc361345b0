//! A browser with an expired access cookie is refreshed during its request.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::answer::Answer;
use crate::support::client::{DEADLINE, TestRequest};
use crate::support::harness::{PASSWORD, TestApp, set_roles};

const COOKIES: &str = "[[mount]]\nprefix = \"/auth\"\ndelivery = \"cookies\"\n";
const HYBRID: &str = "[[mount]]\nprefix = \"/auth\"\ndelivery = \"hybrid\"\n";

/// Longer than the lifetime of an access token, shorter than a session.
const LATER: Duration = Duration::from_secs(3600);

async fn logged_in(app: &TestApp) -> Answer {
    let received = app.anon().try_login("ann", PASSWORD).await;
    assert_eq!(received.status, 200, "{}", received.text());
    received
}

async fn app(extra: &str) -> TestApp {
    let app = TestApp::with(extra).await;
    app.account("ann", &["user"]).await;
    app
}

/// A request of a browser with the refresh cookie and no access cookie.
fn late(received: &Answer) -> TestRequest {
    TestRequest::new("GET", "/orders").with("Cookie", &received.cookie_pair("sidegate_refresh"))
}

#[tokio::test]
async fn the_application_receives_the_identity_and_the_browser_gets_new_cookies() {
    let app = app(COOKIES).await;
    let received = logged_in(&app).await;
    app.clock.advance(LATER);
    let both = [
        received.cookie_pair("sidegate_access"),
        received.cookie_pair("sidegate_refresh"),
    ];
    let expired = TestRequest::new("GET", "/orders").with("Cookie", &both.join("; "));
    let answer = app.anon().send(expired).await;
    assert_eq!(answer.status, 200);
    let seen = answer.json()["headers"].to_string();
    assert!(seen.contains("x-user-name\",\"ann"), "{seen}");
    assert!(
        !seen.contains("sidegate_"),
        "sidegate cookies are removed: {seen}"
    );
    let fresh = answer.cookie_pair("sidegate_access");
    assert_ne!(fresh, received.cookie_pair("sidegate_access"));
    assert_ne!(
        answer.cookie_pair("sidegate_refresh"),
        received.cookie_pair("sidegate_refresh")
    );
    let next = TestRequest::new("GET", "/orders").with("Cookie", &fresh);
    assert_eq!(app.anon().send(next).await.status, 200);
}

#[tokio::test]
async fn parallel_requests_all_succeed_and_get_the_same_successor() {
    let app = app(COOKIES).await;
    let received = logged_in(&app).await;
    app.clock.advance(LATER);
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let (anon, request) = (app.anon(), late(&received));
        requests.spawn(async move { anon.send(request).await });
    }
    let mut successors = BTreeSet::new();
    for answer in requests.join_all().await {
        assert_eq!(answer.status, 200);
        successors.insert(answer.cookie_pair("sidegate_refresh"));
    }
    assert_eq!(successors.len(), 1);
}

/// A bug: a page of 61 parts after a quarter of an hour; the last one got 401.
#[tokio::test]
async fn five_hundred_parallel_requests_of_one_browser_count_once_and_all_pass() {
    let app = app(&format!("{COOKIES}[limits]\nrefresh = \"2/h\"\n")).await;
    let received = logged_in(&app).await;
    app.clock.advance(LATER);
    let mut requests = JoinSet::new();
    for _ in 0..500 {
        let (anon, request) = (app.anon(), late(&received));
        requests.spawn(async move { anon.send(request).await });
    }
    let mut successors = BTreeSet::new();
    for answer in requests.join_all().await {
        assert_eq!(answer.status, 200, "{}", answer.text());
        successors.insert(answer.cookie_pair("sidegate_refresh"));
    }
    assert_eq!(successors.len(), 1);
    let page = app.admin_get("/metrics").await.text();
    let rotated = "sidegate_events_total{act=\"refresh\",outcome=\"rotated\"} 1";
    assert!(page.lines().any(|line| line == rotated), "{page}");
}

#[tokio::test]
async fn each_generation_counts_and_a_limit_answers_with_429() {
    let app = app(&format!("{COOKIES}[limits]\nrefresh = \"1/h\"\n")).await;
    let received = logged_in(&app).await;
    let expired = Duration::from_secs(16 * 60);
    app.clock.advance(expired);
    let renewed = app.anon().send(late(&received)).await;
    assert_eq!(renewed.status, 200);
    assert_eq!(
        app.anon().send(late(&received)).await.status,
        200,
        "the same again"
    );
    app.clock.advance(expired);
    let limited = app.anon().send(late(&renewed)).await;
    assert_eq!(limited.refusal(), (429, "rate_limited".into()));
    assert!(limited.header("retry-after").is_some());
    assert!(limited.all("set-cookie").is_empty());
    app.clock.advance(expired * 3);
    assert_eq!(
        app.anon().send(late(&renewed)).await.status,
        200,
        "nothing was lost"
    );
}

#[tokio::test]
async fn a_change_of_roles_between_two_requests_of_one_generation_applies_to_the_second() {
    let rule = "[[rule]]\npath = \"/edit\"\nroles = [\"editor\"]\n";
    let app = app(&format!("{COOKIES}{rule}")).await;
    let received = logged_in(&app).await;
    app.clock.advance(LATER);
    let cookie = received.cookie_pair("sidegate_refresh");
    let edit = || TestRequest::new("GET", "/edit").with("Cookie", &cookie);
    assert_eq!(app.anon().send(edit()).await.code(), "missing_role");
    set_roles(&app, "ann", &["editor"]).await;
    let answer = app.anon().send(edit()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let next = TestRequest::new("GET", "/edit").with("Cookie", &both(&answer));
    assert_eq!(
        app.anon().send(next).await.status,
        200,
        "so does its cookie"
    );
}

#[tokio::test]
async fn a_used_up_refresh_cookie_renews_nothing_and_ends_the_session() {
    let app = app(COOKIES).await;
    let received = logged_in(&app).await;
    app.clock.advance(LATER);
    let answer = app.anon().send(late(&received)).await;
    let successor = answer.cookie_pair("sidegate_refresh");
    app.clock.advance(Duration::from_secs(60));
    let replayed = app.anon().send(late(&received)).await;
    assert_eq!(replayed.refusal(), (401, "missing_token".into()));
    assert!(replayed.all("set-cookie").is_empty());
    let owner = TestRequest::new("GET", "/orders").with("Cookie", &successor);
    assert_eq!(
        app.anon().send(owner).await.status,
        401,
        "the session is over for both"
    );
}

#[tokio::test]
async fn a_missing_role_is_still_missing_after_the_renewal() {
    let rule = "[[rule]]\npath = \"/admin/**\"\naccess = \"user\"\nroles = [\"admin\"]\n";
    let app = app(&format!("{COOKIES}{rule}")).await;
    let received = logged_in(&app).await;
    app.clock.advance(LATER);
    let request = TestRequest::new("GET", "/admin/x")
        .with("Cookie", &received.cookie_pair("sidegate_refresh"));
    let refused = app.anon().send(request).await;
    assert_eq!(refused.refusal(), (403, "missing_role".into()));
    // The old cookie is used up: without the new one the browser would lose its session.
    let successor = refused.cookie_pair("sidegate_refresh");
    app.clock.advance(LATER);
    let next = TestRequest::new("GET", "/orders").with("Cookie", &successor);
    assert_eq!(app.anon().send(next).await.status, 200);
}

/// Both cookies of a log-in, as a browser sends them while they are valid.
fn both(received: &Answer) -> String {
    let names = ["sidegate_access", "sidegate_refresh"];
    names.map(|name| received.cookie_pair(name)).join("; ")
}

#[tokio::test]
async fn a_change_of_roles_does_not_interrupt_a_browser() {
    let rule = "[[rule]]\npath = \"/edit/**\"\nroles = [\"editor\"]\n";
    for method in ["GET", "POST", "PUT", "DELETE"] {
        let app = app(&format!("{COOKIES}{rule}")).await;
        let received = logged_in(&app).await;
        let form = |path: &str, cookies: &str| {
            let request = TestRequest::new(method, path).with("Cookie", cookies);
            request.with("Content-Type", "application/x-www-form-urlencoded")
        };
        let before = app.anon().send(form("/edit/1", &both(&received))).await;
        assert_eq!(before.refusal(), (403, "missing_role".into()));
        set_roles(&app, "ann", &["editor"]).await;
        let answer = app.anon().send(form("/edit/1", &both(&received))).await;
        assert_eq!(answer.status, 200, "{method}: {}", answer.text());
        assert!(
            answer.text().contains("x-user-role\",\"editor"),
            "{}",
            answer.text()
        );
        let next = app.anon().send(form("/edit/1", &both(&answer))).await;
        assert_eq!(next.status, 200, "{method}");
        assert!(next.all("set-cookie").is_empty(), "nothing more to renew");
        // A granted role can be revoked in the same way.
        set_roles(&app, "ann", &["user"]).await;
        let lost = app.anon().send(form("/edit/1", &both(&answer))).await;
        assert_eq!(lost.refusal(), (403, "missing_role".into()), "{method}");
        let elsewhere = app.anon().send(form("/orders", &both(&lost))).await;
        assert_eq!(elsewhere.status, 200, "{method}");
    }
}

#[tokio::test]
async fn parallel_requests_after_a_change_of_roles_all_succeed() {
    let app = app(COOKIES).await;
    let received = logged_in(&app).await;
    let mut requests = JoinSet::new();
    set_roles(&app, "ann", &["editor"]).await;
    for _ in 0..30 {
        let request = TestRequest::new("POST", "/orders").with("Cookie", &both(&received));
        let anon = app.anon();
        requests.spawn(async move { anon.send(request).await });
    }
    for answer in requests.join_all().await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn the_new_cookies_arrive_also_when_the_application_is_unreachable() {
    let app = app(&format!(
        "{COOKIES}[upstream]\nurl = \"http://127.0.0.1:1\"\n"
    ))
    .await;
    let received = logged_in(&app).await;
    app.clock.advance(LATER);
    let answer = app.anon().send(late(&received)).await;
    assert_eq!(answer.status, 502);
    assert_ne!(
        answer.cookie_pair("sidegate_refresh"),
        received.cookie_pair("sidegate_refresh")
    );
}

#[tokio::test]
async fn an_optional_route_gets_the_identity_of_an_expired_cookie() {
    let rule = "[[rule]]\npath = \"/news\"\naccess = \"optional\"\n";
    let app = app(&format!("{COOKIES}{rule}")).await;
    let received = logged_in(&app).await;
    app.clock.advance(LATER);
    let request =
        TestRequest::new("GET", "/news").with("Cookie", &received.cookie_pair("sidegate_refresh"));
    let answer = app.anon().send(request).await;
    assert!(answer.text().contains("x-user-name"), "{}", answer.text());
    answer.cookie_pair("sidegate_access");
    let anonymous = app.anon().send(TestRequest::new("GET", "/news")).await;
    assert_eq!(anonymous.status, 200);
    assert!(!anonymous.text().contains("x-user-name"));
}

#[tokio::test]
async fn a_client_with_a_bearer_token_is_not_renewed_on_the_way() {
    let app = app(COOKIES).await;
    let received = logged_in(&app).await;
    let access = received.cookie_pair("sidegate_access");
    let (_, token) = access.split_once('=').unwrap();
    app.clock.advance(LATER);
    let request = late(&received).with("Authorization", &format!("Bearer {token}"));
    let answer = app.anon().send(request).await;
    assert_eq!(answer.refusal(), (401, "token_expired".into()));
    assert!(answer.all("set-cookie").is_empty());
}

#[tokio::test]
async fn with_access_tokens_in_the_body_no_cookie_is_renewed() {
    let app = app(HYBRID).await;
    let received = logged_in(&app).await;
    app.clock.advance(LATER);
    assert_eq!(
        app.anon().send(late(&received)).await.refusal(),
        (401, "missing_token".into())
    );
}

#[tokio::test]
async fn garbage_in_the_refresh_cookie_is_a_request_without_a_token() {
    let app = app(COOKIES).await;
    for cookie in [
        "sidegate_refresh=",
        "sidegate_refresh=x",
        "sidegate_refresh=a; sidegate_refresh=b",
    ] {
        let request = TestRequest::new("GET", "/orders").with("Cookie", cookie);
        assert_eq!(
            app.anon().send(request).await.refusal(),
            (401, "missing_token".into())
        );
    }
}

/// An application that delays its answer until the test releases it.
struct Slow {
    listener: tokio::net::TcpListener,
}

impl Slow {
    async fn listen() -> (Self, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (Self { listener }, url)
    }

    /// The next request, read to the end of its head.
    async fn next_request(&self) -> tokio::net::TcpStream {
        let next_request = async {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream
        };
        timeout(DEADLINE, next_request)
            .await
            .expect("a request in time")
    }
}

const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn an_application_slower_than_the_grace_ends_no_session() {
    let (slow, url) = Slow::listen().await;
    let app = app(&format!("{COOKIES}[upstream]\nurl = \"{url}\"\n")).await;
    let received = logged_in(&app).await;
    app.clock.advance(LATER);
    let (anon, request) = (app.anon(), late(&received));
    let mut asking = JoinSet::new();
    asking.spawn(async move { anon.send(request).await });
    let mut stream = slow.next_request().await;
    app.clock.advance(Duration::from_secs(59));
    stream.write_all(REPLY).await.unwrap();
    let answer = asking.join_next().await.unwrap().unwrap();
    assert_eq!(answer.status, 200);
    let next = [
        received.cookie_pair("sidegate_refresh"),
        answer.cookie_pair("sidegate_refresh"),
    ];
    for cookie in next {
        let request = TestRequest::new("POST", "/auth/refresh")
            .with("Cookie", &cookie)
            .with("Sec-Fetch-Site", "same-origin");
        assert_eq!(app.anon().send(request).await.status, 200, "{cookie}");
    }
}

#[tokio::test]
async fn a_browser_that_does_not_wait_for_its_answer_keeps_its_session() {
    let (slow, url) = Slow::listen().await;
    let app = app(&format!("{COOKIES}[upstream]\nurl = \"{url}\"\n")).await;
    let received = logged_in(&app).await;
    app.clock.advance(LATER);
    let mut client = tokio::net::TcpStream::connect(app.address).await.unwrap();
    client
        .write_all(&late(&received).bytes("app"))
        .await
        .unwrap();
    let mut stream = slow.next_request().await;
    drop(client);
    // The proxy aborts the request: it closes its connection.
    let mut byte = [0];
    let end = timeout(DEADLINE, stream.read(&mut byte)).await;
    assert_eq!(end.expect("an end in time").unwrap(), 0);
    app.clock.advance(Duration::from_secs(3600));
    let request = TestRequest::new("POST", "/auth/refresh")
        .with("Cookie", &received.cookie_pair("sidegate_refresh"))
        .with("Sec-Fetch-Site", "same-origin");
    assert_eq!(app.anon().send(request).await.status, 200);
}
