//! Whose files the program makes, who can read them, and to whom the command line gives a password.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use crate::harness::until;
use crate::program::{PASSWORD, Program};

/// Users of no machine's own.
const SERVICE: u32 = 43_210;

/// Everything below a directory.
fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found
}

fn mode(path: &Path) -> u32 {
    let found = fs::symlink_metadata(path).expect("a file");
    found.permissions().mode() & 0o777
}

#[track_caller]
fn assert_private(directory: &Path) {
    let all = below(directory);
    assert!(!all.is_empty());
    for path in all {
        let mode = mode(&path);
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
}

/// Whether this process may give files away; else such a test proves nothing and ends.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|found| found.uid() == 0)
}

fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).expect("root may");
}

#[tokio::test]
async fn files_are_for_their_owner_only_whatever_the_umask_and_the_directories() {
    let program = Program::new();
    for name in ["data", "keys"] {
        let path = program.home().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let text = fs::read_to_string(program.config()).unwrap();
    let log = format!(
        "access = true\naccess_file = \"{}/log\"",
        program.home().display()
    );
    fs::write(program.config(), text.replace("access = false", &log)).unwrap();
    let server = program.serve_as(None, "000").await;
    program.done(&["keys", "rotate"]);
    for name in ["data", "keys"] {
        assert_private(&program.home().join(name));
    }
    assert_eq!(mode(&program.home().join("data/control.sock")), 0o600);
    assert_eq!(mode(&program.home().join("log")), 0o600);
    server.signal("TERM");
    assert!(server.ended().await.success());
    // Snapshots are made at the end.
    assert_private(&program.home().join("data"));
    assert_eq!(
        mode(&program.home().join("data")),
        0o755,
        "as its owner made it"
    );
}

#[tokio::test]
async fn files_that_lie_open_are_tightened_with_a_line_in_the_log() {
    let program = Program::with_ann();
    let open = [
        "data/db",
        "data/conf",
        "keys/refresh-1.key",
        "data/audit/state.json",
    ];
    for name in open {
        let path = program.home().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let stranger = program.home().join("data/notes.txt");
    fs::write(&stranger, "not ours").unwrap();
    fs::set_permissions(&stranger, fs::Permissions::from_mode(0o644)).unwrap();
    let server = program.serve().await;
    for name in open {
        let path = program.home().join(name);
        assert_eq!(mode(&path), 0o600, "{name}");
        let log = server.log();
        let is_told = |line: &str| line.contains("mode 644") && line.contains(name);
        assert!(log.lines().any(is_told), "{name}: {log}");
    }
    assert_eq!(mode(&stranger), 0o644, "what is not ours stays");
}

#[tokio::test]
async fn secrets_that_others_can_read_are_named_with_the_command_that_helps() {
    let program = Program::new();
    let secret = program.home().join("secret");
    fs::write(&secret, "qEr8-first-secret-of-thirty-two-bytes").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (
        program.home().join("tls.crt"),
        program.home().join("tls.key"),
    );
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let text = fs::read_to_string(program.config()).unwrap();
    let text = text.replace(
        "[tokens]",
        &format!(
            "[tokens]\nalgorithm = \"HS256\"\nsecret_file = \"{}\"",
            secret.display()
        ),
    );
    let tls = format!(
        "\n[server.tls]\ncert = \"{}\"\nkey = \"{}\"\n",
        cert.display(),
        key.display()
    );
    fs::write(program.config(), text + &tls).unwrap();
    let server = program.serve().await;
    let told = [(&secret, 0o644), (&key, 0o640)].map(|(path, mode)| {
        let path = path.display();
        format!("{path} can be read by others than its owner (mode {mode:o}): chmod 600 {path}")
    });
    for words in &told {
        server.said(words).await;
    }
    assert!(!server.log().contains("tls.crt can be read"));
    let checked = program.run(&["check"]);
    let said = checked.out + &checked.err;
    assert!(told.iter().all(|words| said.contains(words)), "{said}");

    let password = program.home().join("password.txt");
    fs::write(&password, PASSWORD).unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o604)).unwrap();
    let mut command = program.command();
    command
        .args(["users", "add", "eve"])
        .stdin(fs::File::open(&password).unwrap());
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains(&format!("chmod 600 {}", password.display())),
        "{said}"
    );
}

#[tokio::test]
async fn what_root_does_offline_leaves_files_to_the_owner_of_the_directory() {
    if !is_root() {
        return;
    }
    let program = Program::new();
    fs::set_permissions(program.home(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["data", "keys"] {
        fs::create_dir(program.home().join(name)).unwrap();
        give(&program.home().join(name), SERVICE);
    }
    let added = program.run_with(&["users", "add", "ann", "--role", "user"], PASSWORD);
    assert_eq!(added.code, Some(0), "{added:?}");
    program.done(&["keys", "rotate"]);
    program.done(&["backup", "saved.backup"]);
    program.done(&["restore", "saved.backup", "--replace"]);
    for name in ["data", "keys"] {
        for path in below(&program.home().join(name)) {
            let owner = fs::symlink_metadata(&path).unwrap().uid();
            assert_eq!(owner, SERVICE, "{}", path.display());
        }
    }
    // The service itself can go on with them.
    let server = program.serve_as(Some(SERVICE), "022").await;
    assert_eq!(
        server
            .anon()
            .login("ann", PASSWORD)
            .await
            .get("/x")
            .await
            .status,
        200
    );
    // Root asks a server of the store's owner.
    assert!(program.done(&["users", "list"]).contains("ann"));
}

#[tokio::test]
async fn a_password_goes_to_no_socket_of_a_stranger() {
    if !is_root() {
        return;
    }
    // A server of another user, where ours is expected.
    let stranger = Program::new();
    fs::set_permissions(stranger.home(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["data", "keys"] {
        fs::create_dir(stranger.home().join(name)).unwrap();
        give(&stranger.home().join(name), SERVICE);
    }
    let server = stranger.serve_as(Some(SERVICE), "022").await;
    let socket = stranger.home().join("data/control.sock");
    let ours = Program::with_ann();
    ours.configure_server(&format!("control = \"{}\"", socket.display()));
    let sent = ours.run_with(&["users", "set-password", "ann"], "another password");
    assert_eq!(sent.code, Some(1), "{sent:?}");
    assert!(sent.err.contains("nothing was sent"), "{sent:?}");
    assert!(sent.err.contains(&SERVICE.to_string()), "{sent:?}");

    // And the server takes no orders from others, even over a socket that lies open.
    for path in [stranger.home().join("data"), socket.clone()] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut asking = stranger.command();
    asking.arg("drain").uid(SERVICE + 1);
    let answer = asking.output().expect("an end");
    let answer = String::from_utf8(answer.stderr).unwrap();
    assert!(
        answer.contains("only root and the user that runs"),
        "{answer}"
    );
    until(|| {
        let log = server.log();
        log.contains("a stranger on the control socket")
            .then_some(())
    })
    .await;
}
