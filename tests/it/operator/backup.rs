//! The commands `sidegate backup` and `sidegate restore` of the real program.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::support::actors::Actor;
use crate::support::program::{PASSWORD, Program, Ran, Server};

const PASSPHRASE: &str = "a passphrase that is long enough";

fn json(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.out).expect("JSON")
}

fn backup(program: &Program, also: &[&str]) -> (PathBuf, Value) {
    let file = program.home().join("a.backup");
    let to = file.to_str().expect("a path").to_owned();
    let args = [&["backup", to.as_str(), "--json"], also].concat();
    (file, json(&program.run(&args)))
}

fn restore(program: &Program, file: &Path, also: &[&str]) -> Ran {
    let file = file.to_str().expect("a path");
    program.run(&[&["restore", file, "--json"], also].concat())
}

/// Another installation with the keys of the first one.
fn elsewhere(program: &Program) -> Program {
    let other = Program::new();
    copy_keys(program, &other);
    other
}

fn copy_keys(from: &Program, to: &Program) {
    fs::create_dir(to.home().join("keys")).expect("a folder");
    for entry in fs::read_dir(from.home().join("keys")).expect("keys") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.home().join("keys").join(entry.file_name())).expect("a copy");
    }
}

fn at(actor: &Actor, server: &Server) -> Actor {
    let mut actor = actor.clone();
    actor.to = server.address;
    actor
}

#[tokio::test]
async fn a_backup_made_during_log_ins_restores_with_the_same_content() {
    let program = Arc::new(Program::with_ann());
    program.configure("[limits]\nlogin = \"100000/s\"");
    let server = program.serve().await;
    let before = server.anon().login("ann", PASSWORD).await;
    let over = server.anon().login("ann", PASSWORD).await;
    assert_eq!(over.logout().await.status, 204);
    let is_over = AtomicBool::new(false);
    let busy = async {
        let mut logins = 0;
        while !is_over.load(Ordering::Relaxed) {
            server.anon().login("ann", PASSWORD).await;
            logins += 1;
        }
        logins
    };
    let working = Arc::clone(&program);
    let saving = async {
        let saved = spawn_blocking(move || backup(&working, &[])).await;
        is_over.store(true, Ordering::Relaxed);
        saved.expect("a backup")
    };
    let (logins, (file, received)) = tokio::join!(busy, saving);
    assert!(logins > 0, "requests go on meanwhile");
    let mode = fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let other = elsewhere(&program);
    let restored = json(&restore(&other, &file, &["--keep-sessions"]));
    assert_eq!(restored["sha256"], received["sha256"]);
    assert_eq!(restored["sessions"], received["sessions"]);
    let (_, again) = backup(&other, &[]);
    assert_eq!(
        again["sha256"], received["sha256"],
        "the stores have the same content"
    );
    let moved = other.serve().await;
    assert_eq!(at(&before, &moved).get("/orders").await.status, 200);
    assert_eq!(at(&before, &moved).try_refresh().await.status, 200);
    assert_eq!(at(&over, &moved).get("/orders").await.status, 401);
    assert_eq!(at(&over, &moved).try_refresh().await.status, 401);
}

#[tokio::test]
async fn every_session_of_a_restored_backup_is_ended_also_for_unexpired_tokens() {
    let program = Program::with_ann();
    let server = program.serve().await;
    let ann = server.anon().login("ann", PASSWORD).await;
    let (file, received) = backup(&program, &[]);
    // This session began after the backup: the restored store does not contain it.
    let later = server.anon().login("ann", PASSWORD).await;
    let other = elsewhere(&program);
    let restored = json(&restore(&other, &file, &[]));
    assert_eq!(
        (&restored["sessions"], &received["sessions"]),
        (&1.into(), &1.into())
    );
    assert_eq!(restored["sessionsKept"], false);
    assert_ne!(restored["sha256"], received["sha256"]);
    let (_, again) = backup(&other, &[]);
    assert_eq!(again["sha256"], restored["sha256"]);
    let moved = other.serve().await;
    for actor in [&ann, &later] {
        let actor = at(actor, &moved);
        assert_eq!(actor.get("/orders").await.status, 401, "the first request");
        assert_eq!(actor.try_refresh().await.status, 401);
    }
    let fresh = moved.anon().login("ann", PASSWORD).await;
    assert_eq!(fresh.get("/orders").await.status, 200);
}

#[test]
fn a_backup_that_is_cut_or_changed_changes_nothing() {
    let program = Program::with_ann();
    let (file, _) = backup(&program, &[]);
    let bytes = fs::read(&file).expect("a backup");
    let mut flipped = bytes.clone();
    let middle = bytes.len() / 2;
    flipped[middle] ^= 1;
    let version = String::from_utf8_lossy(&bytes[..200]).find("\"format\":1");
    assert!(version.is_some());
    for (name, bytes, words) in [
        ("cut", bytes[..bytes.len() - 1].to_vec(), "cut off"),
        ("empty", Vec::new(), "not a backup"),
        (
            "other",
            b"PK\x03\x04 something else".to_vec(),
            "not a backup",
        ),
        ("flipped", flipped, "damaged at byte"),
        (
            "longer",
            [bytes.as_slice(), b"\0"].concat(),
            "follows its end",
        ),
    ] {
        let other = elsewhere(&program);
        let bad = other.home().join(name);
        fs::write(&bad, bytes).expect("a file");
        let ran = restore(&other, &bad, &[]);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (Some(1), ""),
            "{name}: {ran:?}"
        );
        assert!(ran.err.contains(words), "{name}: {}", ran.err);
        assert!(
            ran.err.contains("nothing was changed"),
            "{name}: {}",
            ran.err
        );
        assert!(!other.home().join("data").exists(), "{name}");
    }
}

#[tokio::test]
async fn keys_are_included_on_request_and_only_with_the_passphrase() {
    let program = Program::with_ann();
    let server = program.serve().await;
    let ann = server.anon().login("ann", PASSWORD).await;
    let secret = program.home().join("passphrase");
    fs::write(&secret, format!("{PASSPHRASE}\n")).expect("a file");
    let secret = secret.to_str().expect("a path");
    let sealed = ["--with-keys", "--passphrase-file", secret];
    let (file, received) = backup(&program, &sealed);
    assert_eq!(received["withKeys"], true);
    let bytes = fs::read(&file).expect("a backup");
    for entry in fs::read_dir(program.home().join("keys")).expect("keys") {
        let path = entry.expect("an entry").path();
        let is_key = path.extension().is_some_and(|e| e == "key" || e == "pem");
        let key = fs::read(&path).expect("a key");
        let part = &key[key.len() / 3..key.len() / 3 + 16];
        let found = bytes.windows(16).any(|window| window == part);
        assert!(!(is_key && found), "{} lies open in it", path.display());
    }

    let other = Program::new();
    let wrong = other.home().join("wrong");
    fs::write(&wrong, "not the passphrase at all").expect("a file");
    let wrong = wrong.to_str().expect("a path");
    let ran = restore(&other, &file, &["--passphrase-file", wrong]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("passphrase is wrong"), "{}", ran.err);
    for name in ["data", "keys"] {
        assert!(!other.home().join(name).exists(), "{name}");
    }
    let ran = restore(
        &other,
        &file,
        &["--keep-sessions", "--passphrase-file", secret],
    );
    assert_eq!(json(&ran)["keys"], "restored");
    let moved = other.serve().await;
    assert_eq!(at(&ann, &moved).get("/orders").await.status, 200);

    // The passphrase may be typed, and a short one is refused.
    let to = program.home().join("typed.backup");
    let typed = ["backup", to.to_str().expect("a path"), "--with-keys"];
    assert_eq!(program.run_with(&typed, PASSPHRASE).code, Some(0));
    let short = program.run_with(&typed, "short");
    assert_eq!(short.code, Some(1), "{short:?}");
    assert!(short.err.contains("fewer than 12"), "{}", short.err);
    assert_eq!(program.run_with(&typed, "").code, Some(2));
}

#[test]
fn a_backup_without_its_keys_is_restored_only_with_an_option() {
    let program = Program::with_ann();
    let (file, received) = backup(&program, &[]);
    assert_eq!(received["withKeys"], false);
    let bare = Program::new();
    let ran = restore(&bare, &file, &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("there are no keys in"), "{}", ran.err);
    assert!(ran.err.contains("--reset-factors"), "{}", ran.err);
    assert!(!bare.home().join("data").exists());
    let strange = Program::with_ann();
    fs::remove_dir_all(strange.home().join("data")).expect("a store");
    let ran = restore(&strange, &file, &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("are not those"), "{}", ran.err);
    let ran = restore(&strange, &file, &["--reset-factors"]);
    assert_eq!(json(&ran)["keys"], "other");
    let users = strange.run(&["users", "list", "--json"]).json();
    assert_eq!(users.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_store_is_replaced_only_on_request_and_never_while_in_use() {
    let program = Program::with_ann();
    let (file, _) = backup(&program, &[]);
    let added = program.run_with(&["users", "add", "bob"], PASSWORD);
    assert_eq!(added.code, Some(0), "{added:?}");
    let server = program.serve().await;
    let ran = restore(&program, &file, &["--replace"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("a server runs"), "{}", ran.err);
    server.signal("TERM");
    server.ended().await;
    let ran = restore(&program, &file, &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("--replace"), "{}", ran.err);
    let count = || {
        let users = program.run(&["users", "list", "--json"]).json();
        users.as_array().map(Vec::len)
    };
    assert_eq!(count(), Some(2), "nothing was changed");
    let restored = json(&restore(&program, &file, &["--replace"]));
    assert_eq!(restored["keys"], "kept");
    let replaced = restored["replaced"].as_str().expect("a folder");
    assert!(Path::new(replaced).join("db").exists());
    assert_eq!(count(), Some(1));
    let server = program.serve().await;
    server.anon().login("ann", PASSWORD).await;
}

#[tokio::test]
async fn a_backup_that_cannot_be_written_leaves_no_file() {
    let program = Program::with_ann();
    let home = program.home().to_owned();
    for to in ["/dev/full", "/nonexistent/a.backup"] {
        let ran = program.run(&["backup", to]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{to}: {ran:?}");
        assert!(ran.err.contains("cannot be written"), "{to}: {}", ran.err);
    }
    // Space for the beginning only.
    let to = home.join("half.backup");
    let script = format!(
        "ulimit -f 1; trap '' XFSZ; exec {} --config {} backup {}",
        env!("CARGO_BIN_EXE_sidegate"),
        program.config().display(),
        to.display()
    );
    for n in 0..20 {
        let name = format!("user{n}");
        let added = program.run_with(&["users", "add", name.as_str()], PASSWORD);
        assert_eq!(added.code, Some(0), "{added:?}");
    }
    let (file, whole) = backup(&program, &[]);
    assert!(whole["bytes"].as_u64() > Some(1024), "{whole}");
    // The limit applies to the output of the command, not to the store.
    let _server = program.serve().await;
    let limited = |script: &str| {
        let ran = Command::new("sh")
            .args(["-c", script])
            .output()
            .expect("a shell");
        let err = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{err}");
        assert!(err.contains("cannot be written"), "{err}");
    };
    limited(&script);
    assert!(!to.exists());
    // The existing file stays until the new one is complete.
    let before = fs::read(&file).expect("a backup");
    let script = script.replace(to.to_str().expect("a path"), file.to_str().expect("a path"));
    limited(&script);
    assert_eq!(fs::read(&file).expect("a backup"), before);
    let left: Vec<_> = fs::read_dir(&home).expect("a folder").collect();
    let left: Vec<_> = left
        .into_iter()
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    let is_part = |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".part");
    assert!(!left.iter().any(is_part), "{left:?}");
    // A result that cannot be printed is a failure, too.
    let script = format!(
        "exec {} --config {} backup {} > /dev/full",
        env!("CARGO_BIN_EXE_sidegate"),
        program.config().display(),
        file.display()
    );
    let ran = Command::new("sh").args(["-c", &script]).output();
    assert_eq!(ran.expect("a shell").status.code(), Some(1));
    // Into a directory, under a name with the time.
    let folder = home.join("backups");
    fs::create_dir(&folder).expect("a folder");
    let received = program.run(&["backup", folder.to_str().expect("a path"), "--json"]);
    let received = json(&received)["file"]
        .as_str()
        .map(str::to_owned)
        .expect("a file");
    assert!(
        received.ends_with(".backup") && Path::new(&received).exists(),
        "{received}"
    );
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (here, there) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().expect("a type") {
            kind if kind.is_dir() => copy_tree(&here, &there),
            kind if kind.is_file() => drop(fs::copy(here, there).expect("a copy")),
            _ => {}
        }
    }
}

#[tokio::test]
async fn an_older_copy_put_back_by_hand_does_not_start_until_it_is_restored() {
    let program = Program::with_ann();
    let (data, older) = (program.home().join("data"), program.home().join("older"));
    let server = program.serve().await;
    let ann = server.anon().login("ann", PASSWORD).await;
    let (file, _) = backup(&program, &[]);
    server.signal("TERM");
    server.ended().await;
    copy_tree(&data, &older);
    let server = program.serve().await;
    let ann = at(&ann, &server);
    assert_eq!(ann.logout().await.status, 204);
    server.signal("TERM");
    server.ended().await;
    fs::remove_dir_all(&data).expect("a store");
    fs::rename(&older, &data).expect("a store");
    let ran = program.run(&["serve"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for words in ["older copy", "sidegate restore"] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    let restored = json(&restore(&program, &file, &["--replace"]));
    assert_eq!(restored["keys"], "kept");
    let server = program.serve().await;
    let ann = at(&ann, &server);
    assert_eq!(ann.get("/orders").await.status, 401);
    assert_eq!(ann.try_refresh().await.status, 401);
    server.anon().login("ann", PASSWORD).await;
}
