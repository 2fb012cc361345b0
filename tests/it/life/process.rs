//! The commands `reload` and `check` with the real process, and a second process beside it.

use sidegate::control::reply::Reply;
use sidegate::control::request::Request;
use sidegate::control::wire;
use tokio::time::Instant;

use tokio::task::spawn_blocking;

use crate::support::client::DEADLINE;
use crate::support::harness::TestApp;
use crate::support::program::{PASSWORD, Program, Server};

/// The status of `/open` for an anonymous client.
async fn open(server: &Server) -> u16 {
    server.anon().get("/open/x").await.status
}

#[tokio::test]
async fn a_reload_applies_valid_rules_and_keeps_the_old_ones_on_an_error() {
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
        // The command first reads the same file, to find the server.
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
    let received = program.done(&["reload"]);
    assert!(
        received.contains("a restart is needed for server.threads"),
        "{received}"
    );
}

#[tokio::test]
async fn a_failed_reload_is_reported_to_the_command() {
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
async fn a_second_server_on_the_same_store_is_refused_with_a_message() {
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
    // The first process is unaffected, and so is its control socket.
    server.anon().login("ann", PASSWORD).await;
    program.done(&["healthcheck"]);
}

#[tokio::test]
async fn a_command_does_not_open_the_store_of_a_server_on_another_socket() {
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

#[test]
fn check_explains_a_valid_configuration_and_lists_every_error_of_an_invalid_one() {
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
async fn a_reload_changes_the_log_level() {
    let program = Program::with_ann();
    let server = program.serve().await;
    let text = std::fs::read_to_string(program.config()).expect("a configuration");
    let louder = text.replace("[log]", "[log]\nlevel = \"debug\"");
    let reload = async |text: &str, times: usize| {
        std::fs::write(program.config(), text).expect("a configuration");
        program.done(&["reload"]);
        // The log is read in order: all earlier lines are present.
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
    server.logged("missing_token").await;
    reload(&text, 3).await;
    let so_far = server.log().matches("missing_token").count();
    assert_eq!(open(&server).await, 401);
    reload(&text, 4).await;
    assert_eq!(server.log().matches("missing_token").count(), so_far);
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
        "the first one still serves"
    );
    spawn_blocking(move || drop(app)).await.unwrap();
}

/// An error and its sources, as text.
fn error_text(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        words = format!("{words}: {cause}");
        below = cause.source();
    }
    words
}
