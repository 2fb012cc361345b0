//! One client, network or user cannot stop others: under each attack, no request of a valid user from
//! another network fails. Each attack lasts as long as these requests.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::UnixStream;

use crate::support::actors::Actor;
use crate::support::certificates::Site;
use crate::support::client::{Connection, TestRequest, stream_from};
use crate::support::h2::{DATA, END_HEADERS, Frames, HEADERS, block, frame};
use crate::support::harness::TestApp;
use crate::support::hyper_app::{ChannelBody, application};
use crate::support::program::Program;
use crate::support::scripted::{head, serve};
use crate::support::wait::until;
use crate::support::websocket::{SWITCHED, handshake};

/// The number of requests of the valid user, each over its own connection.
const ASKS: usize = 40;

/// The connection slots of one worker towards the application, and how many one attacker takes.
const PLACES: usize = 32;
const MOST: usize = 16;

/// An application that keeps uploads open, sends endless bytes at `/pour`, switches protocols at `/ws`,
/// and answers other requests. It counts its open requests by path.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<HashMap<String, usize>>>);

impl Open {
    fn serve(&self) -> SocketAddr {
        let open = self.clone();
        serve(move |mut stream| {
            while let Some(head) = head(&mut stream) {
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                if path == "/" {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                    continue;
                }
                open.count(&path, 1);
                hold(&path, &mut stream);
                open.count(&path, -1);
                return;
            }
        })
    }

    fn count(&self, path: &str, change: isize) {
        let mut all = self.0.lock().expect("the counts");
        let count = all.entry(path.to_owned()).or_default();
        *count = count.checked_add_signed(change).expect("a count");
    }

    fn of(&self, path: &str) -> usize {
        let all = self.0.lock().expect("the counts");
        all.get(path).copied().unwrap_or_default()
    }

    /// Waits until at least this many are open.
    async fn at_least(&self, path: &str, count: usize) {
        until(|| (self.of(path) >= count).then_some(())).await;
    }
}

fn hold(path: &str, stream: &mut TcpStream) {
    let mut bytes = vec![b'x'; 65_536];
    match path {
        "/pour" => {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n"));
            while stream.write_all(&bytes).is_ok() {}
        }
        "/ws" => {
            drop(stream.write_all(SWITCHED));
            while let Ok(1..) = stream.read(&mut bytes) {}
        }
        _ => while let Ok(1..) = stream.read(&mut bytes) {},
    }
}

/// Sidegate with one worker and few slots in front of it.
async fn few(upstream: &str, extra: &str) -> TestApp {
    let text = format!(
        "[server]\nthreads = 1\n{extra}\n[upstream]\nurl = \"{upstream}\"\nmax_connections = {PLACES}\n\
         max_upgraded = {PLACES}\nqueue_timeout = \"10s\"\n[policy]\ndefault = \"optional\"\n"
    );
    TestApp::with(&text).await
}

/// Opens as many uploads as possible over HTTP/2 from this address.
async fn uploads(app: &TestApp, from: u8, headers: &[(&str, &str)], count: u32) -> Frames {
    let mut frames = Frames::open_from(from, app.address).await;
    let mut lines = vec![
        (":method", "PUT"),
        (":scheme", "http"),
        (":authority", "app"),
        (":path", "/upload"),
    ];
    lines.extend_from_slice(headers);
    let head = block(&lines);
    for stream in (0..count).map(|n| 2 * n + 1) {
        frames
            .write(&frame(HEADERS, END_HEADERS, stream, &head))
            .await;
        frames.write(&frame(DATA, 0, stream, b"x")).await;
    }
    frames
}

/// Repeats a request from this address with these headers; returns the number of failures.
async fn failures(to: SocketAddr, from: u8, request: &TestRequest) -> usize {
    let mut failures = 0;
    let request = request.clone().with("Connection", "close");
    for _ in 0..ASKS {
        let answer = Connection::open_from(from, to)
            .await
            .request(&request)
            .await;
        failures += usize::from(answer.status != 200);
    }
    failures
}

fn asking(actor: &Actor) -> TestRequest {
    actor.with_credentials(TestRequest::new("GET", "/"))
}

#[tokio::test]
async fn a5_uploads_over_http2_of_one_client_leave_others_their_answers() {
    let open = Open::default();
    let app = few(&format!("http://{}", open.serve()), "").await;
    let mut attack = Vec::new();
    for _ in 0..4 {
        attack.push(uploads(&app, 2, &[], 95).await);
    }
    open.at_least("/upload", MOST).await;
    assert_eq!(
        failures(app.address, 3, &TestRequest::new("GET", "/")).await,
        0
    );
    assert!(open.of("/upload") >= MOST, "the attack holds");
    drop(attack);
}

#[tokio::test]
async fn a5_answers_that_one_client_does_not_read_leave_others_theirs() {
    let open = Open::default();
    let app = few(&format!("http://{}", open.serve()), "").await;
    let mut attack = Vec::new();
    for _ in 0..2 * PLACES {
        let mut one = Connection::open_from(2, app.address).await;
        one.write(&TestRequest::new("GET", "/pour").bytes("app"))
            .await;
        attack.push(one);
    }
    open.at_least("/pour", MOST).await;
    assert_eq!(
        failures(app.address, 3, &TestRequest::new("GET", "/")).await,
        0
    );
    assert!(open.of("/pour") >= MOST, "the attack holds");
    drop(attack);
}

#[tokio::test]
async fn a5_one_user_from_many_addresses_leaves_other_users_their_answers() {
    let open = Open::default();
    let app = few(&format!("http://{}", open.serve()), "").await;
    let ann = app.user("ann").await;
    let bob = app.user("bob").await;
    let bearer = format!("Bearer {}", ann.access);
    let mut attack = Vec::new();
    for from in 10..40 {
        attack.push(uploads(&app, from, &[("authorization", &bearer)], 20).await);
    }
    open.at_least("/upload", MOST).await;
    assert_eq!(failures(app.address, 3, &asking(&bob)).await, 0);
    assert!(open.of("/upload") >= MOST, "the attack holds");
    drop(attack);
}

#[tokio::test]
async fn a5_anonymous_clients_from_many_addresses_leave_users_their_answers() {
    let open = Open::default();
    let app = few(&format!("http://{}", open.serve()), "").await;
    let bob = app.user("bob").await;
    let mut attack = Vec::new();
    for from in 10..60 {
        attack.push(uploads(&app, from, &[], 20).await);
    }
    open.at_least("/upload", MOST).await;
    assert_eq!(failures(app.address, 3, &asking(&bob)).await, 0);
    assert!(open.of("/upload") >= MOST, "the attack holds");
    drop(attack);
}

#[tokio::test]
async fn a5_the_networks_of_one_site_behind_a_trusted_proxy_leave_others_their_answers() {
    let trusting = "trusted_proxies = [\"127.0.0.1/32\"]";
    for site in ["2001:db8:1:1::X", "2001:db8:1:1X::1", "2001:db8:1:X00::1"] {
        let open = Open::default();
        let app = few(&format!("http://{}", open.serve()), trusting).await;
        let mut attack = Vec::new();
        for n in 0..50 {
            let client = site.replace('X', &format!("{n:02x}"));
            attack.push(uploads(&app, 1, &[("x-forwarded-for", &client)], 20).await);
        }
        open.at_least("/upload", MOST).await;
        let other = TestRequest::new("GET", "/").with("X-Forwarded-For", "2001:db8:2::1");
        assert_eq!(failures(app.address, 1, &other).await, 0, "{site}");
        assert!(open.of("/upload") >= MOST, "the attack holds: {site}");
        drop(attack);
    }
}

#[tokio::test]
async fn a5_streams_of_an_application_in_http2_are_counted_like_connections() {
    let open = Open::default();
    let counted = open.clone();
    let port = application(None, move |request: Request<Incoming>| {
        let open = counted.clone();
        async move {
            if request.uri().path() == "/upload" {
                open.count("/upload", 1);
                let mut body = request.into_body();
                while let Some(Ok(_)) = http_body_util::BodyExt::frame(&mut body).await {}
                open.count("/upload", -1);
            }
            Response::new(ChannelBody::nothing())
        }
    });
    let text = format!(
        "[server]\nthreads = 1\n[upstream]\nurl = \"h2c://127.0.0.1:{port}\"\nmax_connections = 1\n\
         [policy]\ndefault = \"public\"\n"
    );
    let app = TestApp::with(&text).await;
    let mut attack = Vec::new();
    for _ in 0..4 {
        attack.push(uploads(&app, 2, &[], 95).await);
    }
    open.at_least("/upload", 45).await;
    assert_eq!(
        failures(app.address, 3, &TestRequest::new("GET", "/")).await,
        0
    );
    assert!(open.of("/upload") >= 45, "the attack holds");
    drop(attack);
}

#[tokio::test]
async fn a5_one_user_cannot_take_every_websocket_slot() {
    let open = Open::default();
    let app = few(&format!("http://{}", open.serve()), "").await;
    let ann = app.user("ann").await;
    let bob = app.user("bob").await;
    let mut held = Vec::new();
    let mut refused = 0;
    for n in 0..2 * PLACES {
        let from = 10 + u8::try_from(n).unwrap();
        let mut socket = Connection::open_from(from, app.address).await;
        let mut request = ann.with_credentials(handshake());
        request.target = "/ws".to_owned();
        socket.write(&request.bytes("app")).await;
        match socket.only_head().await.status {
            101 => held.push(socket),
            status => {
                assert_eq!(status, 503);
                refused += 1;
            }
        }
    }
    assert!(held.len() >= MOST && refused > 0, "{}", held.len());
    for _ in 0..5 {
        let mut socket = Connection::open_from(3, app.address).await;
        let mut request = bob.with_credentials(handshake());
        request.target = "/ws".to_owned();
        socket.write(&request.bytes("app")).await;
        assert_eq!(socket.only_head().await.status, 101);
    }
}

#[tokio::test]
async fn a5_connections_of_one_site_leave_slots_for_others() {
    let text = "[policy]\ndefault = \"public\"\n[server]\nproxy_protocol = true\n\
        trusted_proxies = [\"127.0.0.0/8\"]\nmax_connections = 60\n";
    let app = TestApp::with(text).await;
    let line = |client: &str| format!("PROXY TCP6 {client} ::1 5000 443\r\n");
    let mut kept = Vec::new();
    for n in 0..200 {
        let mut one = Connection::open(app.address).await;
        let client = line(&format!("2001:db8:1:{n:02x}00::1"));
        one.write(client.as_bytes()).await;
        if one.get("/").await.status == 200 {
            kept.push(one);
        }
    }
    assert!(kept.len() >= 30, "the attack holds: {}", kept.len());
    for _ in 0..ASKS {
        let mut other = Connection::open(app.address).await;
        other.write(line("2001:db8:2::1").as_bytes()).await;
        let request = TestRequest::new("GET", "/").with("Connection", "close");
        assert_eq!(other.request(&request).await.status, 200);
    }
    drop(kept);
}

#[tokio::test]
async fn a5_silent_connections_to_the_admin_port_do_not_stop_probes() {
    let app = TestApp::start().await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(stream_from(1, app.admin).await);
    }
    for from in [1, 2] {
        for path in ["/livez", "/readyz", "/metrics"] {
            let request = TestRequest::new("GET", path);
            assert_eq!(
                failures(app.admin, from, &request).await,
                0,
                "{from} {path}"
            );
        }
    }
    drop(silent);
}

#[tokio::test]
async fn a5_silent_connections_to_the_redirect_listener_do_not_stop_others() {
    let site = Site::new();
    let app = TestApp::with(&site.redirecting("")).await;
    let to = app.running().redirect_address().expect("an address");
    let mut silent = Vec::new();
    for from in 10..20 {
        for _ in 0..64 {
            silent.push(stream_from(from, to).await);
        }
    }
    let mut other = Connection::open_from(3, to).await;
    other.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(other.rest().await.starts_with(b"HTTP/1.1 308 "));
    drop(silent);
}

/// A server process with few file descriptors, and silent connections until no more are accepted.
#[tokio::test]
async fn e7_connections_that_use_up_the_open_files_stop_neither_probes_nor_commands_nor_the_upstream()
 {
    let program = Program::with_ann();
    let server = program.serve_with_files(160).await;
    let admin = server.admin();
    let ann = server
        .anon()
        .login("ann", crate::support::program::PASSWORD)
        .await;
    // A connection opened before the flood.
    let mut valid = Connection::open_from(3, server.address).await;
    assert_eq!(valid.request(&asking(&ann)).await.status, 200);
    let mut flood = Vec::new();
    for from in 10..13 {
        for _ in 0..80 {
            flood.push(stream_from(from, server.address).await);
        }
    }
    let mut silent = Vec::new();
    let mut callers = Vec::new();
    for _ in 0..40 {
        silent.push(stream_from(4, admin).await);
        let socket = program.home().join("data/control.sock");
        callers.push(UnixStream::connect(socket).await.expect("a control socket"));
    }
    for _ in 0..ASKS {
        assert_eq!(valid.request(&asking(&ann)).await.status, 200);
    }
    assert_eq!(failures(server.address, 5, &asking(&ann)).await, 0);
    assert_eq!(
        failures(admin, 3, &TestRequest::new("GET", "/readyz")).await,
        0
    );
    assert!(program.done(&["sessions", "list"]).contains("ann"));
    drop((flood, silent, callers));
}
