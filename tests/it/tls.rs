//! TLS in: certificates by name, their reload, clients' certificates, and what is done to a handshake.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use rustls::pki_types::ServerName;
use sidegate::server::Phase;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::client::{Connection, DEADLINE};
use crate::h2::Client;
use crate::harness::{TestApp, until};
use crate::scripted::{Held, in_front_of};
use crate::site::{Authority, Site, ask, shake, shown};
use crate::sockets::Sockets;

#[tokio::test]
async fn both_versions_are_spoken_over_tls_and_the_application_is_told_https() {
    let site = Site::new();
    let app = TestApp::with(&site.with("", "")).await;
    let mut old = shake(app.address, "app.example.org", site.client(), &["http/1.1"])
        .await
        .expect("a handshake");
    let answer = ask(&mut old, "").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let new = shake(
        app.address,
        "app.example.org",
        site.client(),
        &["h2", "http/1.1"],
    )
    .await
    .expect("a handshake");
    assert_eq!(new.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = Client::over(new).await;
    let request = Request::get("https://app.example.org/y").body(Full::default());
    let answer = client.ask(request.expect("a request")).await;
    assert_eq!(answer.expect("an answer").status(), 200);
    for head in app.upstream.take_heads() {
        let head = String::from_utf8_lossy(&head).to_lowercase();
        assert!(head.contains("\r\nx-forwarded-proto: https\r\n"), "{head}");
        assert!(head.contains("\r\nx-forwarded-port: 443\r\n"), "{head}");
    }
}

#[tokio::test]
async fn a_name_chooses_its_certificate() {
    let site = Site::new();
    site.authority
        .write(site.folder.path(), "wild", &["*.example.com"]);
    let further = format!(
        "[[server.tls.certificate]]\ncert = {:?}\nkey = {:?}\n",
        site.file("wild.crt"),
        site.file("wild.key"),
    );
    let app = TestApp::with(&site.with(&further, "")).await;
    let first = shown(app.address, "app.example.org", &site).await;
    let second = shown(app.address, "a.example.com", &site).await;
    assert!(first.is_some() && second.is_some());
    assert_ne!(first, second);
    // One label only; who asks for more is shown the first, and does not accept it.
    assert_eq!(shown(app.address, "a.b.example.com", &site).await, None);
}

#[tokio::test]
async fn certificates_are_reloaded_while_connections_stand_and_a_bad_pair_is_kept_out() {
    let site = Site::new();
    let upstream = Held::start();
    let text = site.with("reload_interval = \"1s\"", "");
    let text = text.replace(
        "[policy]\ndefault = \"public\"\n",
        &in_front_of(upstream.address),
    );
    let app = TestApp::with(&text).await;
    let first = shown(app.address, "app.example.org", &site).await;
    assert!(first.is_some());
    let mut stands = shake(app.address, "app.example.org", site.client(), &[])
        .await
        .expect("a handshake");
    stands
        .write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .expect("a request");
    upstream.came().await;
    // In one step: an empty file for a moment would be a failure of its own.
    std::fs::write(site.file("bad.key"), "nothing").expect("a file");
    std::fs::rename(site.file("bad.key"), site.file("tls.key")).expect("a file");
    let deadline = Instant::now() + DEADLINE;
    while !app
        .admin_get("/metrics")
        .await
        .text()
        .contains("tls_reload_failures_total 1\n")
    {
        assert!(Instant::now() < deadline, "the bad key is never seen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(shown(app.address, "app.example.org", &site).await, first);
    site.authority
        .write(site.folder.path(), "tls", &["app.example.org"]);
    while shown(app.address, "app.example.org", &site).await == first {
        assert!(Instant::now() < deadline, "the new pair is never taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    upstream.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let mut heard = String::new();
    stands.read_to_string(&mut heard).await.expect("an answer");
    assert!(heard.ends_with("ok"), "{heard}");
}

#[tokio::test]
async fn clients_with_certificates_are_told_apart_and_nobody_can_forge_a_subject() {
    let site = Site::new();
    let asked = |how: &str| {
        let tls = format!(
            "client_auth = {how:?}\nclient_ca = {:?}\nclient_subject_header = \"X-Client-Subject\"",
            site.file("ca.pem"),
        );
        site.with(&tls, "")
    };
    let forged =
        "X-Client-Subject: CN=root\r\nx_client_subject: CN=root\r\nX.Client-Subject: CN=root\r\n";
    let stranger = Authority::new();
    for how in ["optional", "required"] {
        let app = TestApp::with(&asked(how)).await;
        let subjects = |app: &TestApp| -> Vec<String> {
            let heads = app.upstream.take_heads();
            let text = String::from_utf8_lossy(&heads.concat()).to_lowercase();
            text.lines()
                .filter(|line| line.contains("subject") || line.contains("root"))
                .map(str::to_owned)
                .collect()
        };
        let known = site.client_as(&site.authority, "Zoë");
        let mut stream = shake(app.address, "app.example.org", known, &[])
            .await
            .expect("TLS");
        let answer = ask(&mut stream, forged).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(subjects(&app), ["x-client-subject: cn=zo%c3%ab"], "{how}");

        let nobody = shake(app.address, "app.example.org", site.client(), &[]).await;
        let answer = match nobody {
            Ok(mut stream) => ask(&mut stream, forged).await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        assert_eq!(
            answer.starts_with("HTTP/1.1 200"),
            how == "optional",
            "{answer}"
        );
        assert_eq!(subjects(&app), Vec::<String>::new(), "{how}");

        let unknown = site.client_as(&stranger, "root");
        let answer = match shake(app.address, "app.example.org", unknown, &[]).await {
            Ok(mut stream) => ask(&mut stream, "").await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        assert_eq!(answer, "", "{how}");
        assert_eq!(app.upstream.count(), 0, "{how}");
    }
}

#[tokio::test]
async fn a_subject_header_may_not_be_an_identity_header() {
    let site = Site::new();
    let tls = format!(
        "client_auth = \"required\"\nclient_ca = {:?}\nclient_subject_header = \"X-User_Id\"",
        site.file("ca.pem"),
    );
    let clock = TestApp::start().await.clock.clone();
    let folder = tempfile::tempdir().expect("a folder");
    let error = TestApp::try_on_disk(folder.path(), &site.with(&tls, ""), &clock).await;
    let error = error.expect_err("no start").to_string();
    assert!(error.contains("client_subject_header"), "{error}");
}

#[tokio::test]
async fn s10_a_handshake_that_does_not_end_ends_its_connection() {
    let site = Site::new();
    let app = TestApp::with(&site.with("handshake_timeout = \"1s\"", "")).await;
    // Nothing at all; the beginning of a record; a byte now and then.
    for begun in [&b""[..], b"\x16\x03\x01\x02\x00"] {
        let mut stream = TcpStream::connect(app.address).await.expect("a connection");
        stream.write_all(begun).await.expect("bytes");
        let began = Instant::now();
        let mut heard = Vec::new();
        let end = timeout(DEADLINE, stream.read_to_end(&mut heard)).await;
        drop(end.expect("an end in time"));
        assert!(began.elapsed() < Duration::from_secs(30));
    }
    let mut slow = TcpStream::connect(app.address).await.expect("a connection");
    slow.write_all(b"\x16\x03\x01\x02\x00")
        .await
        .expect("bytes");
    let ended = async {
        while slow.write_all(b"\x01").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(30), ended)
        .await
        .expect("an end in time");
    let page = app.admin_get("/metrics").await.text();
    assert!(page.contains("tls_handshake_failures_total 3\n"), "{page}");
    // Others are served on, if they are as quick as it takes.
    let deadline = Instant::now() + DEADLINE;
    while shown(app.address, "app.example.org", &site).await.is_none() {
        assert!(Instant::now() < deadline, "nobody is shaken hands with");
    }
}

#[tokio::test]
async fn s10_a_client_that_says_nothing_after_the_handshake_is_not_waited_for() {
    let site = Site::new();
    let text = site.with("", "").replacen(
        "[server.tls]",
        "[server]\nheader_timeout = \"1s\"\n[server.tls]",
        1,
    );
    let app = TestApp::with(&text).await;
    for alpn in ["h2", "http/1.1"] {
        let mut stream = shake(app.address, "app.example.org", site.client(), &[alpn])
            .await
            .expect("a handshake");
        let began = Instant::now();
        let mut heard = Vec::new();
        let end = timeout(DEADLINE, stream.read_to_end(&mut heard)).await;
        drop(end.expect("an end in time"));
        assert!(began.elapsed() < Duration::from_secs(30), "{alpn}");
    }
}

#[tokio::test]
async fn a_first_message_may_come_byte_by_byte() {
    let site = Site::new();
    let app = TestApp::with(&site.with("", "")).await;
    let (near, far) = tokio::io::duplex(1);
    let to = app.address;
    let mut carrying = JoinSet::new();
    carrying.spawn(async move {
        let stream = TcpStream::connect(to).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let (mut far, mut stream) = (far, stream);
        drop(tokio::io::copy_bidirectional(&mut far, &mut stream).await);
    });
    let name = ServerName::try_from("app.example.org").expect("a name");
    let shaking = TlsConnector::from(Arc::new(site.client())).connect(name, near);
    let shaken = timeout(DEADLINE, shaking).await.expect("in time");
    assert!(shaken.is_ok(), "{shaken:?}");
}

#[tokio::test]
async fn plain_http_on_the_port_of_tls_is_told_so() {
    let site = Site::new();
    let app = TestApp::with(&site.with("", "")).await;
    let heard = app.raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let heard = String::from_utf8_lossy(&heard).into_owned();
    assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
    assert!(heard.ends_with("this port speaks TLS\n"), "{heard}");
    assert_eq!(app.raw(b"\0\0\0\0").await, b"");
}

#[tokio::test]
async fn s10_over_tls_a_connection_too_many_is_closed_before_the_handshake() {
    let site = Site::new();
    let app = TestApp::with(&site.with("", "").replacen(
        "[server.tls]",
        "[server]\nmax_connections_per_address = 1\n[server.tls]",
        1,
    ))
    .await;
    let first = shake(app.address, "app.example.org", site.client(), &[]).await;
    let second = shake(app.address, "app.example.org", site.client(), &[]).await;
    assert!(first.is_ok() && second.is_err());
    drop(first);
    let address = app.address;
    let deadline = Instant::now() + DEADLINE;
    while shown(address, "app.example.org", &site).await.is_none() {
        assert!(Instant::now() < deadline, "the place is never free again");
    }
}

#[tokio::test]
async fn a_start_without_the_files_says_which_is_missing() {
    let site = Site::new();
    std::fs::remove_file(site.file("tls.key")).expect("a file");
    let clock = TestApp::start().await.clock.clone();
    let folder = tempfile::tempdir().expect("a folder");
    let error = TestApp::try_on_disk(folder.path(), &site.with("", ""), &clock).await;
    let error = error.expect_err("no start").to_string();
    assert!(error.contains("tls.key"), "{error}");
}

/// The configuration of a server that also sends clients to https.
pub(crate) fn redirecting(site: &Site, server: &str) -> String {
    let server = format!("[server]\nredirect_listen = \"127.0.0.1:0\"\n{server}\n[server.tls]");
    site.with("", "").replacen("[server.tls]", &server, 1)
}

/// What the redirect listener says to somebody who asks for a host.
async fn redirected(app: &TestApp, host: &str) -> String {
    let to = app.running().redirect_address().expect("an address");
    let mut asking = Connection::open(to).await;
    let head = format!("GET /a?b=c HTTP/1.1\r\nHost: {host}\r\n\r\n");
    asking.write(head.as_bytes()).await;
    String::from_utf8_lossy(&asking.rest().await).into_owned()
}

#[tokio::test]
async fn s10_one_address_cannot_take_every_place_of_the_redirect_listener() {
    let site = Site::new();
    let app = TestApp::with(&redirecting(&site, "")).await;
    let to = app.running().redirect_address().expect("an address");
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(Connection::open(to).await);
    }
    let one_more = Connection::open(to).await;
    assert_eq!(one_more.rest().await, b"");
    let mut heard = silent.pop().expect("a connection");
    heard.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(heard.rest().await.starts_with(b"HTTP/1.1 308 "));
    drop(silent);
    app.stop().await;
}

#[tokio::test]
async fn who_the_redirect_listener_has_let_in_is_answered_when_it_closes() {
    let deadline = Instant::now() + DEADLINE;
    while !is_answered_when_it_closes().await {
        assert!(Instant::now() < deadline, "never as quick as it takes");
    }
}

/// Whether the test ended its request within the two seconds that a listener that closes waits; then
/// it must be answered.
async fn is_answered_when_it_closes() -> bool {
    let site = Site::new();
    let app = TestApp::with(&redirecting(&site, "")).await;
    let to = app.running().redirect_address().expect("an address");
    let began = Instant::now();
    let mut slow = Connection::open(to).await;
    slow.write(b"GET /a HTTP/1.1\r\n").await;
    // Who comes later is let in later.
    let mut later = Connection::open(to).await;
    later.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(later.rest().await.starts_with(b"HTTP/1.1 308 "));
    app.running().stop();
    until(|| (app.running().lifecycle().phase() >= Phase::Closing).then_some(())).await;
    slow.write(b"Host: a\r\n\r\n").await;
    let is_prompt = began.elapsed() < Duration::from_millis(1_500);
    let heard = slow.rest().await;
    assert!(!is_prompt || heard.starts_with(b"HTTP/1.1 308 "));
    app.stop().await;
    is_prompt
}

#[tokio::test]
async fn the_redirect_listener_follows_a_reload() {
    let site = Site::new();
    let at = |host: &str| {
        let server = format!("hosts = [\"{host}\"]\npublic_url = \"https://{host}\"");
        redirecting(&site, &server)
    };
    let app = TestApp::with(&at("one.example.org")).await;
    let told = redirected(&app, "one.example.org").await;
    assert!(told.contains("https://one.example.org/a?b=c\r\n"), "{told}");
    app.rewrite(&at("two.example.org"));
    let words = app.running().reload().expect("a good configuration");
    assert_eq!(words, "the configuration is reloaded");
    let told = redirected(&app, "two.example.org").await;
    assert!(told.contains("https://two.example.org/a?b=c\r\n"), "{told}");
    let told = redirected(&app, "one.example.org").await;
    assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
}

#[tokio::test]
async fn the_redirect_listener_sends_everybody_to_https_and_nowhere_else() {
    let site = Site::new();
    let app = TestApp::with(&redirecting(&site, "")).await;
    let to = app.running().redirect_address().expect("an address");
    let told = redirected(&app, "app.example.org:80").await;
    assert!(told.starts_with("HTTP/1.1 308 "), "{told}");
    let location = "\r\nlocation: https://app.example.org/a?b=c\r\n";
    assert!(told.contains(location), "{told}");
    let told = redirected(&app, "a@evil").await;
    assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
    assert_eq!(app.upstream.count(), 0);
    let door = Sockets::at(to);
    app.stop().await;
    door.closes().await;
}
