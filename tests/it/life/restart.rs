//! Restarts under a service manager: inherited sockets, the lock of the store, notifications to systemd.
//! No client notices a restart.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use socket2::SockRef;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::actors::Actor;
use crate::support::certificates::Site;
use crate::support::client::{DEADLINE, TestRequest};
use crate::support::load::{Load, Progress, Target, Upload};
use crate::support::program::{PASSWORD, Program, Server};
use crate::support::wait::until;

/// A listening socket that outlives every server, as a service manager holds it.
fn held() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn copy(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().expect("a copy").into()
}

/// Logs in repeatedly, within the session limit; returns all granted sessions.
async fn log_in(target: Target, progress: Arc<Progress>) -> Vec<Actor> {
    let mut granted = Vec::new();
    while !progress.is_over() && granted.len() < 900 {
        granted.push(target.login("ann", PASSWORD).await);
        progress.answered();
        progress.more(10).await;
    }
    granted
}

/// Clients of every protocol send requests, uploads and log-ins while five processes follow each other
/// on one socket.
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
    let target = Target::new(address, site);
    let crowd = Load {
        target: target.clone(),
        actor: target.login("ann", PASSWORD).await,
        progress: Arc::default(),
        check: |_| {},
    };
    let progress = &crowd.progress;
    let mut clients = JoinSet::new();
    crowd.press(&mut clients);
    let mut logins = JoinSet::new();
    logins.spawn(log_in(target.clone(), Arc::clone(progress)));
    for n in 0..5 {
        progress.more(200).await;
        let mut uploads = Vec::new();
        for is_http2 in [false, true] {
            let path = format!("/through/{n}/{is_http2}");
            uploads.push(Upload::begin(&target, &crowd.actor, &path, is_http2).await);
            until(|| program.upstream.saw(&path).then_some(())).await;
        }
        server.signal("TERM");
        let mut next = program.begin_on(vec![copy(&listener)], "public", "");
        server.logged("finishing requests in progress").await;
        for upload in uploads {
            assert!(upload.finish().await.is_some(), "the request was received");
        }
        assert_eq!(server.ended().await.code(), Some(0));
        next.serving().await;
        // The new process must not remove the control socket of the old one.
        program.done(&["healthcheck"]);
        server = next;
    }
    progress.more(200).await;
    progress.stop();
    while let Some(client) = clients.join_next().await {
        client.expect("a client whose every request was answered");
    }
    let granted = logins.join_next().await.expect("a client");
    let granted = granted.expect("a client whose every request was answered");
    assert!(!granted.is_empty());
    for actor in granted {
        let body = serde_json::json!({"refreshToken": actor.refresh_token});
        let answer = target
            .request(&TestRequest::new("POST", "/auth/refresh").json(&body))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_rolling_restart_on_an_inherited_socket_fails_no_request_and_loses_no_log_in() {
    rolling_restart(None).await;
}

#[tokio::test]
async fn a_rolling_restart_over_tls_fails_no_request_and_loses_no_log_in() {
    rolling_restart(Some(&Site::new())).await;
}

#[tokio::test]
async fn inherited_sockets_are_matched_by_name_and_not_passed_to_child_processes() {
    let program = Program::with_ann();
    let (public, address) = held();
    let (admin, admin_address) = held();
    let sockets = vec![copy(&admin), copy(&public)];
    let mut server = program.begin_on(sockets, "admin:sidegate.socket", "");
    server.serving().await;
    assert_eq!(server.address, address);
    assert_eq!(server.anon().get("/auth/health").await.status, 200);
    let ready = TestRequest::new("GET", "/readyz").send(admin_address).await;
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
    server.logged("server.listen is not used").await;
    server.logged("admin.listen is not used").await;
}

#[tokio::test]
async fn an_inherited_redirect_socket_is_used_when_tls_is_configured() {
    let program = Program::new();
    let (public, _) = held();
    let (redirect, to) = held();
    let sockets = || vec![copy(&public), copy(&redirect)];
    let refused = program.begin_on(sockets(), "public:redirect", "");
    refused.logged("server.redirect_listen is not set").await;
    assert_eq!(refused.ended().await.code(), Some(1));

    program.configure_server(
        "public_url = \"https://app.example.org\"\nredirect_listen = \"127.0.0.1:1\"",
    );
    let mut server = program.begin_on(sockets(), "public:redirect", "");
    server.serving().await;
    server.logged("server.redirect_listen is not used").await;
    let answer = TestRequest::new("GET", "/a?b=c").send(to).await;
    assert_eq!(answer.status, 308);
    let location = answer.header("location");
    assert_eq!(location, Some("https://app.example.org/a?b=c"));
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
    // Connections made meanwhile wait in the queue for the next process.
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { TestRequest::new("GET", "/").send(to).await });
    let mut next = program.begin_on(sockets(), "public:redirect", "");
    next.serving().await;
    let waited = timeout(DEADLINE, waiting.join_next()).await;
    let waited = waited.expect("an answer in time").expect("a client");
    assert_eq!(waited.expect("an answer").status, 308);
}

#[tokio::test]
async fn idle_clients_of_an_inherited_socket_get_keepalive_probes() {
    let program = Program::new();
    let (listener, _) = held();
    let keepalive = || SockRef::from(&listener).keepalive().expect("an option");
    assert!(!keepalive());
    let mut server = program.begin_on(vec![copy(&listener)], "public", "");
    server.serving().await;
    // Options set on its socket apply to this one: both are the same socket.
    assert!(keepalive());
    let every = SockRef::from(&listener).tcp_keepalive_time();
    assert_eq!(every.expect("an option").as_secs(), 60);
}

#[tokio::test]
async fn a_unix_socket_can_be_inherited() {
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
    let request = b"GET /auth/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[tokio::test]
async fn sockets_for_another_process_are_ignored() {
    let program = Program::with_ann();
    let (listener, address) = held();
    let mut server = program.begin_on(vec![copy(&listener)], "public", "LISTEN_PID=1");
    server.serving().await;
    assert_ne!(server.address, address, "it listens where its file says");
    assert_eq!(server.anon().get("/auth/health").await.status, 200);
}

#[tokio::test]
async fn an_unusable_inherited_socket_is_refused_with_a_message() {
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
        server.logged(words).await;
        assert_eq!(server.ended().await.code(), Some(1));
    }
}

#[tokio::test]
async fn a_second_process_waits_for_the_store_and_opens_it_when_the_first_has_exited() {
    let program = Program::with_ann();
    let (listener, _) = held();
    let mut first = program.begin_on(vec![copy(&listener)], "public", "");
    first.serving().await;
    let mut second = program.begin_on(vec![copy(&listener)], "public", "");
    let third = program.begin_on(vec![copy(&listener)], "public", "");
    for waiting in [&second, &third] {
        waiting.logged("waiting for at most 1m").await;
    }
    third.signal("TERM");
    assert_eq!(
        third.ended().await.code(),
        Some(0),
        "a waiting process can be stopped"
    );
    first.anon().login("ann", PASSWORD).await;
    first.signal("TERM");
    assert_eq!(first.ended().await.code(), Some(0));
    second.serving().await;
    assert_eq!(second.log().matches("waiting for at most").count(), 1);
    second.anon().login("ann", PASSWORD).await;
}

/// The receiving end of a service manager.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        Self { socket }
    }

    /// The next message other than the watchdog's.
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

/// A server that notifies this manager.
async fn managed(program: &Program, manager: &Path, also: &str) -> (Server, TcpListener) {
    let (listener, _) = held();
    let received = format!("NOTIFY_SOCKET={} {also}", manager.display());
    let mut server = program.begin_on(vec![copy(&listener)], "public", &received);
    server.serving().await;
    (server, listener)
}

#[tokio::test]
async fn the_service_manager_is_notified_of_each_step() {
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
async fn the_watchdog_is_notified_in_its_interval() {
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
