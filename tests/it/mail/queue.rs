//! What happens to a mail whose server fails, and does it survive a restart?

use std::time::Duration;

use serde_json::json;
use sidegate::model::audit::AuditAction;
use sidegate::store::MailStore as _;

use crate::mail::{NEW, ann, by, change, metric_reaches};
use crate::support::harness::TestApp;
use crate::support::program::{PASSWORD, Program};
use crate::support::smtp::{Behaviour, MailServer};

/// Longer than the first wait.
const SOON: Duration = Duration::from_secs(31);

const POSTPONED: &str = "sidegate_events_total{act=\"mail\",outcome=\"postponed\"}";
const WAITING: &str = "sidegate_mails_waiting";

#[tokio::test]
async fn a_mail_that_was_not_accepted_is_sent_later_unchanged() {
    for behaviour in [Behaviour::RefusesForNow, Behaviour::Drops] {
        let server = MailServer::plain(behaviour).await;
        let app = TestApp::with(&by(server.address)).await;
        change(&ann(&app).await).await;
        metric_reaches(&app, POSTPONED, 1).await;
        assert_eq!(server.mails(), []);
        server.behaves(Behaviour::Accepts);
        app.clock.advance(SOON);
        let mails = server.accepted(1).await;
        assert!(mails[0].header("Message-ID").ends_with("@localhost>"));
        // The copy that was refused was the same, byte by byte.
        for refused in server.refused() {
            assert_eq!(refused.text, mails[0].text);
        }
        let refuses = behaviour == Behaviour::RefusesForNow;
        assert_eq!(server.refused().len(), usize::from(refuses));
        assert_eq!(mails[0].to, ["ann@example.org"], "{behaviour:?}");
    }
}

#[tokio::test]
async fn a_mail_server_that_hangs_or_is_away_delays_no_answer_and_no_start() {
    let server = MailServer::plain(Behaviour::Hangs).await;
    let app = TestApp::with(&by(server.address)).await;
    let client = ann(&app).await;
    let with = change(&client).await;
    server.connected(1).await;
    let queued = app
        .service()
        .store()
        .due_mails(10)
        .await
        .expect("the queue");
    let [mail] = queued.mails.as_slice() else {
        panic!("one mail: {queued:?}")
    };
    let shows = |text: &[u8]| mail.sealed.windows(text.len()).any(|part| part == text);
    assert!(!shows(b"example") && !shows(b"Ann"), "it is encrypted");
    // The connection hangs; other calls are answered as before.
    assert_eq!(client.get("/auth/me").await.status, 200);
    let plain = TestApp::start().await;
    let without = change(&ann(&plain).await).await;
    let names = |answer: &crate::support::answer::Answer| {
        let names = answer.headers.iter().map(|(name, _)| name.clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(
        names(&with),
        names(&without),
        "the same answer as without mail"
    );
    server.behaves(Behaviour::Accepts);
    server.release();
    metric_reaches(&app, POSTPONED, 1).await;
    app.clock.advance(SOON);
    assert_eq!(server.accepted(1).await.len(), 1);

    // Nothing listens at this port.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let away = socket.local_addr().expect("an address");
    drop(socket);
    let app = TestApp::with(&by(away)).await;
    change(&ann(&app).await).await;
    metric_reaches(&app, POSTPONED, 1).await;
}

#[tokio::test]
async fn a_mail_that_is_refused_for_good_is_given_up_and_recorded() {
    let server = MailServer::plain(Behaviour::RefusesForGood).await;
    let app = TestApp::with(&by(server.address)).await;
    change(&ann(&app).await).await;
    let records = app
        .audit(|records| records.iter().any(|r| r.action == AuditAction::MailFail))
        .await;
    let record = records.iter().find(|r| r.action == AuditAction::MailFail);
    let record = record.expect("a record");
    assert_eq!(record.outcome, "refused");
    assert!(record.user.is_some());
    server.behaves(Behaviour::Accepts);
    app.clock.advance(SOON);
    metric_reaches(&app, WAITING, 0).await;
    assert_eq!(server.mails(), []);
}

#[tokio::test]
async fn after_two_days_of_failures_a_mail_is_given_up() {
    let server = MailServer::plain(Behaviour::RefusesForNow).await;
    let app = TestApp::with(&by(server.address)).await;
    change(&ann(&app).await).await;
    metric_reaches(&app, POSTPONED, 1).await;
    app.clock.advance(Duration::from_secs(2 * 86_400 - 60));
    metric_reaches(&app, POSTPONED, 2).await;
    app.clock.advance(Duration::from_secs(3_600));
    let records = app
        .audit(|records| records.iter().any(|r| r.action == AuditAction::MailFail))
        .await;
    assert!(records.iter().any(|r| r.outcome == "expired"));
    metric_reaches(&app, WAITING, 0).await;
}

#[tokio::test]
async fn a_queued_mail_is_sent_after_kill_9() {
    let server = MailServer::plain(Behaviour::Hangs).await;
    let program = Program::new();
    program.configure(&by(server.address));
    let add = ["users", "add", "ann", "--email", "ann@example.org"];
    assert_eq!(program.run_with(&add, PASSWORD).code, Some(0));
    let running = program.serve().await;
    let client = running.anon().login("ann", PASSWORD).await;
    let body = json!({"current": PASSWORD, "new": NEW});
    assert_eq!(client.post("/auth/password", body).await.status, 204);
    server.connected(1).await;
    // Dropping it kills it with SIGKILL.
    drop(running);
    server.behaves(Behaviour::Accepts);
    server.release();
    let _again = program.serve().await;
    let mails = server.accepted(1).await;
    assert_eq!(mails[0].to, ["ann@example.org"]);
}
