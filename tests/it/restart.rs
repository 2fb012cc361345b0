//! Restarts and the service manager: sockets that are handed over, the store that one process lets go
//! of for the next, and what systemd is told. No client ever learns that there was a restart.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use socket2::SockRef;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::actors::Actor;
use crate::client::{Ask, DEADLINE};
use crate::harness::until;
use crate::pressing::{Crowd, Seen, Upload, Way};
use crate::program::{PASSWORD, Program, Server};
use crate::site::Site;

/// A listening socket that outlives every server, as the service manager holds it.
fn held() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn copy(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().expect("a copy").into()
}

/// Logs in again and again, as fast as a user may have sessions; gives all that was granted.
async fn log_in(way: Way, seen: Arc<Seen>) -> Vec<Actor> {
    let mut granted = Vec::new();
    while !seen.is_over() && granted.len() < 900 {
        granted.push(way.login("ann", PASSWORD).await);
        seen.answered();
        seen.more(10).await;
    }
    granted
}

/// Clients of every protocol ask, upload and log in while five processes follow each other on one socket.
async fn rolling_restart(site: Option<&Site>) {
    let program = Program::with_ann();
    let tls = site.map(Site::section).unwrap_or_default();
    program.configure(&format!(
        "[limits]\nlogin = \"100000/s\"\nrefresh = \"100000/s\"\n[sessions]\nmax_per_user = 1000\n{tls}"
    ));
    let (listener, address) = held();
    let mut server = program.begin_on(vec![copy(&listener)], "public", "");
    server.serving().await;
    assert_eq!(server.address, address);
    let way = Way::new(address, site);
    let crowd = Crowd {
        way: way.clone(),
        who: way.login("ann", PASSWORD).await,
        seen: Arc::default(),
        judge: |_| {},
    };
    let seen = &crowd.seen;
    let mut clients = JoinSet::new();
    crowd.press(&mut clients);
    let mut logins = JoinSet::new();
    logins.spawn(log_in(way.clone(), Arc::clone(seen)));
    for n in 0..5 {
        seen.more(200).await;
        let mut uploads = Vec::new();
        for is_http2 in [false, true] {
            let path = format!("/through/{n}/{is_http2}");
            uploads.push(Upload::begin(&way, &crowd.who, &path, is_http2).await);
            until(|| program.upstream.saw(&path).then_some(())).await;
        }
        server.signal("TERM");
        let mut next = program.begin_on(vec![copy(&listener)], "public", "");
        server.said("finishing what is in flight").await;
        for upload in uploads {
            assert!(upload.finish().await.is_some(), "it was heard");
        }
        assert_eq!(server.ended().await.code(), Some(0));
        next.serving().await;
        // Its control socket is not the old one's to remove.
        program.done(&["healthcheck"]);
        server = next;
    }
    seen.more(200).await;
    seen.stop();
    while let Some(client) = clients.join_next().await {
        client.expect("a client whose every request was answered");
    }
    let granted = logins.join_next().await.expect("a client");
    let granted = granted.expect("a client whose every request was answered");
    assert!(!granted.is_empty());
    for actor in granted {
        let body = serde_json::json!({"refreshToken": actor.refresh_token});
        let answer = way
            .ask(&Ask::new("POST", "/auth/refresh").json(&body))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_rolling_restart_on_a_held_socket_fails_no_request_and_loses_no_log_in() {
    rolling_restart(None).await;
}

#[tokio::test]
async fn a_rolling_restart_over_tls_fails_no_request_and_loses_no_log_in() {
    rolling_restart(Some(&Site::new())).await;
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
async fn the_socket_that_sends_clients_to_https_is_taken_where_there_is_https() {
    let program = Program::new();
    let (public, _) = held();
    let (redirect, to) = held();
    let sockets = || vec![copy(&public), copy(&redirect)];
    let refused = program.begin_on(sockets(), "public:redirect", "");
    refused.said("server.redirect_listen is not set").await;
    assert_eq!(refused.ended().await.code(), Some(1));

    program.configure_server(
        "public_url = \"https://app.example.org\"\nredirect_listen = \"127.0.0.1:1\"",
    );
    let mut server = program.begin_on(sockets(), "public:redirect", "");
    server.serving().await;
    server.said("server.redirect_listen is not used").await;
    let answer = Ask::new("GET", "/a?b=c").send(to).await;
    assert_eq!(answer.status, 308);
    let location = answer.header("location");
    assert_eq!(location, Some("https://app.example.org/a?b=c"));
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
    // Who comes meanwhile waits in the queue for the next process.
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { Ask::new("GET", "/").send(to).await });
    let mut next = program.begin_on(sockets(), "public:redirect", "");
    next.serving().await;
    let waited = timeout(DEADLINE, waiting.join_next()).await;
    let waited = waited.expect("an answer in time").expect("a client");
    assert_eq!(waited.expect("an answer").status, 308);
}

#[tokio::test]
async fn the_quiet_clients_of_a_held_socket_are_asked_whether_they_are_there() {
    let program = Program::new();
    let (listener, _) = held();
    let ours = || SockRef::from(&listener).keepalive().expect("an option");
    assert!(!ours());
    let mut server = program.begin_on(vec![copy(&listener)], "public", "");
    server.serving().await;
    // What it sets on its socket is set on this one: they are the same.
    assert!(ours());
    let every = SockRef::from(&listener).tcp_keepalive_time();
    assert_eq!(every.expect("an option").as_secs(), 60);
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
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
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
    let unix = UnixListener::bind(program.home().join("handed.sock")).expect("a socket");
    let handed = || -> OwnedFd { unix.try_clone().expect("a copy").into() };
    for (sockets, names, words) in [
        (vec![file], "public", "sidegate: "),
        (
            vec![copy(&public), copy(&public)],
            "public:public",
            "the names are public, admin and redirect",
        ),
        (
            vec![copy(&public), handed()],
            "public:admin",
            "the admin socket that is handed over must be a TCP socket",
        ),
        (
            vec![copy(&public), handed()],
            "public:redirect",
            "the redirect socket that is handed over must be a TCP socket",
        ),
    ] {
        let server = program.begin_on(sockets, names, "");
        server.said(words).await;
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
