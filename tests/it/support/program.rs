//! How does a test run the real program, as a process with its own directory and configuration file?

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::actors::Actor;
use crate::support::upstream::Echo;
use crate::support::wait::until;

/// The password of `ann`.
pub(crate) const PASSWORD: &str = "blue kettle on fire";

const BINARY: &str = env!("CARGO_BIN_EXE_sidegate");

/// An installation: a directory with a configuration, a store and keys.
#[derive(Debug)]
pub(crate) struct Program {
    home: TempDir,
    pub(crate) upstream: Echo,
}

/// The result of a command: its exit code and output.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The output of a `--json` command.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.out).expect("JSON")
    }
}

impl Program {
    pub(crate) fn new() -> Self {
        let program = Self {
            home: tempfile::tempdir().expect("a folder"),
            upstream: Echo::start(),
        };
        program.configure("");
        program
    }

    /// With the account `ann`, whose password is [`PASSWORD`].
    pub(crate) fn with_ann() -> Self {
        let program = Self::new();
        let added = program.run_with(&["users", "add", "ann", "--role", "user"], PASSWORD);
        assert_eq!(added.code, Some(0), "{added:?}");
        program
    }

    /// Writes the configuration, with this text at its end.
    pub(crate) fn configure(&self, extra: &str) {
        self.configure_for(self.upstream.address, extra);
    }

    /// The same in front of another upstream.
    pub(crate) fn configure_for(&self, upstream: SocketAddr, extra: &str) {
        let home = self.home.path().display();
        let text = format!(
            r#"
[server]
listen = "127.0.0.1:0"
threads = 1
[admin]
listen = "127.0.0.1:0"
[upstream]
url = "http://{upstream}"
[store]
url = "sled:{home}/data"
deadline = "30s"
[tokens]
keys_dir = "{home}/keys"
[passwords]
memory = "64KiB"
iterations = 1
danger_weak_hash = true
[log]
format = "json"
access = false
{extra}
"#
        );
        std::fs::write(self.config(), text).expect("a configuration");
    }

    /// Adds a line to the section `[server]`.
    pub(crate) fn configure_server(&self, line: &str) {
        let text = std::fs::read_to_string(self.config()).expect("a configuration");
        let text = text.replace("threads = 1", &format!("threads = 1\n{line}"));
        std::fs::write(self.config(), text).expect("a configuration");
    }

    /// Sets the address of the listener.
    pub(crate) fn configure_listen(&self, listen: &str) {
        let text = std::fs::read_to_string(self.config()).expect("a configuration");
        let text = text.replacen(
            "listen = \"127.0.0.1:0\"",
            &format!("listen = {listen:?}"),
            1,
        );
        std::fs::write(self.config(), text).expect("a configuration");
    }

    /// Adds a line to the section `[store]`.
    pub(crate) fn configure_store(&self, line: &str) {
        let text = std::fs::read_to_string(self.config()).expect("a configuration");
        let text = text.replace("[store]", &format!("[store]\n{line}"));
        std::fs::write(self.config(), text).expect("a configuration");
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.home.path().join("sidegate.toml")
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs a command to its end, with this standard input.
    pub(crate) fn run_with<S: AsRef<OsStr>>(&self, args: &[S], input: &str) -> Ran {
        let mut child = self
            .command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut stdin = child.stdin.take().expect("an input");
        // A command without input may have exited already.
        drop(stdin.write_all(input.as_bytes()));
        drop(stdin);
        let output = child.wait_with_output().expect("an end");
        Ran {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Ran {
        self.run_with(args, "")
    }

    /// Runs a command that must succeed; returns its output.
    #[track_caller]
    pub(crate) fn done<S: AsRef<OsStr>>(&self, args: &[S]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.out
    }

    /// Starts the server and waits until it serves.
    pub(crate) async fn serve(&self) -> Server {
        let mut command = self.command();
        command.arg("serve").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut server = watched(command.spawn().expect("a process"));
        server.serving().await;
        server
    }

    /// The same as another user (only root can), or with another umask.
    pub(crate) async fn serve_as(&self, user: Option<u32>, umask: &str) -> Server {
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script, BINARY, "--config"]);
        command.arg(self.config()).arg("serve");
        command.current_dir(self.home.path()).env_clear();
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        command.stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut server = watched(command.spawn().expect("a process"));
        server.serving().await;
        server
    }

    /// The same with this limit of open files.
    pub(crate) async fn serve_with_files(&self, most: u32) -> Server {
        let script = format!("ulimit -n {most}; exec \"$0\" \"$@\"");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script, BINARY, "--config"]);
        command.arg(self.config()).arg("serve");
        command.current_dir(self.home.path()).env_clear();
        command.stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut server = watched(command.spawn().expect("a process"));
        server.serving().await;
        server
    }

    /// Starts the server with inherited sockets, without waiting for it. `names` becomes
    /// `LISTEN_FDNAMES`, `also` precedes the command line.
    pub(crate) fn begin_on(&self, sockets: Vec<OwnedFd>, names: &str, also: &str) -> Server {
        // The shell moves them to the descriptors that the protocol requires.
        let count = sockets.len();
        let moves = ["3<&0", "4<&2"].into_iter().take(count);
        let moves = moves.collect::<Vec<_>>().join(" ");
        let script = format!(
            "exec {moves} 0</dev/null 2>&1; LISTEN_PID=$$ LISTEN_FDS={count} \
             LISTEN_FDNAMES={names} {also} exec \"$0\" \"$@\""
        );
        let mut sockets = sockets.into_iter();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script, BINARY, "--config"]);
        command.arg(self.config()).arg("serve");
        command.current_dir(self.home.path()).env_clear();
        command.stdin(sockets.next().map_or_else(Stdio::null, Stdio::from));
        command.stdout(Stdio::piped());
        match sockets.next() {
            Some(socket) => command.stderr(socket),
            None => command.stderr(Stdio::null()),
        };
        watched(command.spawn().expect("a process"))
    }

    /// A command of the program, to be started by the test.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        command.arg("--config").arg(self.config());
        command.current_dir(self.home.path()).env_clear();
        command
    }
}

/// A child whose log is kept: standard error, or standard output if that was used.
fn watched(mut child: Child) -> Server {
    let log = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&log);
    let stream: Box<dyn Read + Send> = match (child.stdout.take(), child.stderr.take()) {
        (_, Some(error)) => Box::new(error),
        (Some(out), None) => Box::new(out),
        (None, None) => panic!("a child without a log"),
    };
    let lines = BufReader::new(stream).lines();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let mut log = kept.lock().expect("the log");
            log.push_str(&line);
            log.push('\n');
        }
    });
    Server {
        child,
        log,
        address: SocketAddr::from(([0, 0, 0, 0], 0)),
    }
}

/// The address in this line of a log, in either format.
fn serving_at(line: &str) -> Option<String> {
    if line.contains("\"message\":\"serving\"") {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        return line["listen"].as_str().map(str::to_owned);
    }
    let (_, fields) = line.split_once(": serving listen=")?;
    fields.split(' ').next().map(str::to_owned)
}

/// A running server. It is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: Arc<Mutex<String>>,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn anon(&self) -> Actor {
        Actor::anonymous(self.address)
    }

    /// Waits until it serves, and stores its address.
    pub(crate) async fn serving(&mut self) {
        let listen = until(|| {
            let log = self.log.lock().expect("the log");
            log.lines().find_map(serving_at)
        })
        .await;
        // A Unix socket has no such address.
        if let Ok(address) = listen.parse() {
            self.address = address;
        }
    }

    /// The address of its admin port.
    #[track_caller]
    pub(crate) fn admin(&self) -> SocketAddr {
        let log = self.log();
        let line = log
            .lines()
            .find(|line| line.contains("\"message\":\"serving\""));
        let line: Value = serde_json::from_str(line.expect("a line")).expect("JSON");
        line["admin"]
            .as_str()
            .expect("an address")
            .parse()
            .expect("an address")
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// The first line of the log with this text, once there is one.
    pub(crate) async fn logged(&self, text: &str) -> String {
        until(|| {
            let log = self.log.lock().expect("the log");
            log.lines()
                .find(|line| line.contains(text))
                .map(str::to_owned)
        })
        .await
    }

    /// Waits until the log contains this text this many times.
    pub(crate) async fn said_times(&self, text: &str, times: usize) {
        until(|| (self.log().matches(text).count() >= times).then_some(())).await;
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let order = format!("kill -{name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &order]).status();
        assert!(sent.expect("a shell").success());
    }

    /// Waits until it has exited by itself.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let child = Mutex::new(&mut self.child);
        until(|| {
            child
                .lock()
                .expect("the child")
                .try_wait()
                .expect("a process")
        })
        .await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
