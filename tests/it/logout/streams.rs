//! Open streams end with their session for every cause; a refresh ends none.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use sidegate::service::accounts::Named;

use sidegate::types::time::{Clock as _, Timestamp};
use tokio::time::Instant;

use crate::support::actors::Actor;
use crate::support::client::{Connection, DEADLINE, TestRequest};
use crate::support::harness::{PASSWORD, TestApp};
use crate::support::program::{self, Program};
use crate::support::scripted::{head, serve};
use crate::support::wait::until;
use crate::support::websocket::{SWITCHED, app_before, echo, handshake, send_handshake};

/// A close frame with its reason.
const ENDED: &[u8] = b"\x88\x0f\x03\xf0session ended";

/// An application that begins an answer and then sends nothing until the client closes.
fn waiting(head_and_more: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| {
        while head(&mut stream).is_some() {
            drop(stream.write_all(head_and_more));
            drop(stream.read(&mut [0]));
        }
    })
}

const EVENTS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";

/// Opens an event stream and reads its first event.
async fn listen(actor: &Actor) -> Connection {
    let mut stream = Connection::open(actor.to).await;
    let request = actor.with_credentials(TestRequest::new("GET", "/events"));
    stream.write(&request.bytes("app")).await;
    assert_eq!(stream.only_head().await.status, 200);
    assert_eq!(stream.read(14).await, b"9\r\ndata: 1\n\n\r\n");
    stream
}

/// Waits until this many streams are open.
async fn open_streams(app: &TestApp, count: usize) {
    until(|| (app.service().streams().len() == count).then_some(())).await;
}

#[tokio::test]
async fn a_websocket_is_closed_by_the_end_of_all_sessions() {
    let app = app_before(echo(), "").await;
    let ann = app.user("ann").await;
    let (mut socket, _) = send_handshake(&ann, handshake()).await;
    open_streams(&app, 1).await;
    app.service().operator_end_all().await.expect("an end");
    assert_eq!(socket.read(ENDED.len()).await, ENDED);
    open_streams(&app, 0).await;
    // The clock of the test does not move, and the next log-in still gets a new, valid session.
    let ann = app.login("ann").await;
    let (mut socket, _) = send_handshake(&ann, handshake()).await;
    socket.write(b"\x82\x05hello").await;
    assert_eq!(socket.read(7).await, b"\x82\x05hello");
}

#[tokio::test]
async fn s30_a_websocket_is_closed_with_1008_when_its_session_is_logged_out() {
    let app = app_before(echo(), "").await;
    let ann = app.user("ann").await;
    let other = app.login("ann").await;
    let (mut socket, _) = send_handshake(&ann, handshake()).await;
    let (mut others, _) = send_handshake(&other, handshake()).await;
    socket.write(b"\x82\x05hello").await;
    assert_eq!(socket.read(7).await, b"\x82\x05hello");
    assert_eq!(ann.logout().await.status, 204);
    assert_eq!(socket.rest().await, ENDED);
    // The other session of the user continues.
    others.write(b"\x82\x02hi").await;
    assert_eq!(others.read(4).await, b"\x82\x02hi");
    let log = app.access_log(|log| log.contains("/ws 101")).await;
    assert!(log.contains("session_ended"), "{log}");
}

#[tokio::test]
async fn s30_a_close_frame_follows_a_partly_sent_frame() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = serve(move |mut stream| {
        drop(head(&mut stream));
        drop(stream.write_all(&[SWITCHED, b"\x82\x06abc"].concat()));
        wait.lock().expect("a word").recv().ok();
        drop(stream.write_all(b"def"));
        drop(std::io::copy(&mut stream, &mut std::io::sink()));
    });
    let app = app_before(upstream, "").await;
    let ann = app.user("ann").await;
    let (mut socket, _) = send_handshake(&ann, handshake()).await;
    assert_eq!(socket.read(5).await, b"\x82\x06abc");
    assert_eq!(ann.logout().await.status, 204);
    go.send(()).expect("an application");
    let rest = socket.rest().await;
    // The frame is completed in time. On a busy machine the connection is cut instead, and no frame is
    // inserted into another.
    assert!(
        rest == [b"def", ENDED].concat() || rest.is_empty(),
        "{rest:?}"
    );
}

#[tokio::test]
async fn s30_an_event_stream_ends_with_its_session() {
    let app = app_before(waiting(EVENTS), "").await;
    let ann = app.user("ann").await;
    let mut stream = listen(&ann).await;
    assert_eq!(ann.sessions().await[0]["openStreams"], 1);
    assert_eq!(ann.logout().await.status, 204);
    assert_eq!(stream.read(5).await, b"0\r\n\r\n");
    open_streams(&app, 0).await;
    assert_eq!(ann.get("/events").await.refusal().0, 401);
}

#[tokio::test]
async fn s30_any_other_long_answer_is_cut_with_its_session() {
    let answers: [&[u8]; 2] = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nab",
    ];
    for answer in answers {
        let app = app_before(waiting(answer), "").await;
        let ann = app.user("ann").await;
        let mut stream = Connection::open(app.address).await;
        let request = ann.with_credentials(TestRequest::new("GET", "/slow"));
        stream.write(&request.bytes("app")).await;
        assert_eq!(stream.only_head().await.status, 200);
        open_streams(&app, 1).await;
        assert_eq!(ann.logout().await.status, 204);
        let rest = stream.rest().await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "it looks whole: {rest:?}");
    }
}

#[tokio::test]
async fn s30_every_way_of_ending_a_session_ends_its_streams() {
    let app = app_before(echo(), "[sessions]\nmax_per_user = 3\n").await;
    let service = app.service();
    let ways = [
        "one", "others", "all", "password", "eviction", "disable", "delete", "operator", "reuse",
    ];
    for way in ways {
        let ann = app.user(way).await;
        app.clock.advance(Duration::from_secs(1));
        let other = app.login(way).await;
        let (socket, answer) = send_handshake(&ann, handshake()).await;
        assert_eq!(answer.status, 101);
        let named = Named::parse(way).unwrap();
        match way {
            "one" => {
                let ended = other
                    .delete(&format!("/auth/sessions/{}", ann.session))
                    .await;
                assert_eq!(ended.status, 204);
            }
            "others" => {
                let ended = other.post("/auth/sessions/revoke-all", json!({})).await;
                assert_eq!(ended.json()["revoked"], 1);
            }
            "all" => assert_eq!(other.post_empty("/auth/logout/all").await.status, 200),
            "password" => {
                let body = json!({"current": PASSWORD, "new": "another valid password"});
                let changed = other.post("/auth/password", body).await;
                assert!(changed.status < 300, "{}", changed.text());
            }
            "eviction" => {
                for _ in 0..2 {
                    app.login(way).await;
                }
            }
            "disable" => {
                service.operator_disable(&named).await.unwrap();
            }
            "delete" => {
                service.operator_delete(&named).await.unwrap();
            }
            "operator" => {
                let id = ann.session.parse().unwrap();
                service.operator_end_session(id).await.unwrap();
            }
            _ => {
                let mut first = ann.clone();
                first.refresh().await;
                first.refresh().await;
                assert_eq!(ann.try_refresh().await.status, 401);
            }
        }
        assert_eq!(socket.rest().await, ENDED, "{way}");
    }
    open_streams(&app, 0).await;
}

#[tokio::test]
async fn a_refresh_ends_nothing() {
    let app = app_before(echo(), "").await;
    let mut ann = app.user("ann").await;
    let (mut socket, _) = send_handshake(&ann, handshake()).await;
    for _ in 0..3 {
        ann.refresh().await;
        app.clock.advance(Duration::from_secs(1_000));
        socket.write(b"\x82\x02hi").await;
        assert_eq!(socket.read(4).await, b"\x82\x02hi");
    }
    ann.refresh().await;
    assert_eq!(ann.sessions().await[0]["openStreams"], 1);
}

#[tokio::test]
async fn s30_streams_end_when_the_session_expires() {
    for (lifetime, passed) in [("2h", 7_201), ("7d", 24 * 3_600 + 1)] {
        let app = app_before(echo(), &format!("[sessions]\nlifetime = \"{lifetime}\"\n")).await;
        let ann = app.user("ann").await;
        let (socket, _) = send_handshake(&ann, handshake()).await;
        app.clock.advance(Duration::from_secs(passed));
        assert_eq!(socket.rest().await, ENDED, "{lifetime}");
    }
}

#[tokio::test]
async fn traffic_over_a_websocket_is_activity() {
    let app = app_before(echo(), "[sessions]\nidle_timeout = \"1h\"\n").await;
    let ann = app.user("ann").await;
    let (mut socket, _) = send_handshake(&ann, handshake()).await;
    for _ in 0..4 {
        app.clock.advance(Duration::from_secs(2_000));
        socket.write(b"\x82\x02hi").await;
        assert_eq!(socket.read(4).await, b"\x82\x02hi");
        seen_at(&app, app.clock.now()).await;
    }
}

/// Waits until the only session has this time of last activity, which is written in the background.
async fn seen_at(app: &TestApp, at: Timestamp) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let sessions = app
            .service()
            .operator_sessions(None, None, 10)
            .await
            .unwrap();
        if sessions.iter().any(|session| session.last_active_at == at) {
            return;
        }
        assert!(Instant::now() < deadline, "not in time: {sessions:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn changed_roles_end_the_streams_that_were_opened_with_the_old_ones() {
    let app = app_before(echo(), "").await;
    let ann = app.user("ann").await;
    let (socket, _) = send_handshake(&ann, handshake()).await;
    let roles = sidegate::types::role::Roles::new([]).unwrap();
    let named = Named::parse("ann").unwrap();
    app.service()
        .operator_set_roles(&named, roles)
        .await
        .unwrap();
    assert_eq!(socket.rest().await, ENDED);
}

#[tokio::test]
async fn s30_an_account_disabled_on_the_command_line_loses_its_streams() {
    let program = Program::with_ann();
    program.configure_for(echo(), "");
    let server = program.serve().await;
    let ann = server.anon().login("ann", program::PASSWORD).await;
    let (socket, answer) = send_handshake(&ann, handshake()).await;
    assert_eq!(answer.status, 101);
    assert_eq!(ann.sessions().await[0]["openStreams"], 1);
    program.done(&["users", "disable", "ann"]);
    assert_eq!(socket.rest().await, ENDED);
}
