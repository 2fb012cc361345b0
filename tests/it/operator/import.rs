//! The command `sidegate users import` of the real program.

use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::program::{PASSWORD, Program, Ran};
use crate::support::wait::until;

/// Hashes of `PASSWORD`, of htpasswd (Apache 2.4.71), Django 5.2.19 and passlib 1.7.4.
const APR1: &str = "$apr1$0PYHfMaN$RZFO/F6Nre5/HRiUAPjIS/";
const BCRYPT: &str = "$2y$05$KO3odOG9uhyVo2bN5pIlxO/XrU4yWIG.9F8JzgEvZ5p7MVda16Sxe";
const SHA: &str = "{SHA}Vil3I8rG9S4dozMU1QNnIqCTPr0=";
const PBKDF2: &str =
    "pbkdf2_sha256$1000$saltSALT12345678$LLfY1Aamz+TXN1pcge71FMY+L8PTDhLiwI6UmH3+0iI=";
const PBKDF2_SHA1: &str = "pbkdf2_sha1$1000$saltSALT12345678$WhUMH+jJmblMxxzzYUP4Qv7zGiw=";
const SCRYPT: &str =
    "$scrypt$ln=8,r=8,p=2$PmfMeQ/BeO+dk3IuJaRU6g$4l/JA+GGZb0ppET3U4syA/kpUcouUM0tl4OjYTj+Ay8";
const SCRYPT_DJANGO: &str = "scrypt$1024$saltSALT12345678$8$5$Os1oPRNyYdicAtEPYMOdb+1qt4RSVjm+/pGd/NKhi7AfdXf1DDIWezIhKzSr4dW49O2HFU+S/Ztxvx01neeyag==";
const ARGON2I: &str =
    "$argon2i$v=19$m=64,t=2,p=1$AQAAwNhb6x1DyFkLofT+Pw$g+WsaFlqhKpZAH0UgaPVm3vrvjGxDB19kiXqZ0yX/WU";
const ARGON2ID: &str = "$argon2id$v=19$m=64,t=2,p=1$8X6vtfYeI0RIyRnjHINQig$6q/AHe+mADn4ZQtbgOBOg0KEnbLx+FKwy9hP+VIvMqM";

/// Imports a file with this name and content.
fn import(program: &Program, name: &str, text: &str, also: &[&str]) -> (Ran, Value) {
    let file = program.home().join(name);
    fs::write(&file, text).expect("a file");
    let file = file.to_str().expect("a path");
    let ran = program.run(&[&["users", "import", file, "--json"], also].concat());
    for hash in [APR1, BCRYPT, SHA, PBKDF2, SCRYPT, ARGON2ID] {
        let (_, tail) = hash.split_at(hash.len() - 10);
        let is_printed = ran.out.contains(tail) || ran.err.contains(tail);
        assert!(!is_printed, "a hash was printed: {ran:?}");
    }
    let report = serde_json::from_str(&ran.out).unwrap_or_default();
    (ran, report)
}

fn numbers(report: &Value) -> [u64; 4] {
    ["lines", "imported", "skipped", "refused"].map(|name| report[name].as_u64().expect("a number"))
}

fn files() -> [(&'static str, String, u64); 3] {
    let csv = format!(
        "username,email,roles,password_hash\n\
         c1,c1@example.org,\"admin,user\",{PBKDF2}\n\
         c2,,user,{PBKDF2_SHA1}\n\
         c3,,,{SCRYPT_DJANGO}\n\
         ,c4@example.org,,\"{SCRYPT}\"\n"
    );
    let json = [("j1", ARGON2I), ("j2", ARGON2ID)]
        .map(|(name, hash)| json!({"username": name, "name": "J", "password_hash": hash}));
    [
        (
            "site.htpasswd",
            format!("# people\nh1:{APR1}\nh2:{BCRYPT}\nh3@example.org:{SHA}\n"),
            3,
        ),
        ("people.csv", csv, 4),
        ("people.jsonl", format!("{}\n{}\n", json[0], json[1]), 2),
    ]
}

const NAMES: [&str; 9] = [
    "h1",
    "h2",
    "h3@example.org",
    "c1",
    "c2",
    "c3",
    "c4@example.org",
    "j1",
    "j2",
];

#[tokio::test]
async fn files_of_each_format_are_imported_into_a_running_server() {
    let program = Program::with_ann();
    let server = program.serve().await;
    for (name, text, count) in files() {
        let (ran, report) = import(&program, name, &text, &["--dry-run"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(numbers(&report), [count, count, 0, 0]);
    }
    let users = program.run(&["users", "list", "--json"]).json();
    assert_eq!(
        users.as_array().map(Vec::len),
        Some(1),
        "nothing was written"
    );
    for (name, text, count) in files() {
        let (ran, report) = import(&program, name, &text, &["--role", "guest"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(numbers(&report), [count, count, 0, 0]);
        for also in [&[][..], &["--dry-run"]] {
            let (again, report) = import(&program, name, &text, also);
            assert_eq!(again.code, Some(0), "{again:?}");
            assert_eq!(numbers(&report), [count, 0, count, 0], "a repetition");
        }
    }
    for name in NAMES {
        let wrong = server.anon().try_login(name, "blue kettle on ice").await;
        assert_eq!(wrong.status, 401, "{name}");
        for _ in 0..2 {
            let right = server.anon().try_login(name, PASSWORD).await;
            assert_eq!(right.status, 200, "{name}: {}", right.text());
        }
    }
    let c1 = program.run(&["users", "show", "c1", "--json"]).json();
    assert_eq!(c1["roles"], json!(["admin", "user"]));
    assert_eq!(c1["emailVerified"], true);
    let h1 = program.run(&["users", "show", "h1", "--json"]).json();
    assert_eq!(
        h1["roles"],
        json!(["guest"]),
        "the role for lines without one"
    );
}

#[tokio::test]
async fn without_a_server_the_store_is_opened_and_the_audit_log_has_the_numbers() {
    let program = Program::with_ann();
    let text = format!("ann:{SHA}\nbob:{BCRYPT}\ncid:plain\n");
    let (ran, report) = import(&program, "a.htpasswd", &text, &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(numbers(&report), [3, 1, 1, 1]);
    let list = ["audit", "list", "--type", "accounts_import", "--json"];
    let records = program.run(&list).json();
    let outcomes: Vec<&str> = records
        .as_array()
        .expect("records")
        .iter()
        .filter_map(|record| record["outcome"].as_str())
        .collect();
    assert_eq!(outcomes, ["imported 1, skipped 1, refused 1", "begun"]);
    let server = program.serve().await;
    let bob = server.anon().try_login("bob", PASSWORD).await;
    assert_eq!(bob.status, 200, "{}", bob.text());
    // The password that `users add` has set, not the one of the file.
    assert_eq!(server.anon().try_login("ann", PASSWORD).await.status, 200);
    assert_eq!(server.anon().try_login("cid", "plain").await.status, 401);
}

#[test]
fn damaged_lines_are_reported_with_number_and_reason_and_the_others_are_imported() {
    let program = Program::with_ann();
    let dear = BCRYPT.replace("$05$", "$31$");
    let text = format!(
        "username,email,mobile,name,roles,password_hash\n\
         admin,,,,,{SHA}\n\
         two,x,,,,{SHA}\n\
         three,,12,,,{SHA}\n\
         four,,,a\u{202e}b,,{SHA}\n\
         five,,,,a/b,{SHA}\n\
         six,,,,,Lj7z7A3qyPFQo\n\
         seven,,,,,$2y$05$short\n\
         eight,,,,,{dear}\n\
         -nine,,,,,{SHA}\n\
         te n,,,,,{SHA}\n\
         eleven,t@example.org,,,,{SHA}\n\
         twelve,T@example.org,,,,{SHA}\n\
         \"thirteen,,,,,{SHA}\n\
         fourteen,,,{},,{SHA}\n\
         ADMIN,,,,,{SHA}\n",
        "n".repeat(129)
    );
    let expected = json!([
        [3, "email"],
        [4, "mobile"],
        [5, "name"],
        [6, "roles"],
        [7, "hash_unknown"],
        [8, "hash_damaged"],
        [9, "hash_too_expensive"],
        [10, "username"],
        [11, "username"],
        [13, "duplicate"],
        [14, "line"],
        [15, "name"],
        [16, "duplicate"],
    ]);
    for also in [&["--dry-run"][..], &[]] {
        let (ran, report) = import(&program, "people.csv", &text, also);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert_eq!(numbers(&report), [15, 2, 0, 13]);
        let mut lines: Vec<Value> = report["refusedLines"]
            .as_array()
            .expect("lines")
            .iter()
            .map(|refused| json!([refused["line"], refused["reason"]]))
            .collect();
        lines.sort_by_key(|line| line[0].as_u64());
        assert_eq!(Value::from(lines), expected);
        assert_eq!(report["reasons"]["username"], 2);
        assert!(
            ran.err
                .contains("line 7: hash_unknown: not a hash of a known kind"),
            "{}",
            ran.err
        );
    }
    // As with `users add`, an operator may use a reserved name.
    assert!(program.done(&["users", "show", "admin"]).contains("admin"));
    // An address that another account has.
    let taken = format!("username,email,password_hash\nother,t@example.org,{SHA}\n");
    for also in [&["--dry-run"][..], &[]] {
        let (ran, report) = import(&program, "taken.csv", &taken, also);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert_eq!(report["reasons"], json!({"taken": 1}));
    }
    let (ran, _) = import(&program, "odd.csv", "username,shoe_size\nann,44\n", &[]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[tokio::test]
async fn an_import_that_was_killed_is_completed_by_a_repetition() {
    let program = Program::with_ann();
    let _server = program.serve().await;
    let mut text = String::new();
    for n in 0..3_000 {
        writeln!(text, "u{n}:{SHA}").expect("a text");
    }
    let file = program.home().join("many.htpasswd");
    fs::write(&file, &text).expect("a file");
    let mut child = program
        .command()
        .args(["users", "import"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a process");
    until(|| (program.run(&["users", "show", "u0"]).code == Some(0)).then_some(())).await;
    // It may have ended already.
    drop(child.kill());
    drop(child.wait());
    let (ran, report) = import(&program, "many.htpasswd", &text, &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let [lines, imported, skipped, refused] = numbers(&report);
    assert_eq!((lines, imported + skipped, refused), (3_000, 3_000, 0));
    assert!(skipped >= 1, "the first account was there");
}
