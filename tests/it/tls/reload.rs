//! A reload replaces certificates, names and client authorities for the next handshake. One unusable
//! file leaves everything unchanged.

use std::fs;

use tokio::time::{Instant, sleep};

use crate::support::certificates::{Authority, Site, presented_certificate, request, tls_connect};
use crate::support::client::{Connection, DEADLINE};
use crate::support::harness::TestApp;
use crate::support::program::Program;

const NAME: &str = "app.example.org";

/// A configuration with this pair, this text in `[server.tls]`, and this text after it.
fn with_pair(site: &Site, pair: &str, more: &str) -> String {
    let text = site.with(more, "");
    let named = |kind: &str| site.file(&format!("{pair}.{kind}"));
    text.replace(&site.file("tls.crt"), &named("crt"))
        .replace(&site.file("tls.key"), &named("key"))
}

/// Adds a certificate.
fn further(site: &Site, pair: &str) -> String {
    format!(
        "[[server.tls.certificate]]\ncert = {:?}\nkey = {:?}\n",
        site.file(&format!("{pair}.crt")),
        site.file(&format!("{pair}.key")),
    )
}

/// A site with two more pairs: `other` for the same name, `shop` for its own.
fn site() -> Site {
    let site = Site::new();
    site.authority.write(site.folder.path(), "other", &[NAME]);
    site.authority
        .write(site.folder.path(), "shop", &["shop.example.org"]);
    site
}

/// A persistent connection over TLS.
async fn kept(app: &TestApp, site: &Site) -> Connection {
    let stream = tls_connect(app.address, NAME, site.client(), &["http/1.1"]).await;
    Connection::over(stream.expect("a handshake"), NAME)
}

#[tokio::test]
async fn a_signal_and_a_command_change_which_certificates_are_shown() {
    let site = site();
    let program = Program::with_ann();
    let configure = |pair: &str, more: &str| program.configure(&with_pair(&site, pair, more));
    configure("tls", "");
    let server = program.serve().await;
    let first = presented_certificate(server.address, NAME, &site).await;
    assert!(first.is_some());
    assert_eq!(
        presented_certificate(server.address, "shop.example.org", &site).await,
        None
    );
    configure("other", &further(&site, "shop"));
    server.signal("HUP");
    let deadline = Instant::now() + DEADLINE;
    while presented_certificate(server.address, NAME, &site).await == first {
        assert!(Instant::now() < deadline, "the other pair is never shown");
        sleep(std::time::Duration::from_millis(20)).await;
    }
    let shop = presented_certificate(server.address, "shop.example.org", &site).await;
    assert!(shop.is_some());
    configure("tls", "");
    assert!(program.done(&["reload"]).contains("reloaded"));
    assert_eq!(
        presented_certificate(server.address, NAME, &site).await,
        first
    );
    assert_eq!(
        presented_certificate(server.address, "shop.example.org", &site).await,
        None
    );
}

#[tokio::test]
async fn connections_stay_open_while_certificates_are_replaced() {
    let site = site();
    let app = TestApp::with(&with_pair(&site, "tls", "")).await;
    let first = presented_certificate(app.address, NAME, &site).await;
    let mut stands = kept(&app, &site).await;
    for pair in ["other", "tls", "other"] {
        app.rewrite(&with_pair(&site, pair, ""));
        app.running().reload().expect("a valid configuration");
        assert_eq!(stands.get("/x").await.status, 200);
    }
    assert_ne!(presented_certificate(app.address, NAME, &site).await, first);
}

#[tokio::test]
async fn accepted_client_authorities_follow_the_file() {
    let site = site();
    let foreign = Authority::new();
    fs::write(site.file("foreign.pem"), foreign.pem()).expect("a file");
    let asking = |how: &str, ca: &str| {
        let more = format!("client_auth = {how:?}\nclient_ca = {:?}\n", site.file(ca));
        with_pair(&site, "tls", &more)
    };
    let app = TestApp::with(&with_pair(&site, "tls", "")).await;
    let mut stands = kept(&app, &site).await;
    // Whether clients without a certificate, with an accepted one, and with a foreign one are served.
    for (text, is_answered) in [
        (asking("required", "ca.pem"), [false, true, false]),
        (asking("required", "foreign.pem"), [false, false, true]),
        (asking("optional", "ca.pem"), [true, true, false]),
        (with_pair(&site, "tls", ""), [true, true, true]),
    ] {
        app.rewrite(&text);
        app.running().reload().expect("a valid configuration");
        let clients = [
            site.client(),
            site.client_as(&site.authority, "ann"),
            site.client_as(&foreign, "eve"),
        ];
        for (client, is_answered) in clients.into_iter().zip(is_answered) {
            let received = match tls_connect(app.address, NAME, client, &[]).await {
                Ok(mut stream) => request(&mut stream, "").await.unwrap_or_default(),
                Err(_) => String::new(),
            };
            assert_eq!(
                received.starts_with("HTTP/1.1 200"),
                is_answered,
                "{text}: {received}"
            );
        }
        // A connection that was accepted before is not verified again.
        assert_eq!(stands.get("/x").await.status, 200);
    }
}

#[tokio::test]
async fn s58_an_unusable_certificate_leaves_the_whole_configuration_unchanged() {
    let site = site();
    let app = TestApp::with(&with_pair(&site, "tls", "")).await;
    let first = presented_certificate(app.address, NAME, &site).await;
    let mut stands = kept(&app, &site).await;
    fs::write(site.file("odd.crt"), "nothing").expect("a file");
    fs::copy(site.file("tls.key"), site.file("odd.key")).expect("a file");
    fs::copy(site.file("other.crt"), site.file("mixed.crt")).expect("a file");
    fs::copy(site.file("tls.key"), site.file("mixed.key")).expect("a file");
    let no_ca = format!(
        "client_auth = \"required\"\nclient_ca = {:?}\n",
        site.file("none.pem")
    );
    let bad = [
        (with_pair(&site, "odd", ""), "odd.crt"),
        (with_pair(&site, "mixed", ""), "mixed.key"),
        (with_pair(&site, "gone", ""), "gone.crt"),
        (with_pair(&site, "other", &further(&site, "odd")), "odd.crt"),
        (with_pair(&site, "other", &no_ca), "none.pem"),
    ];
    for (text, named) in &bad {
        app.rewrite(&text.replace("\"public\"", "\"user\""));
        let received = app.running().reload().expect_err(named);
        assert!(received.contains(named), "{received}");
        assert_eq!(
            presented_certificate(app.address, NAME, &site).await,
            first,
            "{named}"
        );
        // The rule in the same file is not applied either.
        assert_eq!(stands.get("/x").await.status, 200);
    }
    let page = app.admin_get("/metrics").await.text();
    let rejected = format!(
        "sidegate_config_reloads_total{{result=\"rejected\"}} {}\n",
        bad.len()
    );
    assert!(page.contains(&rejected), "{page}");
    assert!(page.contains("sidegate_config_generation 1\n"), "{page}");
    app.rewrite(&with_pair(&site, "other", "").replace("\"public\"", "\"user\""));
    app.running().reload().expect("a valid configuration");
    assert_ne!(presented_certificate(app.address, NAME, &site).await, first);
    assert_eq!(stands.get("/x").await.status, 401);
}
