//! A browser whose access cookie has run out is refreshed on the way through.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{Answer, Ask, DEADLINE};
use crate::harness::{PASSWORD, TestApp, set_roles};

const COOKIES: &str = "[[mount]]\nprefix = \"/auth\"\ndelivery = \"cookies\"\n";
const HYBRID: &str = "[[mount]]\nprefix = \"/auth\"\ndelivery = \"hybrid\"\n";

/// Longer than an access token lives, shorter than a session.
const LATER: Duration = Duration::from_secs(3600);

async fn logged_in(app: &TestApp) -> Answer {
    let told = app.anon().try_login("ann", PASSWORD).await;
    assert_eq!(told.status, 200, "{}", told.text());
    told
}

async fn app(extra: &str) -> TestApp {
    let app = TestApp::with(extra).await;
    app.account("ann", &["user"]).await;
    app
}

/// A request of a browser that holds the refresh cookie and no access cookie any more.
fn late(told: &Answer) -> Ask {
    Ask::new("GET", "/orders").with("Cookie", &told.cookie_pair("sidegate_refresh"))
}

#[tokio::test]
async fn the_application_sees_a_signed_in_request_and_the_browser_gets_new_cookies() {
    let app = app(COOKIES).await;
    let told = logged_in(&app).await;
    app.clock.advance(LATER);
    let both = [
        told.cookie_pair("sidegate_access"),
        told.cookie_pair("sidegate_refresh"),
    ];
    let expired = Ask::new("GET", "/orders").with("Cookie", &both.join("; "));
    let answer = app.anon().send(expired).await;
    assert_eq!(answer.status, 200);
    let seen = answer.json()["headers"].to_string();
    assert!(seen.contains("x-user-name\",\"ann"), "{seen}");
    assert!(!seen.contains("sidegate_"), "our cookies stay here: {seen}");
    let fresh = answer.cookie_pair("sidegate_access");
    assert_ne!(fresh, told.cookie_pair("sidegate_access"));
    assert_ne!(
        answer.cookie_pair("sidegate_refresh"),
        told.cookie_pair("sidegate_refresh")
    );
    let next = Ask::new("GET", "/orders").with("Cookie", &fresh);
    assert_eq!(app.anon().send(next).await.status, 200);
}

#[tokio::test]
async fn parallel_requests_all_succeed_and_get_the_same_successor() {
    let app = app(COOKIES).await;
    let told = logged_in(&app).await;
    app.clock.advance(LATER);
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let (anon, ask) = (app.anon(), late(&told));
        requests.spawn(async move { anon.send(ask).await });
    }
    let mut successors = BTreeSet::new();
    for answer in requests.join_all().await {
        assert_eq!(answer.status, 200);
        successors.insert(answer.cookie_pair("sidegate_refresh"));
    }
    assert_eq!(successors.len(), 1);
}

/// The story: a page of 61 parts after a quarter of an hour: the last one was 401.
#[tokio::test]
async fn five_hundred_parallel_requests_of_one_browser_count_once_and_all_pass() {
    let app = app(&format!("{COOKIES}[limits]\nrefresh = \"2/h\"\n")).await;
    let told = logged_in(&app).await;
    app.clock.advance(LATER);
    let mut requests = JoinSet::new();
    for _ in 0..500 {
        let (anon, ask) = (app.anon(), late(&told));
        requests.spawn(async move { anon.send(ask).await });
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
async fn each_generation_counts_and_a_limit_is_told_as_one() {
    let app = app(&format!("{COOKIES}[limits]\nrefresh = \"1/h\"\n")).await;
    let told = logged_in(&app).await;
    let expired = Duration::from_secs(16 * 60);
    app.clock.advance(expired);
    let renewed = app.anon().send(late(&told)).await;
    assert_eq!(renewed.status, 200);
    assert_eq!(
        app.anon().send(late(&told)).await.status,
        200,
        "the same again"
    );
    app.clock.advance(expired);
    let limited = app.anon().send(late(&renewed)).await;
    assert_eq!(limited.verdict(), (429, "rate_limited".into()));
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
async fn a_change_of_roles_between_two_requests_of_one_generation_holds_for_the_second() {
    let rule = "[[rule]]\npath = \"/edit\"\nroles = [\"editor\"]\n";
    let app = app(&format!("{COOKIES}{rule}")).await;
    let told = logged_in(&app).await;
    app.clock.advance(LATER);
    let cookie = told.cookie_pair("sidegate_refresh");
    let edit = || Ask::new("GET", "/edit").with("Cookie", &cookie);
    assert_eq!(app.anon().send(edit()).await.code(), "missing_role");
    set_roles(&app, "ann", &["editor"]).await;
    let answer = app.anon().send(edit()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let next = Ask::new("GET", "/edit").with("Cookie", &both(&answer));
    assert_eq!(
        app.anon().send(next).await.status,
        200,
        "so does its cookie"
    );
}

#[tokio::test]
async fn a_used_up_refresh_cookie_renews_nothing_and_ends_the_session() {
    let app = app(COOKIES).await;
    let told = logged_in(&app).await;
    app.clock.advance(LATER);
    let answer = app.anon().send(late(&told)).await;
    let successor = answer.cookie_pair("sidegate_refresh");
    app.clock.advance(Duration::from_secs(60));
    let replayed = app.anon().send(late(&told)).await;
    assert_eq!(replayed.verdict(), (401, "missing_token".into()));
    assert!(replayed.all("set-cookie").is_empty());
    let owner = Ask::new("GET", "/orders").with("Cookie", &successor);
    assert_eq!(
        app.anon().send(owner).await.status,
        401,
        "the session is over for both"
    );
}

#[tokio::test]
async fn a_role_that_is_missing_is_missing_after_the_renewal_too() {
    let rule = "[[rule]]\npath = \"/admin/**\"\naccess = \"user\"\nroles = [\"admin\"]\n";
    let app = app(&format!("{COOKIES}{rule}")).await;
    let told = logged_in(&app).await;
    app.clock.advance(LATER);
    let ask = Ask::new("GET", "/admin/x").with("Cookie", &told.cookie_pair("sidegate_refresh"));
    let refused = app.anon().send(ask).await;
    assert_eq!(refused.verdict(), (403, "missing_role".into()));
    // The old cookie is used up: without the new one the browser would be logged out for nothing.
    let successor = refused.cookie_pair("sidegate_refresh");
    app.clock.advance(LATER);
    let next = Ask::new("GET", "/orders").with("Cookie", &successor);
    assert_eq!(app.anon().send(next).await.status, 200);
}

/// Both cookies of a log-in, as a browser sends them while they are good.
fn both(told: &Answer) -> String {
    let names = ["sidegate_access", "sidegate_refresh"];
    names.map(|name| told.cookie_pair(name)).join("; ")
}

#[tokio::test]
async fn a_change_of_roles_costs_a_browser_nothing() {
    let rule = "[[rule]]\npath = \"/edit/**\"\nroles = [\"editor\"]\n";
    for method in ["GET", "POST", "PUT", "DELETE"] {
        let app = app(&format!("{COOKIES}{rule}")).await;
        let told = logged_in(&app).await;
        let form = |path: &str, cookies: &str| {
            let ask = Ask::new(method, path).with("Cookie", cookies);
            ask.with("Content-Type", "application/x-www-form-urlencoded")
        };
        let before = app.anon().send(form("/edit/1", &both(&told))).await;
        assert_eq!(before.verdict(), (403, "missing_role".into()));
        set_roles(&app, "ann", &["editor"]).await;
        let answer = app.anon().send(form("/edit/1", &both(&told))).await;
        assert_eq!(answer.status, 200, "{method}: {}", answer.text());
        assert!(
            answer.text().contains("x-user-role\",\"editor"),
            "{}",
            answer.text()
        );
        let next = app.anon().send(form("/edit/1", &both(&answer))).await;
        assert_eq!(next.status, 200, "{method}");
        assert!(next.all("set-cookie").is_empty(), "nothing more to renew");
        // What was gained can be lost as well, with the same ease.
        set_roles(&app, "ann", &["user"]).await;
        let lost = app.anon().send(form("/edit/1", &both(&answer))).await;
        assert_eq!(lost.verdict(), (403, "missing_role".into()), "{method}");
        let elsewhere = app.anon().send(form("/orders", &both(&lost))).await;
        assert_eq!(elsewhere.status, 200, "{method}");
    }
}

#[tokio::test]
async fn parallel_requests_after_a_change_of_roles_all_succeed() {
    let app = app(COOKIES).await;
    let told = logged_in(&app).await;
    let mut requests = JoinSet::new();
    set_roles(&app, "ann", &["editor"]).await;
    for _ in 0..30 {
        let ask = Ask::new("POST", "/orders").with("Cookie", &both(&told));
        let anon = app.anon();
        requests.spawn(async move { anon.send(ask).await });
    }
    for answer in requests.join_all().await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn the_new_cookies_arrive_also_when_the_application_is_gone() {
    let app = app(&format!(
        "{COOKIES}[upstream]\nurl = \"http://127.0.0.1:1\"\n"
    ))
    .await;
    let told = logged_in(&app).await;
    app.clock.advance(LATER);
    let answer = app.anon().send(late(&told)).await;
    assert_eq!(answer.status, 502);
    assert_ne!(
        answer.cookie_pair("sidegate_refresh"),
        told.cookie_pair("sidegate_refresh")
    );
}

#[tokio::test]
async fn an_optional_route_knows_who_it_is_again() {
    let rule = "[[rule]]\npath = \"/news\"\naccess = \"optional\"\n";
    let app = app(&format!("{COOKIES}{rule}")).await;
    let told = logged_in(&app).await;
    app.clock.advance(LATER);
    let ask = Ask::new("GET", "/news").with("Cookie", &told.cookie_pair("sidegate_refresh"));
    let answer = app.anon().send(ask).await;
    assert!(answer.text().contains("x-user-name"), "{}", answer.text());
    answer.cookie_pair("sidegate_access");
    let stranger = app.anon().send(Ask::new("GET", "/news")).await;
    assert_eq!(stranger.status, 200);
    assert!(!stranger.text().contains("x-user-name"));
}

#[tokio::test]
async fn a_program_that_shows_its_own_token_refreshes_itself() {
    let app = app(COOKIES).await;
    let told = logged_in(&app).await;
    let access = told.cookie_pair("sidegate_access");
    let (_, token) = access.split_once('=').unwrap();
    app.clock.advance(LATER);
    let ask = late(&told).with("Authorization", &format!("Bearer {token}"));
    let answer = app.anon().send(ask).await;
    assert_eq!(answer.verdict(), (401, "token_expired".into()));
    assert!(answer.all("set-cookie").is_empty());
}

#[tokio::test]
async fn where_the_access_token_travels_in_the_body_nothing_is_renewed() {
    let app = app(HYBRID).await;
    let told = logged_in(&app).await;
    app.clock.advance(LATER);
    assert_eq!(
        app.anon().send(late(&told)).await.verdict(),
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
        let ask = Ask::new("GET", "/orders").with("Cookie", cookie);
        assert_eq!(
            app.anon().send(ask).await.verdict(),
            (401, "missing_token".into())
        );
    }
}

/// An application that holds its answer until it is told to give it.
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
    async fn asked(&self) -> tokio::net::TcpStream {
        let asked = async {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream
        };
        timeout(DEADLINE, asked).await.expect("a request in time")
    }
}

const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn an_application_slower_than_the_grace_costs_no_session() {
    let (slow, url) = Slow::listen().await;
    let app = app(&format!("{COOKIES}[upstream]\nurl = \"{url}\"\n")).await;
    let told = logged_in(&app).await;
    app.clock.advance(LATER);
    let (anon, ask) = (app.anon(), late(&told));
    let mut asking = JoinSet::new();
    asking.spawn(async move { anon.send(ask).await });
    let mut stream = slow.asked().await;
    app.clock.advance(Duration::from_secs(59));
    stream.write_all(REPLY).await.unwrap();
    let answer = asking.join_next().await.unwrap().unwrap();
    assert_eq!(answer.status, 200);
    let next = [
        told.cookie_pair("sidegate_refresh"),
        answer.cookie_pair("sidegate_refresh"),
    ];
    for cookie in next {
        let ask = Ask::new("POST", "/auth/refresh")
            .with("Cookie", &cookie)
            .with("Sec-Fetch-Site", "same-origin");
        assert_eq!(app.anon().send(ask).await.status, 200, "{cookie}");
    }
}

#[tokio::test]
async fn a_browser_that_does_not_wait_for_its_answer_keeps_its_session() {
    let (slow, url) = Slow::listen().await;
    let app = app(&format!("{COOKIES}[upstream]\nurl = \"{url}\"\n")).await;
    let told = logged_in(&app).await;
    app.clock.advance(LATER);
    let mut client = tokio::net::TcpStream::connect(app.address).await.unwrap();
    client.write_all(&late(&told).bytes("app")).await.unwrap();
    let mut stream = slow.asked().await;
    drop(client);
    // The proxy gives the exchange up: its end of the connection closes.
    let mut byte = [0];
    let end = timeout(DEADLINE, stream.read(&mut byte)).await;
    assert_eq!(end.expect("an end in time").unwrap(), 0);
    app.clock.advance(Duration::from_secs(3600));
    let ask = Ask::new("POST", "/auth/refresh")
        .with("Cookie", &told.cookie_pair("sidegate_refresh"))
        .with("Sec-Fetch-Site", "same-origin");
    assert_eq!(app.anon().send(ask).await.status, 200);
}
