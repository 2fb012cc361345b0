//! Restarts and the service manager: sockets that are handed over, the store that one process lets go
//! of for the next, and what systemd is told. No client ever learns that there was a restart.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::task::JoinSet;

use crate::actors::Actor;
use crate::client::{Ask, Connection};
use crate::harness::until;
use crate::program::{PASSWORD, Program, Server};

/// A listening socket that outlives every server, as the service manager holds it.
fn held() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn copy(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().expect("a copy").into()
}

/// What the clients of a test saw.
#[derive(Debug, Default)]
struct Seen {
    stop: AtomicBool,
    answers: AtomicUsize,
}

impl Seen {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until so many more answers have come.
    async fn more(&self, answers: usize) {
        let enough = self.answers.load(Ordering::Relaxed) + answers;
        until(|| (self.answers.load(Ordering::Relaxed) >= enough).then_some(())).await;
    }
}

/// Asks without pause on one connection, for as long as the server keeps it.
async fn keep_asking(ann: Actor, seen: Arc<Seen>) -> Vec<Actor> {
    let ask = ann.dress(Ask::new("GET", "/orders"));
    while !seen.is_over() {
        let mut connection = Connection::open(ann.to).await;
        loop {
            let answer = connection.ask(&ask).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            seen.answered();
            if answer.header("connection") == Some("close") || seen.is_over() {
                break;
            }
        }
    }
    Vec::new()
}

/// Asks without pause, each time on a fresh connection.
async fn ask_afresh(ann: Actor, seen: Arc<Seen>) -> Vec<Actor> {
    while !seen.is_over() {
        let answer = ann.get("/orders").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        seen.answered();
    }
    Vec::new()
}

/// Logs in without pause; gives all that was granted.
async fn log_in(anon: Actor, seen: Arc<Seen>) -> Vec<Actor> {
    let mut granted = Vec::new();
    while !seen.is_over() {
        granted.push(anon.login("ann", PASSWORD).await);
        seen.answered();
    }
    granted
}

#[tokio::test]
async fn a_rolling_restart_on_a_held_socket_fails_no_request_and_loses_no_log_in() {
    let program = Program::with_ann();
    program.configure(
        "[limits]\nlogin = \"100000/s\"\nrefresh = \"100000/s\"\n[sessions]\nmax_per_user = 1000\n",
    );
    let (listener, address) = held();
    let mut server = program.begin_on(vec![copy(&listener)], "public", "");
    server.serving().await;
    assert_eq!(server.address, address);
    let ann = Actor::anonymous(address).login("ann", PASSWORD).await;
    let seen = Arc::new(Seen::default());
    let mut clients = JoinSet::new();
    for _ in 0..2 {
        clients.spawn(keep_asking(ann.clone(), Arc::clone(&seen)));
        clients.spawn(ask_afresh(ann.clone(), Arc::clone(&seen)));
    }
    clients.spawn(log_in(Actor::anonymous(address), Arc::clone(&seen)));
    for _ in 0..5 {
        seen.more(50).await;
        server.signal("TERM");
        let mut next = program.begin_on(vec![copy(&listener)], "public", "");
        assert_eq!(server.ended().await.code(), Some(0));
        next.serving().await;
        // Its control socket is not the old one's to remove.
        program.done(&["healthcheck"]);
        server = next;
    }
    seen.more(50).await;
    seen.stop.store(true, Ordering::Relaxed);
    let mut granted = Vec::new();
    while let Some(client) = clients.join_next().await {
        granted.extend(client.expect("a client whose every request was answered"));
    }
    assert!(!granted.is_empty());
    for mut actor in granted {
        actor.refresh().await;
    }
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn sockets_are_taken_by_their_names_and_kept_from_other_programs() {
    let program = Program::with_ann();
    let (public, address) = held();
    let (admin, admin_address) = held();
    let sockets = vec![copy(&admin), copy(&public)];
    let mut server = program.begin_on(sockets, "admin:sidegate.socket", "");
    server.serving().await;
    assert_eq!(server.address, address);
    assert_eq!(server.anon().get("/auth/health").await.status, 200);
    let ready = Ask::new("GET", "/readyz").send(admin_address).await;
    assert_eq!(ready.status, 200);
    for fd in [3, 4] {
        let info = std::fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", server.id()));
        let info = info.expect("a descriptor");
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = u32::from_str_radix(flags.expect("flags").trim(), 8).expect("octal");
        assert_eq!(
            flags & 0o2_000_000,
            0o2_000_000,
            "closed on exec: {flags:o}"
        );
        assert_eq!(flags & 0o4_000, 0o4_000, "never waited on: {flags:o}");
    }
    server.said("server.listen is not used").await;
    server.said("admin.listen is not used").await;
}

#[tokio::test]
async fn a_unix_socket_can_be_handed_over() {
    let program = Program::with_ann();
    let path = program.home().join("public.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let mut server = program.begin_on(vec![listener.into()], "public", "");
    server.serving().await;
    let answer = over(&path);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

fn over(path: &Path) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = UnixStream::connect(path).expect("a connection");
    let ask = b"GET /auth/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(ask).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[tokio::test]
async fn sockets_for_another_process_are_none_of_ours() {
    let program = Program::with_ann();
    let (listener, address) = held();
    let mut server = program.begin_on(vec![copy(&listener)], "public", "LISTEN_PID=1");
    server.serving().await;
    assert_ne!(server.address, address, "it listens where its file says");
    assert_eq!(server.anon().get("/auth/health").await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_listened_on_is_refused_with_words() {
    let program = Program::new();
    let file: OwnedFd = std::fs::File::open(program.config())
        .expect("a file")
        .into();
    let (public, _) = held();
    for (sockets, names) in [
        (vec![file], "public"),
        (vec![copy(&public), copy(&public)], "public:public"),
    ] {
        let server = program.begin_on(sockets, names, "");
        server.said("sidegate: ").await;
        assert_eq!(server.ended().await.code(), Some(1));
    }
}

#[tokio::test]
async fn a_second_process_waits_for_the_store_and_takes_it_when_the_first_has_gone() {
    let program = Program::with_ann();
    let (listener, _) = held();
    let mut first = program.begin_on(vec![copy(&listener)], "public", "");
    first.serving().await;
    let mut second = program.begin_on(vec![copy(&listener)], "public", "");
    let third = program.begin_on(vec![copy(&listener)], "public", "");
    for waiting in [&second, &third] {
        waiting.said("waiting for at most 1m").await;
    }
    third.signal("TERM");
    assert_eq!(
        third.ended().await.code(),
        Some(0),
        "who waits can be stopped"
    );
    first.anon().login("ann", PASSWORD).await;
    first.signal("TERM");
    assert_eq!(first.ended().await.code(), Some(0));
    second.serving().await;
    assert_eq!(second.log().matches("waiting for at most").count(), 1);
    second.anon().login("ann", PASSWORD).await;
}

/// Plays the service manager's end.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        Self { socket }
    }

    /// The next message that is not about being alive.
    async fn next(&self) -> String {
        until(|| {
            self.message()
                .filter(|message| !message.contains("WATCHDOG"))
        })
        .await
    }

    fn message(&self) -> Option<String> {
        let mut bytes = [0; 1024];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }
}

/// A server that tells a manager how it is.
async fn managed(program: &Program, manager: &Path, also: &str) -> (Server, TcpListener) {
    let (listener, _) = held();
    let told = format!("NOTIFY_SOCKET={} {also}", manager.display());
    let mut server = program.begin_on(vec![copy(&listener)], "public", &told);
    server.serving().await;
    (server, listener)
}

#[tokio::test]
async fn the_service_manager_is_told_each_step() {
    let program = Program::with_ann();
    let path = program.home().join("notify");
    let manager = Manager::at(&path);
    let (server, _listener) = managed(&program, &path, "").await;
    assert!(manager.next().await.starts_with("READY=1\n"));
    assert_eq!(server.anon().get("/auth/health").await.status, 200);

    server.signal("HUP");
    let reloading = manager.next().await;
    let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    let time = time.unwrap_or_else(|| panic!("not one message: {reloading:?}"));
    assert!(time.trim().parse::<u64>().is_ok(), "{reloading:?}");
    assert!(manager.next().await.starts_with("READY=1\n"));

    program.configure("[nonsense");
    server.signal("HUP");
    assert!(manager.next().await.starts_with("RELOADING=1\n"));
    let refused = manager.next().await;
    assert!(
        refused.starts_with("READY=1\n") && refused.contains("refused"),
        "{refused:?}"
    );

    server.signal("TERM");
    assert_eq!(manager.next().await, "STOPPING=1\n");
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn the_watchdog_is_told_as_often_as_it_wants() {
    let program = Program::with_ann();
    let path = program.home().join("notify");
    let manager = Manager::at(&path);
    let (_server, _listener) = managed(&program, &path, "WATCHDOG_USEC=1000000").await;
    for _ in 0..3 {
        until(|| {
            manager
                .message()
                .filter(|message| message == "WATCHDOG=1\n")
        })
        .await;
    }
}
