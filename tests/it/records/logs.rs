//! The logs of the real program: an unread log blocks nothing, and no client can forge a line.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use serde_json::Value;

use crate::support::actors::Actor;
use crate::support::client::{TestRequest, raw};
use crate::support::h2::{END_HEADERS, END_STREAM, Frames, HEADERS, frame, get};
use crate::support::program::Program;
use crate::support::wait::until;

/// A process that is killed when dropped.
struct Running(Mutex<Child>);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(Mutex::new(command.spawn().expect("a process")))
    }

    fn signal(&self, name: &str) {
        let order = format!("kill -{name} {}", self.0.lock().unwrap().id());
        let sent = Command::new("sh").args(["-c", &order]).status();
        assert!(sent.expect("a shell").success());
    }

    /// Its exit code, when it has exited by itself.
    async fn ended(&self) -> Option<i32> {
        let ended = || self.0.lock().unwrap().try_wait().expect("a process");
        until(ended).await.code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut child = self.0.lock().unwrap();
        drop(child.kill());
        drop(child.wait());
    }
}

/// The capacity of a pipe on Linux.
const PIPE: usize = 64 * 1024;

/// A full pipe, and its reading end.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&vec![0; PIPE]).expect("an empty pipe");
    (reader, writer)
}

#[tokio::test]
async fn unread_logs_block_neither_requests_nor_probes_nor_a_stop() {
    let program = Program::with_ann();
    program.configure("[limits]\nlogin = \"100000/s\"\n[login]\nmax_failures = 0\n");
    let text = std::fs::read_to_string(program.config()).unwrap();
    std::fs::write(
        program.config(),
        text.replace("access = false", "access = true"),
    )
    .unwrap();
    let mut command = program.command();
    command.arg("serve").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = Running::start(&mut command);
    let (out, err) = {
        let mut child = running.0.lock().unwrap();
        (child.stdout.take().unwrap(), child.stderr.take().unwrap())
    };
    let mut log = BufReader::new(err);
    let (address, admin) = addresses(&mut log);
    // From here on the pipe is not read.
    let anon = Actor::anonymous(address);
    for round in 0..1_000 {
        let answer = anon.try_login("ann", "a wrong guess").await;
        assert_eq!(answer.status, 401, "round {round}");
    }
    // More lines than the pipes can hold.
    let long = format!("/{}", "x".repeat(400));
    for _ in 0..200 {
        assert_eq!(anon.get(&long).await.status, 401);
    }
    let probe = TestRequest::new("GET", "/livez").send(admin).await;
    assert_eq!(probe.status, 200, "{}", probe.text());
    running.signal("TERM");
    assert_eq!(running.ended().await, Some(0));
    drop((out, log));
}

/// Its address, from its log.
fn addresses(log: &mut impl BufRead) -> (SocketAddr, SocketAddr) {
    for line in log.lines() {
        let line = line.expect("a log");
        if line.contains("\"message\":\"serving\"") {
            let line: Value = serde_json::from_str(&line).expect("a line of JSON");
            let address = |name: &str| line[name].as_str().unwrap().parse().unwrap();
            return (address("listen"), address("admin"));
        }
    }
    panic!("it does not serve");
}

#[tokio::test]
async fn a_failed_start_prints_its_cause_and_exits_even_when_its_output_is_not_read() {
    let program = Program::new();
    // A file in place of the directory of the store.
    std::fs::write(program.home().join("data"), "in the way").unwrap();
    let failed = program.run(&["serve"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.err.contains("sidegate: "), "{failed:?}");
    assert!(
        failed.err.contains("cannot be a store directory"),
        "{failed:?}"
    );

    let (reader, writer) = full_pipe();
    let mut command = program.command();
    command
        .arg("serve")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command.stderr(OwnedFd::from(writer));
    let running = Running::start(&mut command);
    assert_eq!(running.ended().await, Some(1));
    drop(reader);
}

#[tokio::test]
async fn the_demo_stops_on_a_signal_even_when_its_output_is_not_read() {
    let program = Program::new();
    let (mut reader, writer) = full_pipe();
    let mut command = program.command();
    command.arg("demo").stdin(Stdio::null());
    command.stdout(OwnedFd::from(writer)).stderr(Stdio::piped());
    let running = Running::start(&mut command);
    // The writing end of the test is closed.
    drop(command);
    let printing = || {
        let id = running.0.lock().unwrap().id();
        let tasks = std::fs::read_dir(format!("/proc/{id}/task")).ok()?;
        // The thread that prints has started, so the signal handlers are installed.
        let named = |task: std::fs::DirEntry| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name == "demo\n")
        };
        tasks.flatten().any(named).then_some(())
    };
    until(printing).await;
    running.signal("TERM");
    assert_eq!(running.ended().await, Some(0));
    let mut filling = Vec::new();
    reader.read_to_end(&mut filling).unwrap();
    assert!(filling.iter().all(|byte| *byte == 0));
}

#[test]
fn output_into_a_closed_pipe_causes_no_crash() {
    let program = Program::with_ann();
    let (reader, mut writer) = std::io::pipe().unwrap();
    drop(reader);
    assert!(writer.write_all(b"x").is_err());
    for args in [&["users", "list"][..], &["--help"], &["check"]] {
        let mut command = program.command();
        command.args(args).stdin(Stdio::null());
        command.stdout(writer.try_clone().unwrap());
        command.stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code().is_some(),
            "{args:?}: a signal ended it"
        );
        assert!(!err.contains("panicked"), "{args:?}: {err}");
    }
}

#[tokio::test]
async fn no_byte_of_a_client_forges_a_line_in_any_format_or_level() {
    const FORGED: &str = "2026-01-01T00:00:00.000000Z  INFO sidegate::audit: forged=yes";
    for (format, level) in [("text", "debug"), ("json", "trace")] {
        let program = Program::with_ann();
        let text = std::fs::read_to_string(program.config()).unwrap();
        let log = format!("format = \"{format}\"\nlevel = \"{level}\"");
        std::fs::write(program.config(), text.replace("format = \"json\"", &log)).unwrap();
        let server = program.serve().await;
        let address = server.address;
        for evil in ["\n", "\r\n", "\u{1b}[31m", "\u{9b}", "\0", "\u{202e}"] {
            let text = format!("x{evil}{FORGED}");
            for (name, value) in [(text.as_str(), "v"), ("x-note", text.as_str())] {
                let mut frames = Frames::open(address).await;
                let head = get("/x", &[(name, value)]);
                let flags = END_HEADERS | END_STREAM;
                frames.write(&frame(HEADERS, flags, 1, &head)).await;
                frames.until(HEADERS).await;
                let head = format!("GET /x HTTP/1.1\r\nHost: app\r\n{name}: {value}\r\n\r\n");
                raw(address, head.as_bytes()).await;
            }
            let body = serde_json::json!({"identifier": text, "password": text});
            Actor::anonymous(address).post("/auth/login", body).await;
            Actor::anonymous(address).with_access("x").get("/x").await;
        }
        server.signal("TERM");
        server.logged("stopped").await;
        let log = server.log();
        assert!(log.lines().count() > 10, "{log}");
        for line in log.lines() {
            assert!(!line.starts_with("2026-01-01"), "{line:?}");
            assert!(!line.chars().any(char::is_control), "{line:?}");
            assert!(!line.contains('\u{202e}'), "{line:?}");
            if format == "json" {
                serde_json::from_str::<Value>(line).expect("a line of JSON");
            }
        }
    }
}
