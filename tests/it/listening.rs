//! What the public listener stands on: descriptors, which can run out, and sockets of the file system,
//! which outlive whoever is killed.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::client::{Ask, Connection};
use crate::program::{PASSWORD, Program};

/// More than the process needs for itself, fewer than the clients of the test are.
const FILES: u32 = 96;

/// Fewer descriptors than the process has open for itself.
const NONE_FREE: u64 = 4;

#[tokio::test]
async fn a_server_without_free_descriptors_rests_and_recovers_while_what_stands_goes_on() {
    let program = Program::with_ann();
    let server = program.serve_with_files(FILES).await;
    let ann = server.anon().login("ann", PASSWORD).await;
    let ask = ann.dress(Ask::new("GET", "/x"));
    let mut stands = Connection::open(server.address).await;
    assert_eq!(stands.ask(&ask).await.status, 200);
    let mut crowd = Vec::new();
    for _ in 0..FILES {
        crowd.push(Connection::open(server.address).await);
    }
    // The last client is answered so, and no crowd takes the descriptors that are reserved.
    let last = crowd.pop().expect("a connection");
    assert!(last.rest().await.starts_with(b"HTTP/1.1 503 "));
    for _ in 0..10 {
        assert_eq!(stands.ask(&ask).await.status, 200);
    }
    let resting = "cannot accept connections; resting";
    assert_eq!(server.log().matches(resting).count(), 0);
    drop(crowd);
    // Then none is left for anybody, as when the whole machine has run out of them.
    let process = i32::try_from(server.id()).ok().and_then(Pid::from_raw);
    let set = |limit| prlimit(process, Resource::Nofile, limit).expect("a limit");
    let before = set(Rlimit {
        current: Some(NONE_FREE),
        maximum: Some(FILES.into()),
    });
    let began = Instant::now();
    let mut waiting = Connection::open(server.address).await;
    // The kernel still has a connection to accept: without a rest the log would be full in no time.
    server.said_times(resting, 4).await;
    assert!(began.elapsed() >= Duration::from_millis(300));
    for _ in 0..10 {
        assert_eq!(stands.ask(&ask).await.status, 200);
    }
    set(before);
    // Who waited in the kernel is answered, and so is who comes.
    assert_eq!(waiting.ask(&ask).await.status, 200);
    assert_eq!(ann.get("/x").await.status, 200);
    server.anon().login("ann", PASSWORD).await;
    assert_eq!(stands.ask(&ask).await.status, 200);
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
}

/// A program that listens on a socket of the file system.
fn on_a_socket() -> (Program, PathBuf) {
    let program = Program::with_ann();
    let path = program.home().join("public.sock");
    program.configure_listen(&format!("unix:{}", path.display()));
    (program, path)
}

async fn health(path: &Path) -> u16 {
    let stream = UnixStream::connect(path).await.expect("a connection");
    let mut connection = Connection::over(stream, "a");
    connection
        .ask(&Ask::new("GET", "/auth/health"))
        .await
        .status
}

#[tokio::test]
async fn a_socket_left_by_a_process_that_was_killed_is_taken_again() {
    let (program, path) = on_a_socket();
    let server = program.serve().await;
    let ask = Ask::new("GET", "/x");
    let stream = UnixStream::connect(&path).await.expect("a connection");
    let mut connection = Connection::over(stream, "a");
    assert_eq!(
        connection.ask(&ask).await.verdict(),
        (401, "missing_token".into())
    );
    assert_eq!(health(&path).await, 200);
    server.signal("KILL");
    server.ended().await;
    let left = fs::symlink_metadata(&path).expect("a file");
    assert!(left.file_type().is_socket());
    assert!(UnixStream::connect(&path).await.is_err());
    let server = program.serve().await;
    assert_eq!(health(&path).await, 200);
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
    let _server = program.serve().await;
    assert_eq!(health(&path).await, 200);
}

#[tokio::test]
async fn a_socket_that_answers_is_left_to_whoever_listens_on_it() {
    let (program, path) = on_a_socket();
    let _server = program.serve().await;
    // Another one, with a store of its own.
    let (second, _) = on_a_socket();
    second.configure("");
    second.configure_listen(&format!("unix:{}", path.display()));
    let ran = second.run(&["serve"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let words = format!("another process listens on {}", path.display());
    assert!(ran.err.contains(&words), "{}", ran.err);
    assert!(ran.err.contains("server.listen"), "{}", ran.err);
    assert_eq!(health(&path).await, 200);
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_never_replaced_by_one() {
    let (program, path) = on_a_socket();
    fs::write(&path, "precious").expect("a file");
    let ran = program.run(&["serve"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let words = format!("{} exists and is not a socket", path.display());
    assert!(ran.err.contains(&words), "{}", ran.err);
    assert_eq!(fs::read_to_string(&path).expect("the file"), "precious");
    // A link to a socket is none either: what it leads to may be somebody else's.
    fs::remove_file(&path).expect("a file");
    std::os::unix::fs::symlink(program.home().join("elsewhere"), &path).expect("a link");
    let ran = program.run(&["serve"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains(&words), "{}", ran.err);
}
