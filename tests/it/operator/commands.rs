//! Every command of the real program, with and without a server, and its exit code.

use serde_json::{Value, json};

use crate::support::program::{PASSWORD, Program};
use crate::support::wait::until;

/// Every command about accounts, sessions, keys and audit, with the state after each checked.
fn a_tour(program: &Program) {
    let add = [
        "users",
        "add",
        "Bob",
        "--email",
        "bob@example.org",
        "--role",
        "user",
        "--json",
    ];
    let added = program.run_with(&add, PASSWORD).json();
    assert_eq!(added["user"]["username"], "bob");
    assert_eq!(added["password"], Value::Null);
    let id = added["user"]["id"].as_str().expect("an id").to_owned();

    let list = program.run(&["users", "list", "--json"]).json();
    let names: Vec<&str> = list
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|u| u["username"].as_str())
        .collect();
    assert_eq!(names, ["ann", "bob"]);
    assert!(program.done(&["users", "list"]).contains("bob@example.org"));
    assert!(program.done(&["users", "show", "bob"]).contains(&id));

    let show = |by: &str| program.run(&["users", "show", by, "--json"]).json();
    assert_eq!(show("bob@example.org")["id"], id.as_str());
    program.done(&["users", "set-roles", "bob", "admin", "user"]);
    assert_eq!(show(&id)["roles"], json!(["admin", "user"]));
    program.done(&["users", "disable", "bob"]);
    assert_eq!(show("bob")["status"], "disabled");
    program.done(&["users", "enable", "BOB"]);
    assert_eq!(show("bob")["status"], "enabled");
    assert!(
        program
            .done(&["users", "unlock", "bob"])
            .contains("was not locked")
    );
    let set = program.run_with(&["users", "set-password", "bob"], "another passphrase");
    assert_eq!(set.code, Some(0), "{set:?}");

    assert!(
        program
            .run(&["sessions", "list", "--json"])
            .json()
            .is_array()
    );
    assert!(
        program
            .done(&["sessions", "end", "--user", "bob"])
            .contains("0 sessions")
    );
    assert!(
        program
            .done(&["sessions", "end", "--all"])
            .contains("ended")
    );

    let before = program.run(&["keys", "list", "--json"]).json();
    let after = program.run(&["keys", "rotate", "--json"]).json();
    let count = |keys: &Value| keys.as_array().expect("keys").len();
    assert_eq!(count(&after), count(&before) + 1);
    let active = |key: &&Value| key["state"] == "active";
    assert_eq!(
        after
            .as_array()
            .expect("keys")
            .iter()
            .filter(active)
            .count(),
        1
    );

    assert!(
        program
            .done(&["users", "delete", "bob"])
            .contains("deleted")
    );
    let gone = program.run(&["users", "show", "bob"]);
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert!(gone.err.contains("there is no user bob"), "{}", gone.err);
}

/// The actions of the audit log, oldest first.
fn audited(program: &Program) -> Vec<String> {
    let audit = program.run(&["audit", "list", "--json"]).json();
    let records = audit.as_array().expect("records").iter().rev();
    records
        .map(|record| {
            format!(
                "{} {}",
                record["action"].as_str().expect("text"),
                record["actor"].as_str().expect("text")
            )
        })
        .collect()
}

const TOUR: &[&str] = &[
    "sign_up operator",
    "roles_change operator",
    "account_disable operator",
    "account_enable operator",
    "unlock operator",
    "password_change operator",
    "session_end operator",
    "key_rotate operator",
    "account_delete operator",
];

#[tokio::test]
async fn every_command_works_on_a_running_server() {
    let program = Program::with_ann();
    let server = program.serve().await;
    a_tour(&program);
    let all_there = || {
        let words = audited(&program);
        TOUR.iter()
            .all(|w| words.iter().any(|word| word == w))
            .then_some(())
    };
    until(all_there).await;
    assert!(program.done(&["healthcheck"]).starts_with("ready"));
    assert_eq!(server.anon().get("/auth/health").await.status, 200);
}

#[tokio::test]
async fn every_command_works_on_the_store_when_no_server_runs() {
    let program = Program::with_ann();
    a_tour(&program);
    let words = audited(&program);
    let begin = ["sign_up operator"];
    assert_eq!(words, begin.iter().chain(TOUR).copied().collect::<Vec<_>>());
    for command in ["healthcheck", "drain", "reload"] {
        let ran = program.run(&[command]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains("no server is running"), "{}", ran.err);
        assert_eq!(ran.out, "");
    }
    // Changes without a server are visible to the next one.
    let server = program.serve().await;
    server.anon().login("ann", PASSWORD).await;
}

/// A bug: with `::ffff:0:0/96` in the list, `check` accepted the file and `serve` trusted no peer.
#[test]
fn an_invalid_list_of_proxies_stops_both_check_and_serve() {
    for (list, key) in [
        (
            r#"["127.0.0.1/32", "::ffff:0:0/96"]"#,
            "server.trusted_proxies[2]",
        ),
        (r#"["::ffff:10.0.0.0/96"]"#, "server.trusted_proxies[1]"),
        (r#"["::/80"]"#, "server.trusted_proxies[1]"),
        (r#"["0.0.0.0/1", "128.0.0.0/1"]"#, "server.trusted_proxies"),
        (
            r#"["10.0.0.0/8", "fe80::1%eth0"]"#,
            "server.trusted_proxies[2]",
        ),
        (
            r#"["10.0.0.0/8", "10.0.0.0/255.0.0.0"]"#,
            "server.trusted_proxies[2]",
        ),
    ] {
        let program = Program::with_ann();
        program.configure_server(&format!("trusted_proxies = {list}"));
        let received = ["check", "serve"].map(|command| {
            let ran = program.run(&[command]);
            assert_eq!(ran.code, Some(2), "{command} {list}: {ran:?}");
            assert!(ran.err.contains(key), "{command} {list}: {}", ran.err);
            ran.err
        });
        assert_eq!(received[0], received[1], "{list}");
    }
    for (list, warning) in [
        (r#"["10.1.2.3/8"]"#, "means all of 10.0.0.0/8"),
        (
            r#"["10.0.0.0/8", "::ffff:10.0.0.0/104"]"#,
            "is listed twice",
        ),
    ] {
        let program = Program::with_ann();
        program.configure_server(&format!("trusted_proxies = {list}"));
        let ran = program.run(&["check"]);
        assert_eq!(ran.code, Some(0), "{list}: {ran:?}");
        let received = ran.out + &ran.err;
        assert!(received.contains(warning), "{list}: {received}");
    }
}

#[test]
fn exit_codes_distinguish_failures_from_wrong_use() {
    let program = Program::with_ann();
    for failed in [
        &["users", "show", "nobody"][..],
        &["users", "set-roles", "nobody", "user"],
        &["users", "disable", "nobody"],
        &["users", "enable", "nobody"],
        &["users", "unlock", "nobody"],
        &["users", "delete", "nobody"],
        &["sessions", "end", "--user", "nobody"],
        &["audit", "list", "--user", "nobody"],
    ] {
        let ran = program.run(failed);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (Some(1), ""),
            "{failed:?}: {ran:?}"
        );
        assert!(ran.err.contains("there is no user nobody"), "{}", ran.err);
    }
    let taken = program.run_with(&["users", "add", "ANN"], PASSWORD);
    assert_eq!(taken.code, Some(1));
    assert!(taken.err.contains("taken"), "{}", taken.err);
    let weak = program.run_with(&["users", "add", "bob"], "short");
    assert_eq!(weak.code, Some(1), "{weak:?}");
    for wrong in [
        &["users", "add", "bob", "--password", PASSWORD][..],
        &["users", "add", "b b"],
        &["users", "add", "bob"],
        &["users", "set-password", "ann"],
        &["sessions", "end"],
        &["nonsense"],
    ] {
        let ran = program.run(wrong);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (Some(2), ""),
            "{wrong:?}: {ran:?}"
        );
    }
    program.configure("[nonsense]\nkey = 1");
    let bad = program.run(&["users", "list"]);
    assert_eq!(bad.code, Some(2));
    assert!(bad.err.contains("nonsense"), "{}", bad.err);
}

#[test]
fn a_command_on_a_memory_store_needs_a_server() {
    let program = Program::new();
    let text = std::fs::read_to_string(program.config()).expect("a file");
    let sled = format!("sled:{}/data", program.home().display());
    std::fs::write(program.config(), text.replace(&sled, "memory:")).expect("a file");
    let ran = program.run_with(&["users", "add", "ann"], PASSWORD);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("the store is in memory"), "{}", ran.err);
}
