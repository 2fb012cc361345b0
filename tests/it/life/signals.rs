//! Signals to the real process: requests in progress are answered, and health checks show the stop.

use sidegate::net::Phase;
use tokio::time::Instant;

use crate::support::actors::Actor;
use crate::support::client::{Connection, DEADLINE, TestRequest, send_until_answered};
use crate::support::harness::TestApp;
use crate::support::program::{PASSWORD, Program};
use crate::support::scripted::{ManualApp, RefusingPort, public_upstream};
use crate::support::sockets::Sockets;
use crate::support::wait::until;

#[tokio::test]
async fn a_drain_fails_the_health_check_and_still_serves_requests() {
    let program = Program::with_ann();
    program.configure_server("header_timeout = \"60s\"");
    let server = program.serve().await;
    let request = TestRequest::new("GET", "/auth/health");
    let bytes = request.bytes("a");
    // A request that has begun has its own timeout, independent of the duration of the commands.
    let mut kept = Connection::open(server.address).await;
    kept.write(&bytes[..9]).await;
    assert!(program.done(&["healthcheck"]).starts_with("ready"));
    program.done(&["drain"]);
    let ran = program.run(&["healthcheck"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("not ready"), "{}", ran.err);
    // The workers are notified shortly after the health check.
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = request.send_in_time(server.address).await;
        if answer.header("connection").is_some() {
            break;
        }
        assert!(Instant::now() < deadline, "the workers were never notified");
    }
    kept.write(&bytes[9..]).await;
    let fresh = send_until_answered(|| Connection::open(server.address), &bytes).await;
    for mut connection in [kept, fresh] {
        let answer = connection.answer("GET").await;
        let received = (answer.status, answer.header("connection"));
        assert_eq!(received, (200, Some("close")));
        assert!(connection.rest().await.is_empty());
    }
}

#[tokio::test]
async fn a_client_that_connects_during_the_drain_delay_is_served() {
    let program = Program::with_ann();
    program.configure_server("drain_delay = \"10m\"\nheader_timeout = \"60s\"");
    let server = program.serve().await;
    let bytes = TestRequest::new("GET", "/auth/health").bytes("a");
    let mut kept = Connection::open(server.address).await;
    kept.write(&bytes[..9]).await;
    server.signal("TERM");
    server.logged("stopping").await;
    until(|| (program.run(&["healthcheck"]).code == Some(1)).then_some(())).await;
    kept.write(&bytes[9..]).await;
    let fresh = send_until_answered(|| Connection::open(server.address), &bytes).await;
    for mut connection in [kept, fresh] {
        let answer = connection.answer("GET").await;
        let received = (answer.status, answer.header("connection"));
        assert_eq!(received, (200, Some("close")));
    }
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_stop_signal_lets_the_request_in_progress_finish() {
    let held = ManualApp::start();
    let program = Program::with_ann();
    program.configure_for(held.address, "[policy]\ndefault = \"public\"");
    program.configure_server("drain_timeout = \"10m\"");
    let server = program.serve().await;
    let (address, request) = (server.address, TestRequest::new("GET", "/slow"));
    let mut connection = Connection::open(address).await;
    connection.write(&request.bytes("a")).await;
    held.next_request().await;
    let listener = Sockets::at(address);
    server.signal("TERM");
    listener.closes().await;
    held.answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nheld\n");
    let answer = connection.answer("GET").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "held\n"));
    assert_eq!(server.ended().await.code(), Some(0));
    // The store is released: the next command opens it directly.
    assert!(program.done(&["users", "list"]).contains("ann"));
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let held = ManualApp::start();
    let program = Program::with_ann();
    program.configure_for(held.address, "[policy]\ndefault = \"public\"");
    let server = program.serve().await;
    let mut connection = Connection::open(server.address).await;
    connection
        .write(&TestRequest::new("GET", "/slow").bytes("a"))
        .await;
    held.next_request().await;
    server.signal("INT");
    server.logged("stopping").await;
    server.signal("INT");
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_kill_loses_no_acknowledged_write() {
    let program = Program::with_ann();
    let server = program.serve().await;
    let live = server.anon().login("ann", PASSWORD).await;
    let over = server.anon().login("ann", PASSWORD).await;
    assert_eq!(over.logout().await.status, 204);
    server.signal("KILL");
    server.ended().await;
    let server = program.serve().await;
    let at = |actor: &Actor| {
        let mut actor = actor.clone();
        actor.to = server.address;
        actor
    };
    assert_eq!(at(&live).get("/orders").await.status, 200);
    assert_eq!(
        at(&over).get("/orders").await.refusal(),
        (401, "session_ended".into())
    );
    assert_eq!(at(&over).try_refresh().await.status, 401);
}

#[tokio::test]
async fn an_application_that_stops_before_the_draining_sidecar_causes_no_502() {
    let nobody = RefusingPort::new();
    let app = TestApp::with(&public_upstream(nobody.address)).await;
    let mut kept = Connection::open(app.address).await;
    let request = TestRequest::new("GET", "/x");
    let before = kept.request(&request).await;
    assert_eq!(before.refusal(), (502, "upstream_unreachable".into()));
    let bytes = request.bytes("a");
    kept.write(&bytes[..9]).await;
    app.running().lifecycle().advance(Phase::Draining);
    kept.write(&bytes[9..]).await;
    let fresh = send_until_answered(|| Connection::open(app.address), &bytes).await;
    for mut connection in [kept, fresh] {
        let answer = connection.answer("GET").await;
        assert_eq!(answer.refusal(), (503, "upstream_unreachable".into()));
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(connection.rest().await.is_empty());
    }
}

#[tokio::test]
async fn idle_connections_of_a_draining_server_are_closed() {
    let app = TestApp::start().await;
    let request = TestRequest::new("GET", "/auth/health");
    let mut used = Connection::open(app.address).await;
    assert_eq!(used.request(&request).await.status, 200);
    let silent = Connection::open(app.address).await;
    app.running().lifecycle().advance(Phase::Draining);
    for connection in [used, silent] {
        assert!(connection.rest().await.is_empty());
    }
}
