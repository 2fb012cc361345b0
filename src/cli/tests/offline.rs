//! How does a command work without a server?

use super::*;

#[test]
fn store_verify_reports_damage_and_sets_the_exit_code() {
    let app = FakeApp::default();
    let busy = ran(&app, &["store", "verify"]);
    assert_eq!(busy.code, 1);
    assert!(
        busy.err.contains("in use by a running server"),
        "{}",
        busy.err
    );
    let sound = VerifyReport {
        sound: true,
        directory: "./data".to_owned(),
        commit: Some(12),
        acknowledged: Some(12),
        records: 70,
        ..VerifyReport::default()
    };
    *app.verified.borrow_mut() = Some(sound.clone());
    let outcome = ran(&app, &["store", "verify"]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(outcome.out.contains("last commit   12"), "{}", outcome.out);
    assert!(
        outcome.err.contains("read 10000 records"),
        "{}",
        outcome.err
    );
    *app.verified.borrow_mut() = Some(VerifyReport {
        sound: false,
        problems: vec!["3 commits are lost".to_owned()],
        ..sound
    });
    let outcome = ran(&app, &["store", "verify", "--json"]);
    assert_eq!(outcome.code, 1);
    let json: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(json["sound"], false);
    assert_eq!(json["problems"][0], "3 commits are lost");
    assert!(
        outcome.err.contains("sidegate store salvage"),
        "{}",
        outcome.err
    );
    let outcome = ran(&app, &["store", "salvage", "new"]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(outcome.out.contains("7 accounts"), "{}", outcome.out);
}

#[test]
fn a_start_on_an_empty_store_or_other_keys_needs_an_option() {
    for (flags, new_store, new_keys) in [
        (&["serve"] as &[&str], false, false),
        (&["serve", "--new-store"], true, false),
        (&["serve", "--new-keys"], false, true),
    ] {
        let app = FakeApp::default();
        assert_eq!(ran(&app, flags).code, 0);
        let start = Start {
            new_store,
            new_keys,
        };
        assert_eq!(*app.start.borrow(), start);
    }
}

#[test]
fn serve_receives_the_configuration_and_a_way_to_reload_it() {
    let app = FakeApp::default();
    let outcome = ran(&app, &["serve"]);
    assert_eq!(
        (outcome.code, *app.served.borrow()),
        (0, 1),
        "{}",
        outcome.err
    );
    let demo = ran(&app, &["demo"]);
    assert_eq!(
        (demo.code, demo.err.as_str()),
        (1, "sidegate: the port is taken\n")
    );
}

#[test]
fn without_a_server_a_command_works_on_the_store() {
    let app = FakeApp::answering([Ok(Reply::User(Box::new(ann())))]);
    let outcome = ran(
        &app,
        &["users", "add", "ann", "--role", "admin", "--role", "user"],
    );
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    insta::assert_snapshot!("users_add", outcome.out);
    let asked = app.asked.borrow();
    let [
        Request::UsersAdd {
            username,
            roles,
            password,
            ..
        },
    ] = asked.as_slice()
    else {
        panic!("asked {asked:?}");
    };
    assert_eq!((username.as_str(), roles.len()), ("ann", 2));
    assert_eq!(password.expose(), "blue kettle on fire");
    assert!(
        !outcome.out.contains("kettle"),
        "a typed password is not shown"
    );
}

#[test]
fn a_generated_password_is_shown_once_and_is_the_one_that_is_set() {
    let app = FakeApp::answering([Ok(Reply::Done("the password is set".to_owned()))]);
    let outcome = ran(&app, &["users", "set-password", "ann", "--generate"]);
    let asked = app.asked.borrow();
    let [Request::UsersSetPassword { password, .. }] = asked.as_slice() else {
        panic!("asked {asked:?}");
    };
    assert_eq!(password.expose().len(), 29);
    assert_eq!(
        outcome.out,
        format!("the password is set\npassword  {}\n", password.expose())
    );
    let app = FakeApp::answering([Ok(Reply::User(Box::new(ann())))]);
    let outcome = ran(&app, &["users", "add", "ann", "--generate", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(value["user"]["username"], "ann");
    assert_eq!(value["password"].as_str().unwrap().len(), 29);
}

#[test]
fn an_empty_standard_input_instead_of_a_password_is_wrong_usage() {
    let app = FakeApp::default();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console {
        out: &mut out,
        err: &mut err,
        password: &mut |_: &str| Err(io::Error::other("there is no password on standard input")),
        env: vec![(
            "SIDEGATE__UPSTREAM__URL".to_owned(),
            "unix:/run/app.sock".to_owned(),
        )],
        random: &SeededRandom::new(7),
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let args = ["sidegate", "users", "add", "ann", "--config", path].map(OsString::from);
    assert_eq!(run(args, &app, &mut console), 2);
    assert_eq!(
        String::from_utf8(err).unwrap(),
        "sidegate: there is no password on standard input; \
         write it to standard input, or use --generate\n"
    );
}

#[test]
fn drain_reload_and_health_need_a_running_server() {
    let app = FakeApp::default();
    let dir = tempfile::tempdir().unwrap();
    for command in ["healthcheck", "drain", "reload"] {
        let outcome = ran_in(dir.path(), &app, &[command]);
        assert_eq!(outcome.code, 1);
        let socket = dir.path().join("control.sock");
        assert_eq!(
            outcome.err,
            format!(
                "sidegate: no server is running: nothing answers on {}\n",
                socket.display()
            )
        );
    }
    assert!(app.asked.borrow().is_empty());
}

#[test]
fn a_locked_store_without_a_server_is_explained() {
    let app = FakeApp::answering([Err(OfflineError::StoreLocked)]);
    let outcome = ran(&app, &["users", "list"]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .err
            .contains("another process holds the store, yet no server answers on")
    );
    let app = FakeApp::answering([Err(OfflineError::Failed("the disk is full".to_owned()))]);
    let outcome = ran(&app, &["users", "list"]);
    assert_eq!(
        (outcome.code, outcome.err.as_str()),
        (1, "sidegate: the disk is full\n")
    );
    let env = [
        ("SIDEGATE__UPSTREAM__URL", "http://127.0.0.1:3000"),
        ("SIDEGATE__STORE__URL", "memory:"),
        ("SIDEGATE__SERVER__CONTROL", ""),
    ];
    let app = FakeApp::default();
    let outcome = ran_with(&env, &app, &["users", "list"]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.err.contains("the store is in memory"),
        "{}",
        outcome.err
    );
    assert!(app.asked.borrow().is_empty());
}

#[test]
fn a_refusal_is_printed_and_has_exit_code_one() {
    let app = FakeApp::answering([Ok(Reply::Failed("there is no user ann".to_owned()))]);
    let outcome = ran(&app, &["users", "show", "ann"]);
    assert_eq!((outcome.code, outcome.out.as_str()), (1, ""));
    assert_eq!(outcome.err, "sidegate: there is no user ann\n");
    let app = FakeApp::answering([Ok(Reply::Ended(1))]);
    let outcome = ran(&app, &["users", "show", "ann"]);
    assert_eq!(outcome.code, 1);
}
