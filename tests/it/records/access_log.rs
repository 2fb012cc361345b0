//! One line of the access log describes one request, also when its client has closed the connection.

use serde_json::Value;
use tokio::net::TcpStream;

use crate::support::harness::TestApp;
use crate::support::scripted::{ManualApp, public_upstream};

#[tokio::test]
async fn a_line_of_the_access_log_describes_one_request() {
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
async fn a_json_line_has_the_same_values_with_names() {
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
async fn a_client_that_disconnects_before_its_answer_has_a_line() {
    let upstream = ManualApp::start();
    let app = TestApp::with(&public_upstream(upstream.address)).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /left HTTP/1.1\r\nHost: app\r\n\r\n")
        .await
        .unwrap();
    upstream.next_request().await;
    drop(stream);
    let log = app.access_log(|log| log.contains("/left")).await;
    assert!(
        log.lines()
            .any(|line| line.contains("/left") && line.ends_with(" cut")),
        "{log}"
    );
}
