//! Changes by an operator to a running server: roles, sessions, locks and keys.

use std::os::unix::fs::PermissionsExt as _;

use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;
use sidegate::control::reply::Reply;
use sidegate::control::request::Request;
use sidegate::control::wire;
use sidegate::types::named::Named;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::support::client::DEADLINE;
use crate::support::harness::{TestApp, claims};
use crate::support::program::{PASSWORD, Program};

#[tokio::test]
async fn a_generated_password_is_printed_once_and_logs_in() {
    let program = Program::new();
    let server = program.serve().await;
    let added = program
        .run(&["users", "add", "ann", "--generate", "--json"])
        .json();
    let password = added["password"].as_str().expect("a password");
    server.anon().login("ann", password).await;
    let set = program.done(&["users", "set-password", "ann", "--generate"]);
    let fresh = set.lines().find_map(|line| line.strip_prefix("password  "));
    let fresh = fresh.expect("a password");
    assert_ne!(fresh, password);
    assert_eq!(server.anon().try_login("ann", password).await.status, 401);
    server.anon().login("ann", fresh).await;
    let received =
        program.done(&["audit", "list", "--json"]) + &program.done(&["users", "show", "ann"]);
    assert!(!received.contains(fresh) && !received.contains(password));
}

#[tokio::test]
async fn changed_roles_apply_at_once_and_a_refresh_contains_them() {
    let program = Program::with_ann();
    program.configure("[[rule]]\npath = \"/admin/**\"\nroles = [\"admin\"]");
    let server = program.serve().await;
    let mut ann = server.anon().login("ann", PASSWORD).await;
    assert_eq!(
        ann.get("/admin/x").await.refusal(),
        (403, "missing_role".into())
    );
    program.done(&["users", "set-roles", "ann", "admin"]);
    assert_eq!(
        ann.get("/orders").await.refusal(),
        (401, "token_stale".into())
    );
    ann.refresh().await;
    assert_eq!(claims(&ann.access)["role"], "admin");
    assert_eq!(ann.get("/admin/x").await.status, 200);
    program.done(&["users", "set-roles", "ann"]);
    assert_eq!(
        ann.get("/admin/x").await.refusal(),
        (401, "token_stale".into())
    );
}

#[tokio::test]
async fn a_session_ended_by_an_operator_is_refused_at_once() {
    let program = Program::with_ann();
    let server = program.serve().await;
    let over = || (401, "session_ended".to_owned());
    for order in [
        &["users", "disable", "ann"][..],
        &["sessions", "end", "--user", "ann"],
        &["sessions", "end", "--all"],
        &["users", "set-password", "ann"],
        &["users", "delete", "ann"],
    ] {
        program.run(&["users", "enable", "ann"]);
        let ann = server.anon().login("ann", PASSWORD).await;
        assert_eq!(ann.get("/orders").await.status, 200);
        let ran = program.run_with(order, PASSWORD);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ann.get("/orders").await.refusal(), over(), "{order:?}");
        assert_eq!(ann.try_refresh().await.status, 401, "{order:?}");
    }
    assert_eq!(server.anon().try_login("ann", PASSWORD).await.status, 401);
}

#[tokio::test]
async fn one_session_of_several_is_ended_by_its_id() {
    let program = Program::with_ann();
    let server = program.serve().await;
    let one = server.anon().login("ann", PASSWORD).await;
    let two = server.anon().login("ann", PASSWORD).await;
    let list = program
        .run(&["sessions", "list", "--user", "ann", "--json"])
        .json();
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    let text = list.to_string();
    assert!(text.contains(&one.session) && text.contains(&two.session));
    for secret in ["sg1.", "salt", "eyJ", "argon2"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let ended = program.done(&["sessions", "end", "--id", &one.session]);
    assert_eq!(ended, "1 session ended\n");
    assert_eq!(one.get("/orders").await.status, 401);
    assert_eq!(two.get("/orders").await.status, 200);
    let again = program.done(&["sessions", "end", "--id", &one.session]);
    assert_eq!(again, "0 sessions ended\n");
}

#[tokio::test]
async fn a_rotated_key_signs_and_the_previous_one_still_verifies() {
    let program = Program::with_ann();
    let server = program.serve().await;
    let old = server.anon().login("ann", PASSWORD).await;
    program.done(&["keys", "rotate"]);
    let fresh = server.anon().login("ann", PASSWORD).await;
    for actor in [&old, &fresh] {
        assert_eq!(actor.get("/orders").await.status, 200);
    }
    let kid = |token: &str| {
        let head = token.split('.').next().expect("a header");
        let json = BASE64URL_NOPAD.decode(head.as_bytes()).expect("base64url");
        let head: Value = serde_json::from_slice(&json).expect("JSON");
        head["kid"].as_str().expect("a key id").to_owned()
    };
    assert_ne!(kid(&old.access), kid(&fresh.access));
    let set = server.anon().get("/.well-known/jwks.json").await.json();
    let keys = set["keys"].as_array().expect("keys");
    let shown: Vec<&str> = keys.iter().filter_map(|key| key["kid"].as_str()).collect();
    assert_eq!(shown, [kid(&old.access), kid(&fresh.access)]);
}

#[tokio::test]
async fn the_control_socket_is_for_its_owner_and_refuses_garbage() {
    let app = TestApp::start().await;
    app.account("ann", &["user"]).await;
    let socket = app.home().join("control.sock");
    let mode = std::fs::metadata(&socket)
        .expect("a socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    for garbage in [
        "x\n",
        "{}\n",
        "{\"users_show\":{}}\n",
        "\"nonsense\"\n",
        "GET / HTTP/1.1\r\n\r\n",
        "\n",
    ] {
        let mut stream = UnixStream::connect(&socket).await.expect("a connection");
        stream.write_all(garbage.as_bytes()).await.expect("written");
        stream.shutdown().await.expect("an end");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.contains("failed"), "{garbage:?}: {answer}");
    }
    let user: Named = "ann".parse().expect("a name");
    let reply = wire::call(&socket, &Request::UsersShow { user }, DEADLINE).await;
    let Reply::User(view) = reply.expect("a reply") else {
        panic!("no account");
    };
    assert_eq!(view.username.as_deref(), Some("ann"));
    app.stop().await;
    assert!(!socket.exists(), "the socket is removed with the server");
}

#[tokio::test]
async fn a_lock_is_shown_and_can_be_removed() {
    let program = Program::with_ann();
    program.configure("[login]\nmax_failures = 2");
    let server = program.serve().await;
    for _ in 0..2 {
        server.anon().try_login("ann", "wrong password").await;
    }
    assert_eq!(server.anon().try_login("ann", PASSWORD).await.status, 401);
    let shown = program.run(&["users", "show", "ann", "--json"]).json();
    assert!(shown["lockedUntil"].is_string(), "{shown}");
    assert!(
        program
            .done(&["users", "show", "ann"])
            .contains("locked until")
    );
    assert!(
        program
            .done(&["users", "unlock", "ann"])
            .contains("can log in again")
    );
    server.anon().login("ann", PASSWORD).await;
}
