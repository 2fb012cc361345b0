//! Refresh by a program: one chain of tokens also in parallel, foreign tokens refused, limits that apply
//! at use.

use std::time::Duration;

use serde_json::json;
use sidegate::service::accounts::Named;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::answer::Answer;
use crate::support::client::{DEADLINE, TestRequest};
use crate::support::harness::{PASSWORD, TestApp, claims, set_roles};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn refused(answer: &Answer) {
    assert_eq!(answer.refusal(), (401, "invalid_refresh_token".into()));
    assert_eq!(answer.header("www-authenticate"), None);
}

#[tokio::test]
async fn fifty_parallel_refreshes_of_one_token_give_one_successor() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let mut tabs = JoinSet::new();
    for _ in 0..50 {
        let ann = ann.clone();
        tabs.spawn(async move { ann.try_refresh().await });
    }
    let answers = tabs.join_all().await;
    let mut successors: Vec<String> = Vec::new();
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        successors.push(ann.holding(answer).refresh_token);
    }
    assert_eq!(successors.len(), 50);
    successors.dedup();
    assert_eq!(successors.len(), 1, "{successors:?}");
    // Either tab can continue, and the chain continues.
    for answer in &answers {
        assert_eq!(ann.holding(answer).get("/orders").await.status, 200);
    }
    ann.holding(&answers[49]).refresh().await;
}

#[tokio::test]
async fn a_repeat_within_the_grace_gives_the_same_successor_and_after_it_ends_the_session() {
    let app = TestApp::with("[tokens]\nrotation_grace = \"20s\"").await;
    let first = app.user("ann").await;
    let mut ann = first.clone();
    ann.refresh().await;
    app.clock.advance(Duration::from_secs(20));
    let repeated = first.holding(&first.try_refresh().await);
    assert_eq!(repeated.refresh_token, ann.refresh_token);
    assert_eq!(repeated.get("/orders").await.status, 200);
    app.clock.advance(Duration::from_millis(1));
    refused(&first.try_refresh().await);
    refused(&ann.try_refresh().await);
    for actor in [&first, &ann, &repeated] {
        assert_eq!(
            actor.get("/orders").await.refusal(),
            (401, "session_ended".into())
        );
    }
}

#[tokio::test]
async fn a_token_two_refreshes_old_is_reuse_also_within_the_grace() {
    let app = TestApp::start().await;
    let first = app.user("ann").await;
    let mut ann = first.clone();
    ann.refresh().await;
    ann.refresh().await;
    refused(&first.try_refresh().await);
    assert_eq!(
        ann.get("/orders").await.refusal(),
        (401, "session_ended".into())
    );
}

#[tokio::test]
async fn no_altered_or_cut_token_is_accepted_or_affects_the_valid_one() {
    let app = TestApp::start().await;
    let mut ann = app.user("ann").await;
    let valid = ann.refresh_token.clone();
    let swapped = |at: usize| {
        let other = if valid.as_bytes()[at] == b'A' {
            "B"
        } else {
            "A"
        };
        format!("{}{other}{}", &valid[..at], &valid[at + 1..])
    };
    let mut bad: Vec<String> = (0..valid.len()).map(swapped).collect();
    bad.extend(
        (0..valid.len())
            .step_by(7)
            .map(|end| valid[..end].to_owned()),
    );
    bad.push(format!("{valid}="));
    bad.push(format!("{valid}.{valid}"));
    bad.push(format!(" {valid}"));
    bad.push("x".repeat(512));
    bad.push(ann.access.clone());
    bad.retain(|token| token.len() <= 512);
    let mut tries = JoinSet::new();
    for token in bad {
        let mut ann = ann.clone();
        ann.refresh_token = token;
        tries.spawn(async move { ann.try_refresh().await });
    }
    for answer in tries.join_all().await {
        refused(&answer);
    }
    ann.refresh().await;
    assert_eq!(ann.get("/orders").await.status, 200);
}

#[tokio::test]
async fn a_missing_and_an_oversized_token_have_their_own_error_codes() {
    let app = TestApp::start().await;
    refused(&app.anon().post_empty("/auth/refresh").await);
    refused(&app.anon().post("/auth/refresh", json!({})).await);
    let long = json!({"refreshToken": "x".repeat(513)});
    let answer = app.anon().post("/auth/refresh", long).await;
    assert_eq!(answer.refusal(), (400, "invalid_field".into()));
}

#[tokio::test]
async fn a_closed_account_cannot_refresh() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let named = Named::parse("ann").expect("a name");
    let disabled = app.service().operator_disable(&named).await;
    disabled.expect("done").expect("an account");
    refused(&ann.try_refresh().await);
    assert_eq!(
        ann.get("/orders").await.refusal(),
        (401, "session_ended".into())
    );
    // The end is final: enabling the account restores no session.
    let enabled = app.service().operator_enable(&named).await;
    enabled.expect("done").expect("an account");
    refused(&ann.try_refresh().await);
}

#[tokio::test]
async fn too_many_refreshes_of_one_session_get_retry_after() {
    let app = TestApp::with("[limits]\nrefresh = \"3/m\"").await;
    let mut ann = app.user("ann").await;
    let mut elsewhere = app.login("ann").await;
    for _ in 0..3 {
        ann.refresh().await;
    }
    let answer = ann.try_refresh().await;
    assert_eq!(answer.refusal(), (429, "rate_limited".into()));
    for (name, value) in [
        ("retry-after", "20"),
        ("ratelimit-limit", "3"),
        ("ratelimit-remaining", "0"),
        ("ratelimit-reset", "20"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    elsewhere.refresh().await;
    app.clock.advance(Duration::from_secs(20));
    ann.refresh().await;
    assert_eq!(ann.try_refresh().await.status, 429);
}

#[tokio::test]
async fn tabs_that_refresh_at_once_count_once() {
    let app = TestApp::with("[limits]\nrefresh = \"2/h\"").await;
    let ann = app.user("ann").await;
    let mut tabs = JoinSet::new();
    for _ in 0..100 {
        let ann = ann.clone();
        tabs.spawn(async move { ann.try_refresh().await });
    }
    let mut successors = std::collections::BTreeSet::new();
    for answer in tabs.join_all().await {
        assert_eq!(answer.status, 200, "{}", answer.text());
        successors.insert(ann.holding(&answer).refresh_token);
    }
    assert_eq!(successors.len(), 1);
    let mut next = ann.holding(&ann.try_refresh().await);
    next.refresh().await;
    assert_eq!(
        next.try_refresh().await.refusal(),
        (429, "rate_limited".into())
    );
}

#[tokio::test]
async fn a_refresh_by_cookie_needs_a_page_of_the_site() {
    let app = TestApp::with("[[mount]]\nprefix = \"/auth\"\ndelivery = \"cookies\"").await;
    app.account("ann", &["user"]).await;
    let granted = app.anon().try_login("ann", PASSWORD).await;
    let cookie = granted.cookie_pair("sidegate_refresh");
    let browser = app.anon().with_header("Cookie", &cookie);
    for (name, value) in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "https://evil.example"),
        ("X-Nothing", "at-all"),
    ] {
        let answer = browser
            .with_header(name, value)
            .post_empty("/auth/refresh")
            .await;
        assert_eq!(
            answer.refusal(),
            (403, "cross_site".into()),
            "{name}: {value}"
        );
        assert_eq!(answer.all("set-cookie"), [""; 0]);
    }
    let answer = browser
        .with_header("Sec-Fetch-Site", "same-origin")
        .post_empty("/auth/refresh")
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_ne!(answer.cookie_pair("sidegate_refresh"), cookie);
    let access = answer.cookie_pair("sidegate_access");
    let page = app
        .anon()
        .with_header("Cookie", &access)
        .get("/orders")
        .await;
    assert_eq!(page.status, 200);
}

#[tokio::test]
async fn a_session_ends_after_its_lifetime_even_when_active() {
    let app = TestApp::with(
        "[sessions]\nlifetime = \"2h\"\nidle_timeout = \"0s\"\n[tokens]\nleeway = \"0s\"",
    )
    .await;
    let mut ann = app.user("ann").await;
    for _ in 0..10 {
        app.clock.advance(MINUTE * 11);
        ann.refresh().await;
    }
    // After 110 minutes the last token is as short as the remaining lifetime.
    let answer = ann.refresh().await;
    assert_eq!(answer.json()["expiresIn"], 600);
    let token = claims(&ann.access);
    assert_eq!(
        token["exp"].as_u64(),
        token["iat"].as_u64().map(|iat| iat + 600)
    );
    app.clock.advance(Duration::from_millis(599_999));
    assert_eq!(ann.get("/orders").await.status, 200);
    app.clock.advance(Duration::from_millis(1));
    assert_eq!(
        ann.get("/orders").await.refusal(),
        (401, "token_expired".into())
    );
    refused(&ann.try_refresh().await);
}

#[tokio::test]
async fn an_idle_session_ends_and_requests_keep_one_active() {
    let app = TestApp::with("[sessions]\nidle_timeout = \"10m\"\n[tokens]\nleeway = \"0s\"").await;
    let mut awake = app.user("ann").await;
    let idle = app.login("ann").await;
    assert_eq!(claims(&idle.access)["exp"], 1_800_000_000 + 600);
    app.clock.advance(MINUTE * 9);
    let now = "2027-01-15T08:09:00.000Z";
    assert_eq!(awake.get("/orders").await.status, 200);
    // Activity is written in the background.
    let deadline = Instant::now() + DEADLINE;
    while awake.get("/auth/me").await.json()["session"]["lastActiveAt"] != now {
        assert!(Instant::now() < deadline, "the activity was never noted");
    }
    app.clock.advance(MINUTE * 9);
    refused(&idle.try_refresh().await);
    assert_eq!(
        idle.get("/orders").await.refusal(),
        (401, "token_expired".into())
    );
    awake.refresh().await;
    assert_eq!(awake.sessions().await.len(), 1);
}

#[tokio::test]
async fn a_remembered_session_has_no_idle_limit_and_a_longer_lifetime() {
    let app = TestApp::start().await;
    let plain = app.user("ann").await;
    let body = json!({"identifier": "ann", "password": PASSWORD, "remember": true});
    let answer = app.anon().post("/auth/login", body).await;
    let mut kept = app.anon().holding(&answer);
    assert_eq!(
        answer.json()["refreshTokenExpiresAt"],
        "2027-02-14T08:00:00.000Z"
    );
    app.clock.advance(DAY * 29);
    refused(&plain.try_refresh().await);
    kept.refresh().await;
    app.clock.advance(DAY);
    refused(&kept.try_refresh().await);
}

#[tokio::test]
async fn a_refresh_contains_the_current_roles_and_names() {
    let app = TestApp::start().await;
    let mut ann = app.user("ann").await;
    let roles = "editor".parse::<sidegate::types::role::Role>();
    let roles = sidegate::types::role::Roles::new(roles).expect("roles");
    let named = Named::parse("ann").expect("a name");
    let set = app.service().operator_set_roles(&named, roles).await;
    set.expect("done").expect("an account");
    assert_eq!(
        ann.get("/orders").await.refusal(),
        (401, "token_stale".into())
    );
    ann.refresh().await;
    assert_eq!(claims(&ann.access)["roles"], json!(["editor"]));
    assert_eq!(
        ann.send(TestRequest::new("GET", "/orders")).await.status,
        200
    );
}

/// A bug: a reply is lost, then the roles change, then the client repeats the refresh within the grace.
/// The returned generation was already stale and was refused at once.
#[tokio::test]
async fn a_refresh_repeated_after_a_change_of_roles_gives_a_valid_token() {
    let app = TestApp::with("[[rule]]\npath = \"/edit\"\nroles = [\"editor\"]\n").await;
    let ann = app.user("ann").await;
    let lost = ann.holding(&ann.try_refresh().await);
    assert_eq!(lost.get("/orders").await.status, 200);
    set_roles(&app, "ann", &["editor"]).await;
    assert_eq!(
        lost.get("/orders").await.code(),
        "token_stale",
        "of the old roles"
    );
    for _ in 0..2 {
        let again = ann.holding(&ann.try_refresh().await);
        assert_eq!(
            again.refresh_token, lost.refresh_token,
            "the same successor"
        );
        assert_eq!(claims(&again.access)["roles"], json!(["editor"]));
        for path in ["/orders", "/edit", "/auth/me"] {
            assert_eq!(again.get(path).await.status, 200, "{path}");
        }
    }
    let mut next = ann.holding(&ann.try_refresh().await);
    next.refresh().await;
    assert_eq!(next.get("/edit").await.status, 200);
}

#[tokio::test]
async fn after_many_changes_of_roles_each_new_token_is_valid() {
    let app = TestApp::start().await;
    let mut ann = app.user("ann").await;
    for n in 0..5 {
        let role = format!("role{n}");
        set_roles(&app, "ann", &[&role]).await;
        assert_eq!(ann.get("/orders").await.code(), "token_stale");
        let fresh = app.login("ann").await;
        assert_eq!(fresh.get("/orders").await.status, 200, "a log-in after it");
        ann.refresh().await;
        assert_eq!(ann.get("/orders").await.status, 200);
    }
}
