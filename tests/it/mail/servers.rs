//! How is a mail server with TLS and a log-in used, and which ones get nothing?

use sidegate::mail::settings::{Security, Sender, Server, Settings, Templates, Transport};
use sidegate::mail::{By, Failure, Letter, Mailer, Subject};
use sidegate::types::language::Language;
use sidegate::types::secret::SecretText;
use sidegate::types::time::Timestamp;

use std::path::PathBuf;
use std::sync::Arc;

use crate::mail::{ann, change};
use crate::support::certificates::Site;
use crate::support::harness::TestApp;
use crate::support::smtp::{Behaviour, MailServer, Protection};

#[tokio::test]
async fn starttls_and_tls_are_used_with_the_configured_authority_and_log_in() {
    let site = Site::new();
    let password = site.folder.path().join("password");
    std::fs::write(&password, "s3cret\n").expect("a file");
    for (protection, scheme) in [(Protection::StartTls, "smtp"), (Protection::Tls, "smtps")] {
        let login = Some(("sidegate", "s3cret"));
        let server = MailServer::secure(protection, &site.authority, login).await;
        let app = TestApp::with(&format!(
            "[mail]\ntransport = \"{scheme}://{}\"\nca = {:?}\nusername = \"sidegate\"\n\
             password_file = {password:?}\n",
            server.address,
            site.file("ca.pem"),
        ))
        .await;
        change(&ann(&app).await).await;
        let mails = server.accepted(1).await;
        assert!(mails[0].over_tls && mails[0].logged_in, "{scheme}");
    }
}

/// The result of sending to this server.
async fn sent(
    server: &MailServer,
    security: Security,
    ca: Option<PathBuf>,
    login: Option<(&str, &str)>,
) -> Result<(), Failure> {
    let login = login.map(|(name, password)| (name.to_owned(), SecretText::new(password)));
    let mailer = Mailer::new(&Settings {
        transport: Transport::Server(Server {
            host: server.address.ip().to_string(),
            port: server.address.port(),
            security,
            ca,
            login,
        }),
        from: Sender::parse("a@example.org").expect("a sender"),
        templates: Arc::new(Templates::load(None).expect("templates")),
        language: Language::En,
    });
    let letter = Letter {
        to: "ann@example.org".to_owned(),
        name: "Ann".to_owned(),
        language: Language::En,
        at: Timestamp::from_secs(1_800_000_000),
        subject: Subject::PasswordChanged {
            by: By::Owner,
            address: None,
        },
    };
    mailer.expect("a mailer").deliver(&letter, [1; 16]).await
}

#[tokio::test]
async fn without_the_required_starttls_nothing_is_sent() {
    let server = MailServer::plain(Behaviour::Accepts).await;
    let result = sent(&server, Security::StartTls, None, None).await;
    assert!(matches!(result, Err(Failure::Later(_))), "{result:?}");
    assert_eq!(server.mails(), []);
    let result = sent(&server, Security::IfOffered, None, None).await;
    assert_eq!((result, server.mails().len()), (Ok(()), 1));
}

#[tokio::test]
async fn a_server_with_an_unknown_certificate_gets_nothing() {
    let (site, other) = (Site::new(), Site::new());
    let unknown = Some(PathBuf::from(other.file("ca.pem")));
    for (protection, security) in [
        (Protection::StartTls, Security::StartTls),
        (Protection::StartTls, Security::IfOffered),
        (Protection::Tls, Security::Tls),
    ] {
        let server = MailServer::secure(protection, &site.authority, None).await;
        for ca in [None, unknown.clone()] {
            let result = sent(&server, security, ca, None).await;
            assert!(matches!(result, Err(Failure::Later(_))), "{result:?}");
        }
        assert_eq!(server.mails(), []);
        let known = Some(PathBuf::from(site.file("ca.pem")));
        assert_eq!(sent(&server, security, known, None).await, Ok(()));
    }
}

#[tokio::test]
async fn a_refused_log_in_is_no_reason_to_drop_a_mail() {
    let site = Site::new();
    let login = Some(("sidegate", "right"));
    let server = MailServer::secure(Protection::Tls, &site.authority, login).await;
    let ca = Some(PathBuf::from(site.file("ca.pem")));
    for wrong in [Some(("sidegate", "wrong")), None] {
        let result = sent(&server, Security::Tls, ca.clone(), wrong).await;
        assert!(matches!(result, Err(Failure::Later(_))), "{result:?}");
    }
    assert_eq!(sent(&server, Security::Tls, ca, login).await, Ok(()));
}

#[tokio::test]
async fn an_unusable_authority_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, "no certificate").expect("a file");
    let config = format!("[mail]\ntransport = \"smtps://127.0.0.1:1\"\nca = {ca:?}\n");
    let started = crate::support::plan::Plan::new(&config).try_start().await;
    let told = started.expect_err("no start").to_string();
    assert!(told.starts_with("mail.ca: "), "{told}");
}
