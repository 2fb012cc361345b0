//! From the first probe to the last byte: what the admin port says, how a process ends, and what
//! one line of the access log holds.

use serde_json::Value;
use sidegate::server::Phase;
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::client::{Ask, Connection, DEADLINE};
use crate::harness::TestApp;
use crate::scripted::{Held, in_front_of};
use crate::sockets::Sockets;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn s55_health_and_numbers_are_on_the_admin_port_only() {
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
        let post = Ask::new("POST", path).send(app.admin).await;
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
async fn s55_the_public_port_tells_a_stranger_nothing() {
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
        // What hyper refuses by itself is counted right after it was answered.
        if expected.iter().all(|line| page.contains(line)) {
            return;
        }
        assert!(Instant::now() < deadline, "not in time: {page}");
    }
}

#[tokio::test]
async fn a_drain_lets_load_balancers_go_before_the_door_is_closed() {
    let app = TestApp::with("[server]\ndrain_delay = \"10m\"\n").await;
    let ann = app.user("ann").await;
    let mut kept = Connection::open(app.address).await;
    assert_eq!(
        kept.ask(&ann.dress(Ask::new("GET", "/x"))).await.status,
        200
    );
    app.running().stop();
    let (status, body) = {
        let answer = app.admin_get("/readyz").await;
        (answer.status, answer.text())
    };
    assert_eq!(status, 503);
    assert!(body.contains("draining"), "{body}");
    assert_eq!(app.admin_get("/livez").await.status, 200);
    // An idle connection is closed, a new one is served once and told to go.
    assert_eq!(kept.rest().await, b"");
    let ask = ann.dress(Ask::new("GET", "/x"));
    for _ in 0..20 {
        let answer = ask.send_in_time(app.address).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection"), Some("close"));
    }
    let door = Sockets::at(app.address);
    app.running().lifecycle().advance(Phase::Closing);
    door.closes().await;
    app.stop().await;
}

#[tokio::test]
async fn what_is_in_flight_finishes_after_the_door_is_closed() {
    let upstream = Held::start();
    let app = TestApp::with(&format!(
        "[server]\ndrain_timeout = \"10m\"\n{}",
        in_front_of(upstream.address)
    ))
    .await;
    let mut waiting = Connection::open(app.address).await;
    waiting
        .write(b"GET /slow HTTP/1.1\r\nHost: app\r\n\r\n")
        .await;
    upstream.came().await;
    let door = Sockets::at(app.address);
    app.running().stop();
    door.closes().await;
    assert_eq!(app.admin_get("/readyz").await.status, 503);
    upstream.answer(ANSWER);
    let answer = waiting.answer("GET").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(waiting.rest().await, b"");
    app.stop().await;
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut() {
    let upstream = Held::start();
    let app = TestApp::with(&format!(
        "[server]\ndrain_timeout = \"50ms\"\n{}",
        in_front_of(upstream.address)
    ))
    .await;
    let mut waiting = Connection::open(app.address).await;
    waiting
        .write(b"GET /slow HTTP/1.1\r\nHost: app\r\n\r\n")
        .await;
    upstream.came().await;
    app.stop().await;
    assert_eq!(waiting.rest().await, b"", "cut, not answered");
}

#[tokio::test]
async fn a_request_that_is_on_its_way_in_when_the_end_begins_is_answered() {
    let app =
        TestApp::with("[server]\ndrain_delay = \"10m\"\n[policy]\ndefault = \"public\"\n").await;
    let mut connection = Connection::open(app.address).await;
    connection
        .write(b"GET /x HTTP/1.1\r\nHost: app\r\nX-Half: ")
        .await;
    until_open(&app, 1).await;
    app.running().stop();
    connection.write(b"1\r\n\r\n").await;
    let answer = connection.answer("GET").await;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
}

/// Waits until so many connections are open, as the numbers tell it.
async fn until_open(app: &TestApp, count: u64) {
    let line = format!("sidegate_connections {count}");
    let deadline = Instant::now() + DEADLINE;
    loop {
        let page = app.admin_get("/metrics").await.text();
        if page.lines().any(|known| known == line) {
            return;
        }
        assert!(page.contains("sidegate_connections "), "{page}");
        assert!(Instant::now() < deadline, "not in time: {page}");
    }
}

#[tokio::test]
async fn an_orderly_end_loses_nothing_that_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let app = TestApp::on_disk(folder.path(), "").await;
    let ann = app.user("ann").await;
    let bob = app.user("bob").await;
    assert_eq!(bob.logout().await.status, 204);
    let clock = app.clock.clone();
    app.stop().await;
    let app = TestApp::try_on_disk(folder.path(), "", &clock)
        .await
        .unwrap();
    let (ann, bob) = (ann.at(&app), bob.at(&app));
    assert_eq!(ann.get("/x").await.status, 200);
    assert_eq!(ann.try_refresh().await.status, 200);
    assert_eq!(bob.get("/x").await.code(), "session_ended");
    assert_eq!(bob.try_refresh().await.status, 401);
    let records = app.audit(|records| records.len() >= 5).await;
    let ends = records
        .iter()
        .filter(|record| record.action.as_str() == "session_end");
    assert_eq!(ends.count(), 1);
}

#[tokio::test]
async fn a_line_of_the_access_log_tells_one_request() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let id = ann.get("/auth/me").await.json()["user"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    ann.get("/orders/7?secret=1").await;
    app.anon().get("/orders/8").await;
    app.anon().get("/a%0ab").await;
    let log = app.access_log(|log| log.lines().count() >= 5).await;
    let line = |part: &str| {
        log.lines()
            .find(|line| line.contains(part))
            .unwrap()
            .to_owned()
    };
    let fields = line("/orders/7");
    let fields: Vec<_> = fields.split(' ').collect();
    assert_eq!(fields[0], "2027-01-15T08:00:00.000Z");
    assert_eq!(
        (fields[1], fields[2].len(), fields[3]),
        ("127.0.0.1", 32, "GET")
    );
    assert_eq!((fields[4], fields[5]), ("/orders/7", "200"));
    assert!(fields[6].parse::<u64>().unwrap() > 100 && fields[7].ends_with("ms"));
    assert_eq!(fields[8], "upstream");
    assert_eq!(
        fields[9..],
        [format!("user={id}"), format!("session={}", ann.session)]
    );
    assert!(line("/orders/8").ends_with(" refused missing_token"));
    assert!(line("/auth/login").contains(" POST /auth/login 200 "));
    assert!(!log.contains("secret"), "{log}");
}

#[tokio::test]
async fn a_json_line_says_the_same_under_names() {
    let app = TestApp::with("[log]\nformat = \"json\"\n").await;
    let ann = app.user("ann").await;
    let answer = ann.get("/orders/7").await;
    app.anon().get("/orders/8").await;
    let log = app.access_log(|log| log.lines().count() >= 3).await;
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |path: &str| lines.iter().find(|line| line["path"] == path).unwrap();
    let good = of("/orders/7");
    assert_eq!(good["at"], "2027-01-15T08:00:00.000Z");
    assert_eq!(good["bytes"], answer.body.len());
    assert_eq!(
        (&good["status"], &good["route"]),
        (&200.into(), &"upstream".into())
    );
    assert_eq!(good["session"], ann.session);
    assert_eq!(of("/orders/8")["refusal"], "missing_token");
}

#[tokio::test]
async fn a_client_that_leaves_before_its_answer_leaves_a_line() {
    let upstream = Held::start();
    let app = TestApp::with(&in_front_of(upstream.address)).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /left HTTP/1.1\r\nHost: app\r\n\r\n")
        .await
        .unwrap();
    upstream.came().await;
    drop(stream);
    let log = app.access_log(|log| log.contains("/left")).await;
    assert!(
        log.lines()
            .any(|line| line.contains("/left") && line.ends_with(" cut")),
        "{log}"
    );
}

#[tokio::test]
async fn a_second_process_on_the_same_directory_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let app = TestApp::on_disk(folder.path(), "").await;
    let clock = app.clock.clone();
    let refused = TestApp::try_on_disk(folder.path(), "", &clock)
        .await
        .unwrap_err();
    let words = error_text(&refused);
    assert!(
        words.contains("another process") || words.contains("in use") || words.contains("lock"),
        "{words}"
    );
    assert_eq!(
        app.admin_get("/readyz").await.status,
        200,
        "the first one goes on"
    );
    spawn_blocking(move || drop(app)).await.unwrap();
}

/// An error and everything beneath it, in words.
fn error_text(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        words = format!("{words}: {cause}");
        below = cause.source();
    }
    words
}
