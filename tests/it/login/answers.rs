//! The answers to log-ins: what they contain, what they never reveal, and how often a client may try.

use std::time::Duration;

use serde_json::{Value, json};
use sidegate::model::audit::AuditAction;
use sidegate::service::accounts::Named;
use tokio::task::JoinSet;

use crate::support::answer::Answer;
use crate::support::harness::{PASSWORD, TestApp};

const OPEN: &str = "[signup]\nmode = \"open\"\n";
const WRONG: &str = "not the password";

/// Everything of a refusal that a client can see, except its id and date.
fn seen(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| name != "x-request-id" && name != "date");
    (answer.status, headers, answer.masked())
}

fn named(name: &str) -> Named {
    Named::parse(name).expect("a name")
}

#[tokio::test]
async fn s37_unknown_wrong_locked_and_disabled_get_the_same_answer() {
    let app = TestApp::with("[login]\nmax_failures = 3").await;
    for name in ["ann", "dan", "lou"] {
        app.account(name, &["user"]).await;
    }
    let disabled = app.service().operator_disable(&named("dan")).await;
    disabled.expect("done").expect("an account");
    for _ in 0..3 {
        app.anon().try_login("lou", WRONG).await;
    }
    let mut refusals = Vec::new();
    for (name, password) in [
        ("ann", WRONG),
        ("nobody", PASSWORD),
        ("not a name!", PASSWORD),
        ("+49 151 00000000", PASSWORD),
        ("dan", PASSWORD),
        ("dan", WRONG),
        ("lou", PASSWORD),
        ("lou", WRONG),
    ] {
        refusals.push(seen(&app.anon().try_login(name, password).await));
    }
    assert_eq!(refusals[0].0, 401);
    assert!(refusals[0].2.contains("invalid_credentials"));
    for refusal in &refusals {
        assert_eq!(refusal, &refusals[0]);
    }
    let told_apart = [
        "wrong_password",
        "unknown_account",
        "no_such_name",
        "disabled",
        "locked",
    ];
    let outcomes = |all: &[sidegate::model::audit::AuditRecord]| {
        let logins = all.iter().filter(|r| r.action == AuditAction::Login);
        logins.map(|r| r.outcome.clone()).collect::<Vec<_>>()
    };
    let all_there = |all: &_| {
        told_apart
            .iter()
            .all(|o| outcomes(all).iter().any(|x| x == o))
    };
    app.audit(|all| all_there(all)).await;
}

#[tokio::test]
async fn every_spelling_counts_against_one_account_and_the_lock_expires() {
    let app = TestApp::with("[login]\nmax_failures = 3\nlock_for = \"10m\"").await;
    app.account("ann", &["user"]).await;
    for spelling in ["Ann", "ＡＮＮ", " ann "] {
        assert_eq!(app.anon().try_login(spelling, WRONG).await.status, 401);
    }
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 401);
    app.clock.advance(Duration::from_secs(599));
    assert_eq!(app.anon().try_login("aNN", PASSWORD).await.status, 401);
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(app.anon().try_login("ＡＮＮ", PASSWORD).await.status, 200);
    // A success resets the counter.
    for _ in 0..2 {
        app.anon().try_login("ann", WRONG).await;
    }
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_lock_applies_to_one_name_and_an_operator_can_remove_it() {
    let app = TestApp::with("[login]\nmax_failures = 2").await;
    for name in ["ann", "bob"] {
        app.account(name, &["user"]).await;
    }
    for _ in 0..2 {
        app.anon().try_login("ann", WRONG).await;
    }
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 401);
    assert_eq!(app.anon().try_login("bob", PASSWORD).await.status, 200);
    let opened = app.service().operator_unlock(&named("ann")).await;
    assert_eq!(opened.expect("done"), Some(true));
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_known_device_can_log_in_while_the_name_is_locked() {
    let app = TestApp::with(
        "[login]\nmax_failures = 2\n[[mount]]\nprefix = \"/auth\"\ndelivery = \"cookies\"",
    )
    .await;
    for name in ["ann", "bob"] {
        app.account(name, &["user"]).await;
    }
    let device = |answer: &Answer| answer.cookie_pair("sidegate_device");
    let ann = device(&app.anon().try_login("ann", PASSWORD).await);
    let bob = device(&app.anon().try_login("bob", PASSWORD).await);
    for _ in 0..2 {
        app.anon().try_login("ann", WRONG).await;
    }
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 401);
    let strange = app.anon().with_header("Cookie", &bob);
    assert_eq!(strange.try_login("ann", PASSWORD).await.status, 401);
    let known = app.anon().with_header("Cookie", &ann);
    assert_eq!(known.try_login("ann", WRONG).await.status, 401);
    assert_eq!(known.try_login("ann", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn only_the_configured_kinds_of_names_log_in() {
    let app = TestApp::with(&format!("{OPEN}[login]\nidentifiers = [\"email\"]")).await;
    let body = json!({
        "username": "ann",
        "email": "Ann@Example.org",
        "mobile": "+49 151 23456789",
        "password": PASSWORD,
    });
    assert_eq!(app.anon().post("/auth/signup", body).await.status, 201);
    for (identifier, status) in [
        ("ann", 401),
        ("+4915123456789", 401),
        ("ann@example.org", 200),
        (" ANN@example.org", 200),
    ] {
        let answer = app.anon().try_login(identifier, PASSWORD).await;
        assert_eq!(answer.status, status, "{identifier}");
    }
}

#[tokio::test]
async fn the_one_session_too_many_ends_the_oldest_at_once() {
    let app = TestApp::with("[sessions]\nmax_per_user = 2").await;
    let first = app.user("ann").await;
    app.clock.advance(Duration::from_secs(1));
    let second = app.login("ann").await;
    assert_eq!(first.get("/orders").await.status, 200);
    app.clock.advance(Duration::from_secs(1));
    let third = app.login("ann").await;
    assert_eq!(
        first.get("/orders").await.refusal(),
        (401, "session_ended".into())
    );
    assert_eq!(first.try_refresh().await.status, 401);
    for actor in [&second, &third] {
        assert_eq!(actor.get("/orders").await.status, 200);
        assert_eq!(actor.sessions().await.len(), 2);
    }
}

#[tokio::test]
async fn where_a_full_account_refuses_the_log_in_is_refused() {
    let app = TestApp::with("[sessions]\nmax_per_user = 1\nwhen_full = \"refuse\"").await;
    let first = app.user("ann").await;
    let answer = app.anon().try_login("ann", PASSWORD).await;
    assert_eq!(answer.refusal(), (409, "too_many_sessions".into()));
    assert_eq!(first.get("/orders").await.status, 200);
    assert_eq!(first.logout().await.status, 204);
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn too_many_log_ins_of_one_name_get_retry_after() {
    let app = TestApp::with("[limits]\nlogin = \"3/h\"").await;
    for name in ["ann", "bob"] {
        app.account(name, &["user"]).await;
    }
    for spelling in ["ann", "ANN", " ann"] {
        assert_eq!(app.anon().try_login(spelling, WRONG).await.status, 401);
    }
    let answer = app.anon().try_login("ann", PASSWORD).await;
    assert_eq!(answer.refusal(), (429, "rate_limited".into()));
    assert_eq!(answer.header("retry-after"), Some("1200"));
    assert_eq!(answer.header("ratelimit-limit"), Some("3"));
    assert_eq!(answer.header("ratelimit-remaining"), Some("0"));
    assert_eq!(answer.header("ratelimit-reset"), Some("1200"));
    assert_eq!(app.anon().try_login("bob", PASSWORD).await.status, 200);
    app.clock.advance(Duration::from_secs(1200));
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn one_address_cannot_try_many_names() {
    let app = TestApp::with("[limits]\nlogin = \"2/h\"").await;
    for name in 0..20 {
        let answer = app.anon().try_login(&format!("name{name}"), WRONG).await;
        assert_eq!(answer.status, 401, "{name}");
    }
    let answer = app.anon().try_login("another", WRONG).await;
    assert_eq!(answer.refusal(), (429, "rate_limited".into()));
}

#[tokio::test]
async fn log_ins_beyond_the_hash_queue_are_served_or_get_retry_after() {
    let app = TestApp::with(
        "[passwords]\nmax_concurrent = 1\nmemory = \"19MiB\"\niterations = 2\n\
         danger_weak_hash = false\n[sessions]\nmax_per_user = 1000",
    )
    .await;
    app.account("ann", &["user"]).await;
    let mut crowd = JoinSet::new();
    for _ in 0..200 {
        let anon = app.anon();
        crowd.spawn(async move { anon.try_login("ann", PASSWORD).await });
    }
    let answers = crowd.join_all().await;
    let mut granted = 0;
    for answer in &answers {
        if answer.status == 200 {
            granted += 1;
        } else {
            assert_eq!(answer.refusal(), (503, "busy".into()));
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
    assert!((1..=200).contains(&granted));
    let last = app.login("ann").await;
    assert_eq!(last.sessions().await.len(), granted + 1);
}

#[tokio::test]
async fn s25_no_value_chosen_by_the_client_survives_a_log_in() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    // Old tokens sent with a log-in do not affect the new session.
    let body = json!({"identifier": "ann", "password": PASSWORD});
    let again = ann.with_header("X-Session-Id", &ann.session);
    let again = ann.holding(&again.post("/auth/login", body).await);
    assert_ne!(again.session, ann.session);
    assert_ne!(again.access, ann.access);
    assert_ne!(again.refresh_token, ann.refresh_token);
    for id in [&again.session, &ann.session] {
        assert_eq!(
            uuid::Uuid::parse_str(id).expect("an id").get_version_num(),
            7
        );
    }
    assert_eq!(again.sessions().await.len(), 2);
}

#[tokio::test]
async fn a_device_name_is_trimmed_or_derived_from_the_user_agent() {
    let app = TestApp::start().await;
    app.account("ann", &["user"]).await;
    for (given, agent, shown) in [
        (json!("  kitchen  "), "curl/8.5.0", json!("kitchen")),
        (json!(" "), "curl/8.5.0", json!("curl")),
        (Value::Null, "", Value::Null),
    ] {
        let body = json!({"identifier": "ann", "password": PASSWORD, "deviceName": given});
        let client = app.anon().with_header("User-Agent", agent);
        let answer = client.post("/auth/login", body).await;
        assert_eq!(
            answer.json()["session"]["deviceName"],
            shown,
            "{given} {agent}"
        );
    }
}

#[tokio::test]
async fn s41_only_a_verified_password_creates_a_session() {
    let app = TestApp::with("[signup]\nmode = \"open\"\n[login]\nmax_failures = 2").await;
    let body = json!({"username": "ann", "password": PASSWORD});
    let signed_up = app.anon().post("/auth/signup", body).await;
    let received = signed_up.json();
    let received: Vec<&String> = received.as_object().expect("an object").keys().collect();
    assert_eq!(received, ["user"], "a sign-up creates no session");
    for _ in 0..3 {
        app.anon().try_login("ann", WRONG).await;
    }
    app.anon().try_login("ann", PASSWORD).await;
    let sessions = app.service().operator_sessions(None, None, 10).await;
    assert!(sessions.expect("a list").is_empty());
    let opened = app.service().operator_unlock(&named("ann")).await;
    opened.expect("done").expect("an account");
    let ann = app.login("ann").await;
    assert_eq!(ann.sessions().await.len(), 1);
}
