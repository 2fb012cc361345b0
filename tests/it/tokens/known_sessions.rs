//! A valid signature is not enough: the session must be in the store. Each app is restarted, or gets
//! another store, with the same signing keys.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::support::actors::Actor;
use crate::support::client::{DEADLINE, TestRequest};
use crate::support::forge::{Forger, but};
use crate::support::harness::{PASSWORD, TestApp, claims};

/// A memory store, and keys that outlive it.
async fn in_memory(keys: &Path) -> TestApp {
    let text = format!("[tokens]\nkeys_dir = \"{}\"\n", keys.display());
    TestApp::with(&text).await
}

async fn is_over(ann: &Actor, case: &str) {
    for path in [
        "/orders",
        "/maybe",
        "/auth/me",
        "/auth/verify",
        "/auth/sessions",
    ] {
        let answer = ann.get(path).await;
        assert_eq!(
            answer.refusal(),
            (401, "session_ended".into()),
            "{case}: {path}"
        );
        let challenge = answer.header("www-authenticate").expect("a challenge");
        assert!(challenge.contains("invalid_token"), "{case}: {challenge}");
    }
}

#[tokio::test]
async fn a_token_of_a_session_that_ended_before_a_restart_of_a_memory_store_is_refused() {
    let keys = tempfile::tempdir().expect("a folder");
    let app = in_memory(keys.path()).await;
    let ann = app.user("ann").await;
    assert_eq!(ann.get("/orders").await.status, 200);
    assert_eq!(ann.logout().await.status, 204);
    app.stop().await;

    let app = in_memory(keys.path()).await;
    let ann = ann.at(&app);
    is_over(&ann, "log-out, restart").await;
    // The session has ended: its log-out is not an error.
    assert_eq!(ann.logout().await.status, 204);
    let ann = app.user("ann").await;
    assert_eq!(ann.get("/orders").await.status, 200);
}

#[tokio::test]
async fn after_a_wiped_store_no_session_is_accepted_with_any_keys() {
    let disk = tempfile::tempdir().expect("a folder");
    let app = TestApp::on_disk(disk.path(), "").await;
    let (ann, clock) = (app.user("ann").await, Arc::clone(&app.clock));
    assert_eq!(ann.get("/orders").await.status, 200);
    app.stop().await;
    let app = TestApp::try_on_disk(disk.path(), "", &clock)
        .await
        .expect("a start");
    assert_eq!(
        ann.at(&app).get("/orders").await.status,
        200,
        "the store has it"
    );
    app.stop().await;

    let elsewhere = format!(
        "[store]\nurl = \"memory:\"\n[tokens]\nkeys_dir = \"{}\"\n",
        disk.path().join("keys").display()
    );
    let app = TestApp::with(&elsewhere).await;
    is_over(&ann.at(&app), "another store").await;
}

#[tokio::test]
async fn an_invented_session_user_or_tenant_is_refused_even_with_a_valid_signature() {
    let app = TestApp::with("[[rule]]\npath = \"/maybe\"\naccess = \"optional\"\n").await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let forger = Forger::of(&app, &ann.access);
    let body = claims(&ann.access);
    let genuine = ann.with_access(&forger.sign(&but(&body, &json!({"x-extra": 1}))));
    assert_eq!(
        genuine.get("/orders").await.status,
        200,
        "the forger's tools work"
    );
    for change in [
        json!({"sid": "0190b4d6-7c1a-7e3a-8000-0123456789ab"}),
        json!({"tenantId": "acme"}),
        json!({"sub": claims(&bob.access)["sub"]}),
        json!({"sid": claims(&bob.access)["sid"]}),
        json!({"gen": 4_000_000}),
    ] {
        let forged = ann.with_access(&forger.sign(&but(&body, &change)));
        is_over(&forged, &change.to_string()).await;
        let seen = forged.send(TestRequest::new("GET", "/maybe")).await;
        assert_eq!(seen.status, 401, "an optional route opens nothing either");
    }
    for change in [
        json!({"role": "admin", "roles": ["admin"]}),
        json!({"roles": ["user", "admin"]}),
        json!({"ver": 77}),
    ] {
        let forged = ann.with_access(&forger.sign(&but(&body, &change)));
        let answer = forged.get("/orders").await;
        assert_eq!(answer.refusal(), (401, "token_stale".into()), "{change}");
    }
    assert_eq!(ann.get("/orders").await.status, 200);
}

#[tokio::test]
async fn an_access_token_from_before_a_refresh_is_valid_until_it_expires() {
    let app = TestApp::start().await;
    let mut ann = app.user("ann").await;
    let before = ann.clone();
    ann.refresh().await;
    ann.refresh().await;
    assert_eq!(
        before.get("/orders").await.status,
        200,
        "never seen until now"
    );
    assert_eq!(ann.get("/orders").await.status, 200);
}

#[tokio::test]
async fn s28_without_the_store_a_new_token_is_503_and_a_cached_one_is_accepted() {
    let (app, faults) = TestApp::with_faults("").await;
    let mut ann = app.user("ann").await;
    let seen = ann.clone();
    assert_eq!(seen.get("/orders").await.status, 200);
    ann.refresh().await;
    faults.fail_reads(true);
    for path in ["/orders", "/auth/me", "/auth/verify"] {
        let answer = ann.get(path).await;
        assert_eq!(
            answer.refusal(),
            (503, "store_unavailable".into()),
            "{path}"
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_eq!(
        ann.logout().await.status,
        503,
        "an end that is not certain is not claimed"
    );
    for _ in 0..20 {
        assert_eq!(seen.get("/orders").await.status, 200);
    }
    faults.fail_reads(false);
    assert_eq!(ann.get("/orders").await.status, 200);
}

#[tokio::test]
async fn s28_with_a_store_that_hangs_a_new_token_waits_for_the_deadline_only() {
    let (app, faults) = TestApp::with_faults("[store]\ndeadline = \"15s\"\n").await;
    let ann = app.user("ann").await;
    faults.stall(true);
    let mut asking = JoinSet::new();
    let began = Instant::now();
    for _ in 0..40 {
        let ann = ann.clone();
        asking.spawn(async move { ann.get("/orders").await });
    }
    // All of them wait for one deadline, not one after the other.
    let answers = timeout(DEADLINE * 3, asking.join_all()).await;
    faults.stall(false);
    for answer in answers.unwrap_or_else(|_| panic!("no end after {:?}", began.elapsed())) {
        assert_eq!(answer.refusal(), (503, "store_unavailable".into()));
    }
    assert_eq!(ann.get("/orders").await.status, 200);
}

#[tokio::test]
async fn a_new_session_is_accepted_at_once() {
    let app = TestApp::start().await;
    app.account("ann", &["user"]).await;
    let mut lives = JoinSet::new();
    for _ in 0..30 {
        let anon = app.anon();
        lives.spawn(async move {
            let ann = anon.login("ann", PASSWORD).await;
            ann.get("/orders").await.status
        });
    }
    assert!(lives.join_all().await.iter().all(|status| *status == 200));
    let page = app.admin_get("/metrics").await.text();
    let counted = page
        .lines()
        .find(|line| line.contains("first_sight") && line.contains("alive"))
        .unwrap_or_else(|| panic!("no number in {page}"));
    assert!(counted.ends_with(" 30"), "one read a token: {counted}");
}
