//! A reload and the certificates of the public listener: other files, further names and other authorities
//! are taken by the next handshake; one file that cannot be used leaves everything as it was.

use std::fs;

use tokio::time::{Instant, sleep};

use crate::client::{Ask, Connection, DEADLINE};
use crate::harness::TestApp;
use crate::program::Program;
use crate::site::{Authority, Site, ask, shake, shown};

const NAME: &str = "app.example.org";

/// A configuration with this pair, and this text in `[server.tls]` and behind it.
fn with_pair(site: &Site, pair: &str, more: &str) -> String {
    let text = site.with(more, "");
    let named = |kind: &str| site.file(&format!("{pair}.{kind}"));
    text.replace(&site.file("tls.crt"), &named("crt"))
        .replace(&site.file("tls.key"), &named("key"))
}

/// One more certificate.
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

/// A kept connection over TLS.
async fn kept(app: &TestApp, site: &Site) -> Connection {
    let stream = shake(app.address, NAME, site.client(), &["http/1.1"]).await;
    Connection::over(stream.expect("a handshake"), NAME)
}

#[tokio::test]
async fn a_signal_and_a_command_change_which_certificates_are_shown() {
    let site = site();
    let program = Program::with_ann();
    let configure = |pair: &str, more: &str| program.configure(&with_pair(&site, pair, more));
    configure("tls", "");
    let server = program.serve().await;
    let first = shown(server.address, NAME, &site).await;
    assert!(first.is_some());
    assert_eq!(shown(server.address, "shop.example.org", &site).await, None);
    configure("other", &further(&site, "shop"));
    server.signal("HUP");
    let deadline = Instant::now() + DEADLINE;
    while shown(server.address, NAME, &site).await == first {
        assert!(Instant::now() < deadline, "the other pair is never shown");
        sleep(std::time::Duration::from_millis(20)).await;
    }
    let shop = shown(server.address, "shop.example.org", &site).await;
    assert!(shop.is_some());
    configure("tls", "");
    assert!(program.done(&["reload"]).contains("reloaded"));
    assert_eq!(shown(server.address, NAME, &site).await, first);
    assert_eq!(shown(server.address, "shop.example.org", &site).await, None);
}

#[tokio::test]
async fn connections_stand_while_the_certificates_are_exchanged() {
    let site = site();
    let app = TestApp::with(&with_pair(&site, "tls", "")).await;
    let first = shown(app.address, NAME, &site).await;
    let mut stands = kept(&app, &site).await;
    for pair in ["other", "tls", "other"] {
        app.rewrite(&with_pair(&site, pair, ""));
        app.running().reload().expect("a good configuration");
        assert_eq!(stands.ask(&Ask::new("GET", "/x")).await.status, 200);
    }
    assert_ne!(shown(app.address, NAME, &site).await, first);
}

#[tokio::test]
async fn whose_clients_are_let_in_follows_the_file() {
    let site = site();
    let stranger = Authority::new();
    fs::write(site.file("stranger.pem"), stranger.pem()).expect("a file");
    let asking = |how: &str, ca: &str| {
        let more = format!("client_auth = {how:?}\nclient_ca = {:?}\n", site.file(ca));
        with_pair(&site, "tls", &more)
    };
    let app = TestApp::with(&with_pair(&site, "tls", "")).await;
    let mut stands = kept(&app, &site).await;
    // Whether nobody, one of ours and one of the stranger's are answered.
    for (text, is_answered) in [
        (asking("required", "ca.pem"), [false, true, false]),
        (asking("required", "stranger.pem"), [false, false, true]),
        (asking("optional", "ca.pem"), [true, true, false]),
        (with_pair(&site, "tls", ""), [true, true, true]),
    ] {
        app.rewrite(&text);
        app.running().reload().expect("a good configuration");
        let clients = [
            site.client(),
            site.client_as(&site.authority, "ann"),
            site.client_as(&stranger, "eve"),
        ];
        for (client, is_answered) in clients.into_iter().zip(is_answered) {
            let heard = match shake(app.address, NAME, client, &[]).await {
                Ok(mut stream) => ask(&mut stream, "").await.unwrap_or_default(),
                Err(_) => String::new(),
            };
            assert_eq!(
                heard.starts_with("HTTP/1.1 200"),
                is_answered,
                "{text}: {heard}"
            );
        }
        // Who was let in before is not asked again.
        assert_eq!(stands.ask(&Ask::new("GET", "/x")).await.status, 200);
    }
}

#[tokio::test]
async fn s58_a_certificate_that_cannot_be_used_leaves_the_whole_configuration_as_it_was() {
    let site = site();
    let app = TestApp::with(&with_pair(&site, "tls", "")).await;
    let first = shown(app.address, NAME, &site).await;
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
        let told = app.running().reload().expect_err(named);
        assert!(told.contains(named), "{told}");
        assert_eq!(shown(app.address, NAME, &site).await, first, "{named}");
        // The rule in the same file is not taken either.
        assert_eq!(stands.ask(&Ask::new("GET", "/x")).await.status, 200);
    }
    let page = app.admin_get("/metrics").await.text();
    let rejected = format!(
        "sidegate_config_reloads_total{{result=\"rejected\"}} {}\n",
        bad.len()
    );
    assert!(page.contains(&rejected), "{page}");
    assert!(page.contains("sidegate_config_generation 1\n"), "{page}");
    app.rewrite(&with_pair(&site, "other", "").replace("\"public\"", "\"user\""));
    app.running().reload().expect("a good configuration");
    assert_ne!(shown(app.address, NAME, &site).await, first);
    assert_eq!(stands.ask(&Ask::new("GET", "/x")).await.status, 401);
}
