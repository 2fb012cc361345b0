//! The public listener: file descriptors that run out, and Unix sockets left by killed processes.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::support::client::{Connection, TestRequest};
use crate::support::program::{PASSWORD, Program};

/// More than the process needs for itself, fewer than the test has clients.
const FILES: u32 = 96;

/// Fewer descriptors than the process needs for itself.
const NONE_FREE: u64 = 4;

#[tokio::test]
async fn a_server_without_free_descriptors_pauses_accepting_and_open_connections_continue() {
    let program = Program::with_ann();
    let server = program.serve_with_files(FILES).await;
    let ann = server.anon().login("ann", PASSWORD).await;
    let request = ann.with_credentials(TestRequest::new("GET", "/x"));
    let mut stands = Connection::open(server.address).await;
    assert_eq!(stands.request(&request).await.status, 200);
    let mut crowd = Vec::new();
    for _ in 0..FILES {
        crowd.push(Connection::open(server.address).await);
    }
    // The last client gets this answer, and no number of clients uses the reserved descriptors.
    let last = crowd.pop().expect("a connection");
    assert!(last.rest().await.starts_with(b"HTTP/1.1 503 "));
    for _ in 0..10 {
        assert_eq!(stands.request(&request).await.status, 200);
    }
    let resting = "cannot accept connections; pausing";
    assert_eq!(server.log().matches(resting).count(), 0);
    drop(crowd);
    // Now no descriptor is left, as when the whole machine has run out of them.
    let process = i32::try_from(server.id()).ok().and_then(Pid::from_raw);
    let set = |limit| prlimit(process, Resource::Nofile, limit).expect("a limit");
    let before = set(Rlimit {
        current: Some(NONE_FREE),
        maximum: Some(FILES.into()),
    });
    let began = Instant::now();
    let mut waiting = Connection::open(server.address).await;
    // The kernel still has a connection to accept: without a pause the log would fill up at once.
    server.said_times(resting, 4).await;
    assert!(began.elapsed() >= Duration::from_millis(300));
    for _ in 0..10 {
        assert_eq!(stands.request(&request).await.status, 200);
    }
    set(before);
    // Connections that waited in the kernel are served, and so are new ones.
    assert_eq!(waiting.request(&request).await.status, 200);
    assert_eq!(ann.get("/x").await.status, 200);
    server.anon().login("ann", PASSWORD).await;
    assert_eq!(stands.request(&request).await.status, 200);
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
}

/// A program that listens on a Unix socket.
fn on_a_socket() -> (Program, PathBuf) {
    let program = Program::with_ann();
    let path = program.home().join("public.sock");
    program.configure_listen(&format!("unix:{}", path.display()));
    (program, path)
}

async fn health(path: &Path) -> u16 {
    let stream = UnixStream::connect(path).await.expect("a connection");
    let mut connection = Connection::over(stream, "a");
    connection.get("/auth/health").await.status
}

#[tokio::test]
async fn a_unix_socket_left_by_a_killed_process_is_replaced() {
    let (program, path) = on_a_socket();
    let server = program.serve().await;
    let request = TestRequest::new("GET", "/x");
    let stream = UnixStream::connect(&path).await.expect("a connection");
    let mut connection = Connection::over(stream, "a");
    assert_eq!(
        connection.request(&request).await.refusal(),
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
async fn a_unix_socket_in_use_is_not_replaced() {
    let (program, path) = on_a_socket();
    let _server = program.serve().await;
    // Another installation, with its own store.
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
async fn a_file_that_is_not_a_socket_is_never_replaced() {
    let (program, path) = on_a_socket();
    fs::write(&path, "precious").expect("a file");
    let ran = program.run(&["serve"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let words = format!("{} exists and is not a socket", path.display());
    assert!(ran.err.contains(&words), "{}", ran.err);
    assert_eq!(fs::read_to_string(&path).expect("the file"), "precious");
    // A link to a socket is not replaced either: its target may belong to another program.
    fs::remove_file(&path).expect("a file");
    std::os::unix::fs::symlink(program.home().join("elsewhere"), &path).expect("a link");
    let ran = program.run(&["serve"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains(&words), "{}", ran.err);
}
