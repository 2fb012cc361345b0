//! The redirect listener sends clients to https and nowhere else, and follows a reload.

use std::time::Duration;

use sidegate::net::Phase;
use tokio::time::Instant;

use crate::support::certificates::Site;
use crate::support::client::{Connection, DEADLINE};
use crate::support::harness::TestApp;
use crate::support::sockets::Sockets;
use crate::support::wait::until;

/// The answer of the redirect listener to a request for this host.
async fn redirected(app: &TestApp, host: &str) -> String {
    let to = app.running().redirect_address().expect("an address");
    let mut asking = Connection::open(to).await;
    let head = format!("GET /a?b=c HTTP/1.1\r\nHost: {host}\r\n\r\n");
    asking.write(head.as_bytes()).await;
    String::from_utf8_lossy(&asking.rest().await).into_owned()
}

#[tokio::test]
async fn s10_one_address_cannot_take_every_slot_of_the_redirect_listener() {
    let site = Site::new();
    let app = TestApp::with(&site.redirecting("")).await;
    let to = app.running().redirect_address().expect("an address");
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(Connection::open(to).await);
    }
    let one_more = Connection::open(to).await;
    assert_eq!(one_more.rest().await, b"");
    let mut received = silent.pop().expect("a connection");
    received.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(received.rest().await.starts_with(b"HTTP/1.1 308 "));
    drop(silent);
    app.stop().await;
}

#[tokio::test]
async fn a_connection_accepted_by_the_redirect_listener_is_answered_when_it_closes() {
    let deadline = Instant::now() + DEADLINE;
    while !is_answered_when_it_closes().await {
        assert!(Instant::now() < deadline, "never as quick as it takes");
    }
}

/// Whether the test completed its request within the two seconds that a closing listener waits. Then it
/// must be answered.
async fn is_answered_when_it_closes() -> bool {
    let site = Site::new();
    let app = TestApp::with(&site.redirecting("")).await;
    let to = app.running().redirect_address().expect("an address");
    let began = Instant::now();
    let mut slow = Connection::open(to).await;
    slow.write(b"GET /a HTTP/1.1\r\n").await;
    // Later connections are accepted later.
    let mut later = Connection::open(to).await;
    later.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(later.rest().await.starts_with(b"HTTP/1.1 308 "));
    app.running().stop();
    until(|| (app.running().lifecycle().phase() >= Phase::Closing).then_some(())).await;
    slow.write(b"Host: a\r\n\r\n").await;
    let is_prompt = began.elapsed() < Duration::from_millis(1_500);
    let received = slow.rest().await;
    assert!(!is_prompt || received.starts_with(b"HTTP/1.1 308 "));
    app.stop().await;
    is_prompt
}

#[tokio::test]
async fn the_redirect_listener_follows_a_reload() {
    let site = Site::new();
    let at = |host: &str| {
        let server = format!("hosts = [\"{host}\"]\npublic_url = \"https://{host}\"");
        site.redirecting(&server)
    };
    let app = TestApp::with(&at("one.example.org")).await;
    let received = redirected(&app, "one.example.org").await;
    assert!(
        received.contains("https://one.example.org/a?b=c\r\n"),
        "{received}"
    );
    app.rewrite(&at("two.example.org"));
    let words = app.running().reload().expect("a valid configuration");
    assert_eq!(words, "the configuration is reloaded");
    let received = redirected(&app, "two.example.org").await;
    assert!(
        received.contains("https://two.example.org/a?b=c\r\n"),
        "{received}"
    );
    let received = redirected(&app, "one.example.org").await;
    assert!(received.starts_with("HTTP/1.1 400 "), "{received}");
}

#[tokio::test]
async fn the_redirect_listener_redirects_to_https_and_nowhere_else() {
    let site = Site::new();
    let app = TestApp::with(&site.redirecting("")).await;
    let to = app.running().redirect_address().expect("an address");
    let received = redirected(&app, "app.example.org:80").await;
    assert!(received.starts_with("HTTP/1.1 308 "), "{received}");
    let location = "\r\nlocation: https://app.example.org/a?b=c\r\n";
    assert!(received.contains(location), "{received}");
    let received = redirected(&app, "a@evil").await;
    assert!(received.starts_with("HTTP/1.1 400 "), "{received}");
    assert_eq!(app.upstream.count(), 0);
    let listener = Sockets::at(to);
    app.stop().await;
    listener.closes().await;
}
