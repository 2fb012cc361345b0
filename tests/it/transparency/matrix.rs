//! Every exchange, from every client to every kind of application, is the same with and without
//! Sidegate. A seed decides how bytes are split: `SIDEGATE_TRANSPARENCY_SEED=n cargo test --test it
//! transparency` repeats it.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use sidegate::types::random::{Random as _, SeededRandom, SystemRandom};

use super::applications::{Application, Kind, Playback};
use super::clients::{Client, Kind as Speaks};
use super::manual::INTERIM;
use super::message::{ReceivedAnswer, ReceivedRequest};
use super::table::{Exchange, exchanges};
use crate::support::harness::TestApp;

#[expect(
    clippy::disallowed_methods,
    reason = "a test reads its own settings; nothing of the product depends on them"
)]
fn seed() -> u64 {
    let seed = if let Ok(seed) = std::env::var("SIDEGATE_TRANSPARENCY_SEED") {
        seed.parse().expect("a number")
    } else {
        let mut bytes = [0; 8];
        SystemRandom.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    };
    println!("to see it again: SIDEGATE_TRANSPARENCY_SEED={seed}");
    seed
}

/// Plays an exchange without Sidegate.
async fn directly(
    exchange: &Exchange,
    dice: &SeededRandom,
    stages: &Stages,
) -> (ReceivedRequest, ReceivedAnswer) {
    let (kind, application) = if exchange.is_grpc {
        (Speaks::Http2, &stages.h2c)
    } else {
        (Speaks::Http11, &stages.http)
    };
    let to = SocketAddr::from(([127, 0, 0, 1], application.port));
    let client = Client {
        kind,
        to,
        tls: None,
        dice,
    };
    stages.stage.play(exchange);
    let answer = client.request(exchange).await;
    let interim: Vec<_> = exchange.interim.iter().map(|(status, _)| *status).collect();
    assert_eq!(answer.interim, interim, "{exchange:?}");
    let request = stages.stage.received().expect("a request");
    (
        request.essence(),
        answer.essence(&exchange.answer, &exchange.content),
    )
}

/// Applications that are reached directly.
struct Stages {
    stage: Arc<Playback>,
    http: Application,
    h2c: Application,
}

async fn compare(kinds: &[Kind]) {
    let seed = seed();
    let dice = SeededRandom::new(seed);
    let stage = Playback::new(seed.wrapping_add(1));
    let stages = Stages {
        http: Application::start(Kind::Http, &stage).await,
        h2c: Application::start(Kind::H2c, &stage).await,
        stage,
    };
    let mut table = Vec::new();
    for exchange in exchanges() {
        let expected = directly(&exchange, &dice, &stages).await;
        table.push((exchange, expected));
    }
    let mut compared = 0;
    for kind in kinds {
        let application = Application::start(*kind, &stages.stage).await;
        for is_secure in [false, true] {
            let place = Place::before(&application, is_secure).await;
            for speaks in Speaks::ALL {
                let client = Client {
                    kind: speaks,
                    to: place.app.address,
                    tls: place.tls.clone(),
                    dice: &dice,
                };
                for (exchange, expected) in &table {
                    if speaks.speaks(exchange) && (kind.is_http2() || !exchange.is_grpc) {
                        let through = through(&client, exchange, &stages.stage).await;
                        let words = format!(
                            "seed {seed}, {speaks:?} (TLS: {is_secure}) to {:?}: {} {} -> {}",
                            application.kind, exchange.method, exchange.target, exchange.status
                        );
                        same(exchange, expected, through, speaks, &words);
                        compared += 1;
                    }
                }
            }
        }
    }
    println!("{compared} exchanges");
    assert!(compared > 200 * kinds.len(), "only {compared} exchanges");
}

/// Plays an exchange with Sidegate in between.
async fn through(
    client: &Client<'_>,
    exchange: &Exchange,
    stage: &Playback,
) -> (Option<ReceivedRequest>, ReceivedAnswer) {
    stage.play(exchange);
    let answer = client.request(exchange).await;
    let answer = answer.essence(&exchange.answer, &exchange.content);
    (stage.received().map(ReceivedRequest::essence), answer)
}

fn same(
    exchange: &Exchange,
    (request, answer): &(ReceivedRequest, ReceivedAnswer),
    (received, mut seen): (Option<ReceivedRequest>, ReceivedAnswer),
    speaks: Speaks,
    words: &str,
) {
    // After an early answer the rest of the body need not be read, and over HTTP/1.0 nothing follows a
    // body.
    match received {
        None => assert!(exchange.is_early, "{words}: nothing was received"),
        Some(received) => assert_eq!(received, *request, "{words}: the request"),
    }
    let mut answer = answer.clone();
    answer
        .interim
        .retain(|status| !INTERIM.contains(&status.to_string().as_str()));
    // The 100 of Sidegate, for a client that waits for it.
    if exchange.request.iter().any(|(name, _)| name == "expect") {
        seen.interim.retain(|status| *status != 100);
    }
    if speaks == Speaks::Http10 {
        answer.trailers.clear();
    }
    if seen.body != answer.body {
        assert_eq!(
            seen.body.len(),
            answer.body.len(),
            "{words}: the answer's length"
        );
        panic!("{words}: the answer's bytes");
    }
    assert_eq!(seen, answer, "{words}: the answer");
}

/// Sidegate in front of an application, with TLS or without.
struct Place {
    app: TestApp,
    tls: Option<Arc<ClientConfig>>,
}

impl Place {
    async fn before(application: &Application, is_secure: bool) -> Self {
        let text = format!(
            "[policy]\ndefault = \"public\"\n[upstream]\n{}\n",
            application.upstream
        );
        if !is_secure {
            let app = TestApp::with(&text).await;
            return Self { app, tls: None };
        }
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let made = made.expect("a certificate");
        let file = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path.display().to_string()
        };
        let pem = made.cert.pem();
        let (cert, key) = (
            file("tls.crt", pem.clone()),
            file("tls.key", made.signing_key.serialize_pem()),
        );
        let text = format!("{text}[server.tls]\ncert = {cert:?}\nkey = {key:?}\n");
        let app = TestApp::with(&text).await;
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
        roots.add(certificate).expect("a root");
        let config = ClientConfig::builder_with_provider(sidegate::tls::provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            app,
            tls: Some(Arc::new(config)),
        }
    }
}

#[tokio::test]
async fn applications_over_plain_http_and_their_clients_see_no_difference() {
    compare(&[Kind::Http, Kind::Unix]).await;
}

#[tokio::test]
async fn applications_behind_tls_and_their_clients_see_no_difference() {
    compare(&[Kind::Https1]).await;
}

#[tokio::test]
async fn applications_in_http2_and_their_clients_see_no_difference() {
    compare(&[Kind::H2c, Kind::Https2]).await;
}
