//! The life of the real process: reloads, drains, signals, a second one on the same store.

use sidegate::control::reply::Reply;
use sidegate::control::request::Request;
use sidegate::control::wire;
use sidegate::server::Phase;
use tokio::time::Instant;

use crate::actors::Actor;
use crate::client::{Ask, Connection, DEADLINE, begun};
use crate::harness::{TestApp, until};
use crate::program::{PASSWORD, Program, Server};
use crate::scripted::{Held, Refusing, in_front_of};
use crate::sockets::Sockets;

/// How `/open` is answered to a stranger.
async fn open(server: &Server) -> u16 {
    server.anon().get("/open/x").await.status
}

#[tokio::test]
async fn a_reload_takes_good_rules_and_keeps_the_old_ones_before_bad_ones() {
    let program = Program::with_ann();
    let server = program.serve().await;
    assert_eq!(open(&server).await, 401);
    let public = "[[rule]]\npath = \"/open/**\"\naccess = \"public\"";
    program.configure(public);
    assert!(program.done(&["reload"]).contains("reloaded"));
    assert_eq!(open(&server).await, 200);

    for (round, bad) in [
        "[[rule]]\npath = \"no slash\"\naccess = \"public\"",
        "[server",
        "[rul]\nx = 1",
    ]
    .into_iter()
    .enumerate()
    {
        program.configure(bad);
        let ran = program.run(&["reload"]);
        // The command reads the same file first, to find the server.
        assert_eq!(ran.code, Some(2), "{ran:?}");
        server.signal("HUP");
        server
            .said_times("reload refused, the old configuration stays", round + 1)
            .await;
        assert_eq!(open(&server).await, 200);
    }
    program.configure("");
    let reloads = server
        .log()
        .matches("the configuration is reloaded")
        .count();
    server.signal("HUP");
    server
        .said_times("the configuration is reloaded", reloads + 1)
        .await;
    let deadline = Instant::now() + DEADLINE;
    while open(&server).await != 401 {
        assert!(Instant::now() < deadline, "the signal had no effect");
    }
    program.configure("");
    program.configure_server("max_connections = 7");
    let text = std::fs::read_to_string(program.config()).expect("a configuration");
    std::fs::write(program.config(), text.replace("threads = 1", "threads = 2")).expect("a file");
    let told = program.done(&["reload"]);
    assert!(
        told.contains("a restart is needed for server.threads"),
        "{told}"
    );
}

#[tokio::test]
async fn a_reload_that_fails_says_so_to_who_asked() {
    let app = TestApp::start().await;
    app.rewrite("[[rule]]\npath = \"no slash\"\naccess = \"public\"");
    let socket = app.home().join("control.sock");
    let reply = wire::call(&socket, &Request::Reload, DEADLINE).await;
    let Reply::Failed(words) = reply.expect("a reply") else {
        panic!("a bad file was taken");
    };
    assert!(words.contains("path"), "{words}");
    assert_eq!(app.anon().get("/x").await.status, 401);
    app.rewrite("[policy]\ndefault = \"public\"");
    let reply = wire::call(&socket, &Request::Reload, DEADLINE).await;
    assert!(matches!(reply.expect("a reply"), Reply::Done(_)));
    assert_eq!(app.anon().get("/x").await.status, 200);
}

#[tokio::test]
async fn a_second_server_on_the_same_store_is_refused_with_words() {
    let program = Program::with_ann();
    let server = program.serve().await;
    program.configure_store("lock_wait = \"1s\"");
    let second = program.run(&["serve"]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(
        second.err.contains("waiting for at most 1s"),
        "{}",
        second.err
    );
    assert!(
        second.err.contains("in use by another sidegate"),
        "{}",
        second.err
    );
    // The first one has lost nothing, its control socket least of all.
    server.anon().login("ann", PASSWORD).await;
    program.done(&["healthcheck"]);
}

#[tokio::test]
async fn a_server_on_another_socket_is_not_worked_around() {
    let program = Program::with_ann();
    let _server = program.serve().await;
    let other = program.home().join("other.sock");
    program.configure_server(&format!("control = \"{}\"", other.display()));
    let ran = program.run(&["users", "list"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.err.contains("another process holds the store"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn draining_tells_the_health_check_and_goes_on_answering() {
    let program = Program::with_ann();
    program.configure_server("header_timeout = \"60s\"");
    let server = program.serve().await;
    let ask = Ask::new("GET", "/auth/health");
    let bytes = ask.bytes("a");
    // A request that has begun has its own time, however long the commands take.
    let mut kept = Connection::open(server.address).await;
    kept.write(&bytes[..9]).await;
    assert!(program.done(&["healthcheck"]).starts_with("ready"));
    program.done(&["drain"]);
    let ran = program.run(&["healthcheck"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("not ready"), "{}", ran.err);
    // The workers hear of it a moment after the health check does.
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = ask.send_in_time(server.address).await;
        if answer.header("connection").is_some() {
            break;
        }
        assert!(Instant::now() < deadline, "the news never spread");
    }
    kept.write(&bytes[9..]).await;
    let fresh = begun(|| Connection::open(server.address), &bytes).await;
    for mut connection in [kept, fresh] {
        let answer = connection.answer("GET").await;
        let told = (answer.status, answer.header("connection"));
        assert_eq!(told, (200, Some("close")));
        assert!(connection.rest().await.is_empty());
    }
}

#[tokio::test]
async fn who_comes_while_the_news_of_the_end_spreads_is_still_answered() {
    let program = Program::with_ann();
    program.configure_server("drain_delay = \"10m\"\nheader_timeout = \"60s\"");
    let server = program.serve().await;
    let bytes = Ask::new("GET", "/auth/health").bytes("a");
    let mut kept = Connection::open(server.address).await;
    kept.write(&bytes[..9]).await;
    server.signal("TERM");
    server.said("stopping").await;
    until(|| (program.run(&["healthcheck"]).code == Some(1)).then_some(())).await;
    kept.write(&bytes[9..]).await;
    let fresh = begun(|| Connection::open(server.address), &bytes).await;
    for mut connection in [kept, fresh] {
        let answer = connection.answer("GET").await;
        let told = (answer.status, answer.header("connection"));
        assert_eq!(told, (200, Some("close")));
    }
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_signal_to_stop_lets_the_request_in_flight_finish() {
    let held = Held::start();
    let program = Program::with_ann();
    program.configure_for(held.address, "[policy]\ndefault = \"public\"");
    program.configure_server("drain_timeout = \"10m\"");
    let server = program.serve().await;
    let (address, ask) = (server.address, Ask::new("GET", "/slow"));
    let mut connection = Connection::open(address).await;
    connection.write(&ask.bytes("a")).await;
    held.came().await;
    let door = Sockets::at(address);
    server.signal("TERM");
    door.closes().await;
    held.answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nheld\n");
    let answer = connection.answer("GET").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "held\n"));
    assert_eq!(server.ended().await.code(), Some(0));
    // The store is released: the next command works on it by itself.
    assert!(program.done(&["users", "list"]).contains("ann"));
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let held = Held::start();
    let program = Program::with_ann();
    program.configure_for(held.address, "[policy]\ndefault = \"public\"");
    let server = program.serve().await;
    let mut connection = Connection::open(server.address).await;
    connection.write(&Ask::new("GET", "/slow").bytes("a")).await;
    held.came().await;
    server.signal("INT");
    server.said("stopping").await;
    server.signal("INT");
    assert_eq!(server.ended().await.code(), Some(0));
}

#[test]
fn check_explains_a_good_configuration_and_names_every_mistake_in_a_bad_one() {
    let program = Program::new();
    let good = program.done(&["check"]);
    assert!(good.contains("is good"), "{good}");
    assert!(program.run(&["check", "--json"]).json().is_object());
    program.configure("[sessions]\nlifetme = \"1h\"\nidle_timeout = \"soon\"");
    let bad = program.run(&["check"]);
    assert_eq!((bad.code, bad.out.as_str()), (Some(2), ""));
    assert_eq!(bad.err.lines().count(), 2, "{}", bad.err);
    assert!(bad.err.contains("sidegate.toml:"), "{}", bad.err);
    assert!(
        bad.err.contains("did you mean \"lifetime\"?"),
        "{}",
        bad.err
    );
    assert!(
        !program.home().join("data").exists(),
        "a check makes no store"
    );
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_answered() {
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
        at(&over).get("/orders").await.verdict(),
        (401, "session_ended".into())
    );
    assert_eq!(at(&over).try_refresh().await.status, 401);
}

#[tokio::test]
async fn an_application_that_ends_before_its_draining_sidecar_is_no_bad_gateway() {
    let nobody = Refusing::new();
    let app = TestApp::with(&in_front_of(nobody.address)).await;
    let mut kept = Connection::open(app.address).await;
    let ask = Ask::new("GET", "/x");
    let before = kept.ask(&ask).await;
    assert_eq!(before.verdict(), (502, "upstream_unreachable".into()));
    let bytes = ask.bytes("a");
    kept.write(&bytes[..9]).await;
    app.running().lifecycle().advance(Phase::Draining);
    kept.write(&bytes[9..]).await;
    let fresh = begun(|| Connection::open(app.address), &bytes).await;
    for mut connection in [kept, fresh] {
        let answer = connection.answer("GET").await;
        assert_eq!(answer.verdict(), (503, "upstream_unreachable".into()));
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(connection.rest().await.is_empty());
    }
}

#[tokio::test]
async fn idle_connections_of_a_draining_server_go_by_themselves() {
    let app = TestApp::start().await;
    let ask = Ask::new("GET", "/auth/health");
    let mut used = Connection::open(app.address).await;
    assert_eq!(used.ask(&ask).await.status, 200);
    let silent = Connection::open(app.address).await;
    app.running().lifecycle().advance(Phase::Draining);
    for connection in [used, silent] {
        assert!(connection.rest().await.is_empty());
    }
}

#[tokio::test]
async fn a_reload_turns_the_level_of_the_log() {
    let program = Program::with_ann();
    let server = program.serve().await;
    let text = std::fs::read_to_string(program.config()).expect("a configuration");
    let louder = text.replace("[log]", "[log]\nlevel = \"debug\"");
    let reload = async |text: &str, times: usize| {
        std::fs::write(program.config(), text).expect("a configuration");
        program.done(&["reload"]);
        // The log is read in order: all that was said before this is there.
        server.said_times("configuration is reloaded", times).await;
    };
    assert_eq!(open(&server).await, 401);
    reload(&text, 1).await;
    assert!(
        !server.log().contains("missing_token"),
        "refusals are for debug"
    );
    reload(&louder, 2).await;
    assert_eq!(open(&server).await, 401);
    server.said("missing_token").await;
    reload(&text, 3).await;
    let so_far = server.log().matches("missing_token").count();
    assert_eq!(open(&server).await, 401);
    reload(&text, 4).await;
    assert_eq!(server.log().matches("missing_token").count(), so_far);
}
