//! Certificates are chosen by name and reloaded while connections are open; client certificates are
//! verified.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use crate::support::certificates::{Authority, Site, presented_certificate, request, tls_connect};
use crate::support::client::DEADLINE;
use crate::support::h2::Client;
use crate::support::harness::TestApp;
use crate::support::plan::ALL_PUBLIC;
use crate::support::scripted::{ManualApp, public_upstream};

#[tokio::test]
async fn both_http_versions_work_over_tls_and_the_application_receives_https() {
    let site = Site::new();
    let app = TestApp::with(&site.with("", "")).await;
    let mut old = tls_connect(app.address, "app.example.org", site.client(), &["http/1.1"])
        .await
        .expect("a handshake");
    let answer = request(&mut old, "").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let new = tls_connect(
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
    let answer = client.request(request.expect("a request")).await;
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
    let first = presented_certificate(app.address, "app.example.org", &site).await;
    let second = presented_certificate(app.address, "a.example.com", &site).await;
    assert!(first.is_some() && second.is_some());
    assert_ne!(first, second);
    // A wildcard matches one label. For a longer name the first certificate is presented, and the client
    // refuses it.
    assert_eq!(
        presented_certificate(app.address, "a.b.example.com", &site).await,
        None
    );
}

#[tokio::test]
async fn certificates_are_reloaded_while_connections_stay_open_and_an_invalid_pair_is_refused() {
    let site = Site::new();
    let upstream = ManualApp::start();
    let text = site.with("reload_interval = \"1s\"", "");
    let text = text.replace(ALL_PUBLIC, &public_upstream(upstream.address));
    let app = TestApp::with(&text).await;
    let first = presented_certificate(app.address, "app.example.org", &site).await;
    assert!(first.is_some());
    let mut stands = tls_connect(app.address, "app.example.org", site.client(), &[])
        .await
        .expect("a handshake");
    stands
        .write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .expect("a request");
    upstream.next_request().await;
    // In one step: a file that is empty for a moment would be another error.
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
    assert_eq!(
        presented_certificate(app.address, "app.example.org", &site).await,
        first
    );
    site.authority
        .write(site.folder.path(), "tls", &["app.example.org"]);
    while presented_certificate(app.address, "app.example.org", &site).await == first {
        assert!(Instant::now() < deadline, "the new pair is never taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    upstream.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let mut received = String::new();
    stands
        .read_to_string(&mut received)
        .await
        .expect("an answer");
    assert!(received.ends_with("ok"), "{received}");
}

#[tokio::test]
async fn client_certificates_are_verified_and_no_client_can_forge_a_subject() {
    let site = Site::new();
    let configured = |how: &str| {
        let tls = format!(
            "client_auth = {how:?}\nclient_ca = {:?}\nclient_subject_header = \"X-Client-Subject\"",
            site.file("ca.pem"),
        );
        site.with(&tls, "")
    };
    let forged =
        "X-Client-Subject: CN=root\r\nx_client_subject: CN=root\r\nX.Client-Subject: CN=root\r\n";
    let foreign = Authority::new();
    for how in ["optional", "required"] {
        let app = TestApp::with(&configured(how)).await;
        let subjects = |app: &TestApp| -> Vec<String> {
            let heads = app.upstream.take_heads();
            let text = String::from_utf8_lossy(&heads.concat()).to_lowercase();
            text.lines()
                .filter(|line| line.contains("subject") || line.contains("root"))
                .map(str::to_owned)
                .collect()
        };
        let known = site.client_as(&site.authority, "Zoë");
        let mut stream = tls_connect(app.address, "app.example.org", known, &[])
            .await
            .expect("TLS");
        let answer = request(&mut stream, forged).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(subjects(&app), ["x-client-subject: cn=zo%c3%ab"], "{how}");

        let nobody = tls_connect(app.address, "app.example.org", site.client(), &[]).await;
        let answer = match nobody {
            Ok(mut stream) => request(&mut stream, forged).await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        assert_eq!(
            answer.starts_with("HTTP/1.1 200"),
            how == "optional",
            "{answer}"
        );
        assert_eq!(subjects(&app), Vec::<String>::new(), "{how}");

        let unknown = site.client_as(&foreign, "root");
        let answer = match tls_connect(app.address, "app.example.org", unknown, &[]).await {
            Ok(mut stream) => request(&mut stream, "").await.unwrap_or_default(),
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
async fn a_start_without_the_files_names_the_missing_one() {
    let site = Site::new();
    std::fs::remove_file(site.file("tls.key")).expect("a file");
    let clock = TestApp::start().await.clock.clone();
    let folder = tempfile::tempdir().expect("a folder");
    let error = TestApp::try_on_disk(folder.path(), &site.with("", ""), &clock).await;
    let error = error.expect_err("no start").to_string();
    assert!(error.contains("tls.key"), "{error}");
}
