//! What is sent after a change of the password, and to whom?

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use sidegate::types::named::Named;
use sidegate::types::secret::Password;

use crate::mail::{NEW, ann, by, change, metric_reaches};
use crate::support::harness::{PASSWORD, TestApp};
use crate::support::smtp::{Behaviour, MailServer};
use crate::support::wait::until;

#[tokio::test]
async fn the_owner_gets_one_mail_in_the_language_of_the_request() {
    let server = MailServer::plain(Behaviour::Accepts).await;
    let app = TestApp::with(&by(server.address)).await;
    let client = ann(&app).await;
    let german = client.with_header("Accept-Language", "it, de-CH;q=0.9, en;q=0.5");
    change(&german).await;
    let mails = server.accepted(1).await;
    assert_eq!(mails[0].from, "no-reply@localhost");
    assert_eq!(mails[0].to, ["ann@example.org"]);
    assert_eq!(mails[0].header("To"), "ann@example.org");
    assert_eq!(mails[0].header("From"), "Sidegate <no-reply@localhost>");
    for part in [
        "Guten Tag Ann & Co,",
        "Ann &amp; Co",
        "127.0.0.1",
        "2027-01-15",
    ] {
        assert!(mails[0].text.contains(part), "{part}: {}", mails[0].text);
    }
    for secret in [PASSWORD, NEW] {
        assert!(!mails[0].text.contains(secret));
    }
    for (outcome, count) in [("queued", 1), ("sent", 1), ("postponed", 0), ("failed", 0)] {
        let name = format!("sidegate_events_total{{act=\"mail\",outcome=\"{outcome}\"}}");
        metric_reaches(&app, &name, count).await;
    }
    metric_reaches(&app, "sidegate_mails_waiting", 0).await;
    assert_eq!(server.mails().len(), 1);
}

#[tokio::test]
async fn a_change_by_an_operator_says_so_in_the_default_language() {
    let server = MailServer::plain(Behaviour::Accepts).await;
    let more = "language = \"fr\"\nfrom = \"Acme <auth@example.org>\"\n";
    let app = TestApp::with(&format!("{}{more}", by(server.address))).await;
    ann(&app).await;
    let named = Named::parse("ann").expect("a name");
    let password = Password::new(NEW.to_owned()).expect("a password");
    let set = app.service().operator_set_password(&named, password).await;
    set.expect("done").expect("an account");
    let mails = server.accepted(1).await;
    assert_eq!(mails[0].from, "auth@example.org");
    assert!(mails[0].header("Message-ID").ends_with("@example.org>"));
    assert!(mails[0].text.contains("Acme"), "{}", mails[0].text);
    assert!(
        mails[0].text.contains("op=C3=A9rateur"),
        "{}",
        mails[0].text
    );
}

#[tokio::test]
async fn an_address_that_was_not_verified_gets_no_mail_and_neither_does_a_refused_change() {
    let server = MailServer::plain(Behaviour::Accepts).await;
    let config = format!("{}[signup]\nmode = \"open\"\n", by(server.address));
    let app = TestApp::with(&config).await;
    let body = json!({"username": "bob", "email": "bob@example.org", "password": PASSWORD});
    assert_eq!(app.anon().post("/auth/signup", body).await.status, 201);
    change(&app.login("bob").await).await;
    let client = ann(&app).await;
    for body in [
        json!({"current": "wrong password", "new": NEW}),
        json!({"current": PASSWORD, "new": "short"}),
    ] {
        let refused = client.post("/auth/password", body).await;
        assert!(refused.status >= 400, "{}", refused.text());
    }
    assert_eq!(
        app.metric("sidegate_events_total{act=\"mail\",outcome=\"queued\"}")
            .await,
        0
    );
    // The mail of a change that succeeds is the first one to arrive.
    change(&client).await;
    assert_eq!(server.accepted(1).await[0].to, ["ann@example.org"]);
}

#[tokio::test]
async fn mails_in_files_are_for_their_owner_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let mails = folder.path().join("mails");
    let config = format!("[mail]\ntransport = \"file:{}\"\n", mails.display());
    let app = TestApp::with(&config).await;
    change(&ann(&app).await).await;
    let file = until(|| {
        let mut names = std::fs::read_dir(&mails).ok()?.filter_map(Result::ok);
        let name = names.find(|entry| entry.file_name().to_string_lossy().ends_with(".eml"))?;
        Some(name.path())
    })
    .await;
    let mode = |path| {
        let found = std::fs::metadata(path).expect("metadata");
        found.permissions().mode() & 0o777
    };
    assert_eq!((mode(&mails), mode(&file)), (0o700, 0o600));
    let text = std::fs::read_to_string(&file).expect("a mail");
    assert!(text.contains("\r\nTo: ann@example.org\r\n"), "{text}");
}

#[tokio::test]
async fn an_operators_template_replaces_ours_and_a_broken_one_stops_the_start() {
    let server = MailServer::plain(Behaviour::Accepts).await;
    let folder = tempfile::tempdir().expect("a folder");
    let template = folder.path().join("password_changed.en.txt");
    std::fs::write(
        &template,
        "Subject: Changed for {{ name }}\n\nOur own words.",
    )
    .expect("a file");
    let line = format!("templates = \"{}\"\n", folder.path().display());
    let config = format!("{}{line}", by(server.address));
    let app = TestApp::with(&config).await;
    change(&ann(&app).await).await;
    let mails = server.accepted(1).await;
    assert_eq!(mails[0].header("Subject"), "Changed for Ann & Co");
    assert!(mails[0].text.contains("Our own words."));
    std::fs::write(&template, "Subject: x\n\n{{ nmae }}").expect("a file");
    let refused = crate::support::plan::Plan::new(&config).config();
    let told = refused.expect_err("a broken template");
    assert!(
        told.contains("password_changed.en.txt:3: undefined value"),
        "{told}"
    );
}
