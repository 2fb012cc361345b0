//! Every resource has a limit. A client at a limit gets an error, and other clients are served.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::client::{Connection, DEADLINE, TestRequest, send_until_answered};
use crate::support::harness::TestApp;
use crate::support::plan::ALL_PUBLIC;
use crate::support::scripted::{ManualApp, public_upstream};

#[tokio::test]
async fn s10_a_head_that_is_not_complete_in_time_closes_the_connection() {
    let app = TestApp::with(&format!("{ALL_PUBLIC}[server]\nheader_timeout = \"1s\"\n")).await;
    let silent = Connection::open(app.address).await;
    let mut half = Connection::open(app.address).await;
    half.write(b"GET /x HTTP/1.1\r\nHost: app\r\nX-Slow: ")
        .await;
    let request = TestRequest::new("GET", "/x");
    let mut used =
        send_until_answered(|| Connection::open(app.address), &request.bytes("app")).await;
    assert_eq!(used.answer("GET").await.status, 200);
    used.write(b"GET /x HTTP/1.1\r\nHo").await;
    for connection in [silent, half, used] {
        assert_eq!(connection.rest().await, b"");
    }
    let other = request.send_in_time(app.address).await;
    assert_eq!(other.status, 200, "others are served on");
}

#[tokio::test]
async fn s10_single_bytes_do_not_extend_the_header_timeout() {
    let app = TestApp::with(&format!("{ALL_PUBLIC}[server]\nheader_timeout = \"1s\"\n")).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream
        .write_all(b"GET /x HTTP/1.1\r\nX-Slow: ")
        .await
        .unwrap();
    let drip = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while stream.write_all(b"a").await.is_ok() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, drip)
        .await
        .expect("the connection is cut");
}

#[tokio::test]
async fn s10_one_connection_too_many_gets_a_503() {
    let app = TestApp::with(&format!("{ALL_PUBLIC}[server]\nmax_connections = 2\n")).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut connection = Connection::open(app.address).await;
        assert_eq!(connection.get("/x").await.status, 200);
        open.push(connection);
    }
    for _ in 0..3 {
        let mut connection = Connection::open(app.address).await;
        let answer = connection.answer("GET").await;
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("1"))
        );
        assert_eq!(answer.header("connection"), Some("close"));
    }
    for connection in &mut open {
        assert_eq!(
            connection.get("/x").await.status,
            200,
            "open connections are still served"
        );
    }
    open.pop();
    eventually_served(&app).await;
}

/// A freed slot can be used as soon as the server has noticed it.
async fn eventually_served(app: &TestApp) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let mut connection = Connection::open(app.address).await;
        let bytes = TestRequest::new("GET", "/x")
            .with("Connection", "close")
            .bytes("app");
        connection.write(&bytes).await;
        if connection.answer("GET").await.status == 200 {
            return;
        }
        assert!(Instant::now() < deadline, "the slot is never free");
    }
}

#[tokio::test]
async fn s10_one_address_cannot_take_every_connection_slot() {
    let settings = "[server]\nmax_connections_per_address = 2\n";
    let app = TestApp::with(&format!("{ALL_PUBLIC}{settings}")).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut connection = Connection::open(app.address).await;
        assert_eq!(connection.get("/x").await.status, 200);
        open.push(connection);
    }
    let mut third = Connection::open(app.address).await;
    assert_eq!(third.answer("GET").await.status, 503);
    // Another client can connect.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(app.address).await.unwrap();
    other
        .write_all(
            &TestRequest::new("GET", "/x")
                .with("Connection", "close")
                .bytes("app"),
        )
        .await
        .unwrap();
    let answer = Connection::over(other, "app").answer("GET").await;
    assert_eq!(answer.status, 200);
    drop(open);
    eventually_served(&app).await;
}

#[tokio::test]
async fn s10_a_trusted_proxy_is_not_counted_as_one_client() {
    let app = TestApp::with(&format!(
        "{ALL_PUBLIC}[server]\nmax_connections_per_address = 1\ntrusted_proxies = [\"127.0.0.1/32\"]\n"
    ))
    .await;
    let mut open = Vec::new();
    for _ in 0..5 {
        let mut connection = Connection::open(app.address).await;
        assert_eq!(connection.get("/x").await.status, 200);
        open.push(connection);
    }
}

#[tokio::test]
async fn a_body_over_the_limit_of_the_auth_routes_is_not_read() {
    let app = TestApp::with("[limits]\nbody = \"8KiB\"\n").await;
    app.account("ann", &["user"]).await;
    let announced = "POST /auth/login HTTP/1.1\r\nHost: app\r\nContent-Type: application/json\r\n\
                     Content-Length: 1000000000000\r\n\r\n";
    let mut connection = Connection::open(app.address).await;
    connection.write(announced.as_bytes()).await;
    let answer = connection.answer("POST").await;
    assert_eq!(answer.refusal(), (413, "body_too_large".to_owned()));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(connection.rest().await, b"");
    let mut chunks =
        b"POST /auth/login HTTP/1.1\r\nHost: app\r\nContent-Type: application/json\r\n\
                       Transfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for _ in 0..9 {
        chunks.extend_from_slice(b"400\r\n");
        chunks.extend_from_slice(&[b' '; 1024]);
        chunks.extend_from_slice(b"\r\n");
    }
    let mut connection = Connection::open(app.address).await;
    connection.write(&chunks).await;
    assert_eq!(connection.answer("POST").await.status, 413);
    let padding = " ".repeat(8 * 1024 - 80);
    let just =
        json!({"identifier": "ann", "password": crate::support::harness::PASSWORD}).to_string();
    let request = TestRequest::new("POST", "/auth/login").body("application/json", padding + &just);
    assert_eq!(
        request.send(app.address).await.status,
        200,
        "what fits is read"
    );
}

#[tokio::test]
async fn more_cookies_than_a_browser_sends_are_refused_and_not_searched() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let token = format!("sidegate_access={}", ann.access);
    let crumbs = |count: usize| {
        let crumbs: Vec<String> = (0..count).map(|n| format!("c{n}=v")).collect();
        crumbs.join("; ")
    };
    let asking = |line: String| app.anon().with_header("Cookie", &line);
    let few = asking(format!("{}; {token}", crumbs(150))).get("/x").await;
    assert_eq!(few.status, 200);
    for line in [
        format!("{}; {token}", crumbs(400)),
        format!("{token}; {}", crumbs(400)),
    ] {
        assert_eq!(
            asking(line).get("/x").await.refusal(),
            (401, "invalid_token".to_owned())
        );
    }
    let mut lines = app.anon().with_header("Cookie", &token);
    for n in 0..90 {
        lines = lines.with_header("Cookie", &crumbs(n % 7));
    }
    assert_eq!(lines.get("/x").await.code(), "invalid_token");
}

#[tokio::test]
async fn requests_beyond_the_upstream_connections_wait_and_then_get_a_503() {
    let upstream = ManualApp::start();
    let app = TestApp::with(&format!(
        "{}max_connections = 1\nqueue_timeout = \"200ms\"\n[server]\nthreads = 1\n",
        public_upstream(upstream.address)
    ))
    .await;
    let mut first = Connection::open(app.address).await;
    first.write(b"GET /1 HTTP/1.1\r\nHost: app\r\n\r\n").await;
    upstream.next_request().await;
    let refused = app.anon().get("/2").await;
    assert_eq!(refused.refusal(), (503, "upstream_overloaded".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    upstream.answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(first.answer("GET").await.status, 200);
    upstream.answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(app.anon().get("/3").await.status, 200);
}

#[tokio::test]
async fn a_used_up_quota_answers_with_retry_after() {
    let app = TestApp::with("[limits]\nlogin = \"3/h\"\n").await;
    app.account("ann", &["user"]).await;
    for _ in 0..3 {
        assert_eq!(
            app.anon().try_login("ann", "wrong password").await.status,
            401
        );
    }
    let refused = app.anon().try_login("ann", "wrong password").await;
    assert_eq!(refused.refusal(), (429, "rate_limited".to_owned()));
    assert_eq!(refused.header("ratelimit-limit"), Some("3"));
    assert_eq!(refused.header("ratelimit-remaining"), Some("0"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=1200).contains(&wait), "{wait}");
    app.clock.advance(Duration::from_secs(wait));
    assert_eq!(
        app.anon()
            .try_login("ann", crate::support::harness::PASSWORD)
            .await
            .status,
        200
    );
}
