//! Owner and mode of the files the program creates, and which socket the command line sends a password
//! to.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use crate::support::program::{PASSWORD, Program};
use crate::support::wait::until;

/// User ids that exist on no machine.
const SERVICE: u32 = 43_210;

/// Every path below a directory.
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

/// Whether this process may change owners; otherwise the test ends without a result.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|found| found.uid() == 0)
}

fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).expect("root may");
}

#[tokio::test]
async fn files_are_for_their_owner_only_with_any_umask_and_any_directory() {
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
    // Snapshots are created at the stop.
    assert_private(&program.home().join("data"));
    assert_eq!(
        mode(&program.home().join("data")),
        0o755,
        "as its owner made it"
    );
}

#[tokio::test]
async fn files_readable_by_others_are_tightened_with_a_line_in_the_log() {
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
    let foreign = program.home().join("data/notes.txt");
    fs::write(&foreign, "another file").unwrap();
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o644)).unwrap();
    let server = program.serve().await;
    for name in open {
        let path = program.home().join(name);
        assert_eq!(mode(&path), 0o600, "{name}");
        let log = server.log();
        let is_told = |line: &str| line.contains("mode 644") && line.contains(name);
        assert!(log.lines().any(is_told), "{name}: {log}");
    }
    assert_eq!(mode(&foreign), 0o644, "other files stay");
}

#[tokio::test]
async fn secrets_readable_by_others_are_named_with_the_command_that_fixes_them() {
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
    let received = [(&secret, 0o644), (&key, 0o640)].map(|(path, mode)| {
        let path = path.display();
        format!("{path} can be read by others than its owner (mode {mode:o}): chmod 600 {path}")
    });
    for words in &received {
        server.logged(words).await;
    }
    assert!(!server.log().contains("tls.crt can be read"));
    let checked = program.run(&["check"]);
    let output_text = checked.out + &checked.err;
    assert!(
        received.iter().all(|words| output_text.contains(words)),
        "{output_text}"
    );

    let password = program.home().join("password.txt");
    fs::write(&password, PASSWORD).unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o604)).unwrap();
    let mut command = program.command();
    command
        .args(["users", "add", "eve"])
        .stdin(fs::File::open(&password).unwrap());
    let output = command.output().unwrap();
    let output_text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{output_text}");
    assert!(
        output_text.contains(&format!("chmod 600 {}", password.display())),
        "{output_text}"
    );
}

#[tokio::test]
async fn files_made_by_root_offline_belong_to_the_owner_of_the_directory() {
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
    // The service itself can continue with them.
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
    // Root sends a command to the server of the owner of the store.
    assert!(program.done(&["users", "list"]).contains("ann"));
}

#[tokio::test]
async fn a_password_is_not_sent_to_a_socket_of_another_user() {
    if !is_root() {
        return;
    }
    // A server of another user at the expected place.
    let foreign = Program::new();
    fs::set_permissions(foreign.home(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["data", "keys"] {
        fs::create_dir(foreign.home().join(name)).unwrap();
        give(&foreign.home().join(name), SERVICE);
    }
    let server = foreign.serve_as(Some(SERVICE), "022").await;
    let socket = foreign.home().join("data/control.sock");
    let program = Program::with_ann();
    program.configure_server(&format!("control = \"{}\"", socket.display()));
    let sent = program.run_with(&["users", "set-password", "ann"], "another password");
    assert_eq!(sent.code, Some(1), "{sent:?}");
    assert!(sent.err.contains("nothing was sent"), "{sent:?}");
    assert!(sent.err.contains(&SERVICE.to_string()), "{sent:?}");

    // The server accepts no commands from other users, even over a socket with open permissions.
    for path in [foreign.home().join("data"), socket.clone()] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut asking = foreign.command();
    asking.arg("drain").uid(SERVICE + 1);
    let answer = asking.output().expect("an end");
    let answer = String::from_utf8(answer.stderr).unwrap();
    assert!(
        answer.contains("only root and the user that runs"),
        "{answer}"
    );
    until(|| {
        let log = server.log();
        log.contains("another user on the control socket")
            .then_some(())
    })
    .await;
}
