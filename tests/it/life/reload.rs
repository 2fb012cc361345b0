//! A reload applies the whole configuration or nothing, while requests are served.

use std::time::Duration;

use serde_json::json;

use crate::support::client::{Connection, DEADLINE, TestRequest};
use crate::support::harness::{PASSWORD, TestApp};
use crate::support::plan::ALL_PUBLIC;
use crate::support::received::received;
use crate::support::scripted::ManualApp;
use crate::support::upstream::Echo;

/// Applies another configuration, which must be valid.
#[track_caller]
pub(super) fn reloaded(app: &TestApp, text: &str) -> String {
    app.rewrite(text);
    app.running().reload().expect("a valid configuration")
}

#[tokio::test]
async fn a_removed_rule_does_not_apply_to_the_next_request_on_any_connection() {
    let app = TestApp::with("[[rule]]\npath = \"/open/**\"\naccess = \"public\"\n").await;
    let request = TestRequest::new("GET", "/open/x");
    let mut kept = Vec::new();
    for _ in 0..8 {
        let mut connection = Connection::open(app.address).await;
        assert_eq!(connection.request(&request).await.status, 200);
        kept.push(connection);
    }
    let received = reloaded(&app, "");
    assert_eq!(received, "the configuration is reloaded");
    for connection in &mut kept {
        assert_eq!(connection.request(&request).await.status, 401);
    }
}

#[tokio::test]
async fn an_identity_cached_under_an_old_preset_is_written_by_the_new_one() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let first = ann.get("/a").await;
    assert!(received(&first, "x-user-id").is_some());
    reloaded(&app, "[headers]\npreset = \"oauth2-proxy\"\n");
    let forged = ann.with_header("X-Forwarded-User", "eve");
    let second = forged.get("/a").await;
    assert_eq!(received(&second, "x-user-id"), None);
    let user = received(&second, "x-forwarded-user").expect("the new header");
    assert_ne!(user, "eve");
    reloaded(&app, "");
    let third = forged.get("/a").await;
    assert!(received(&third, "x-user-id").is_some());
    assert_eq!(received(&third, "x-forwarded-user"), None);
}

#[tokio::test]
async fn mounts_cookies_hosts_and_trusted_proxies_follow_the_file() {
    let app = TestApp::start().await;
    app.account("ann", &["user"]).await;
    let login = json!({"identifier": "ann", "password": PASSWORD});
    assert_eq!(
        app.anon().post("/auth/login", login.clone()).await.status,
        200
    );
    reloaded(
        &app,
        "[server]\nhosts = [\"app.example\"]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [cookies]\nname_prefix = \"other\"\n\
         [[mount]]\nprefix = \"/account\"\ndialect = \"sidegate\"\ndelivery = \"cookies\"\n",
    );
    let at = |path: &str| TestRequest::new("POST", path).json(&login);
    let elsewhere = at("/account/login").send(app.address).await;
    assert_eq!(elsewhere.status, 400, "another host");
    let mut connection = Connection::open(app.address).await;
    connection
        .write(&at("/account/login").bytes("app.example"))
        .await;
    let answer = connection.answer("POST").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cookies = answer.all("set-cookie").join("\n");
    assert!(cookies.contains("other_access="), "{cookies}");
    let forwarded =
        TestRequest::new("GET", "/account/session").with("X-Forwarded-For", "192.0.2.7");
    connection.write(&forwarded.bytes("app.example")).await;
    connection.answer("GET").await;
    let log = app.access_log(|log| log.contains(" 192.0.2.7 ")).await;
    assert!(log.contains("/account/session"), "{log}");
}

#[tokio::test]
async fn a_request_in_progress_stays_at_its_upstream_and_the_next_uses_the_new_one() {
    let held = ManualApp::start();
    let other = Echo::start();
    let before = format!(
        "{ALL_PUBLIC}[upstream]\nurl = \"http://{}\"\n",
        held.address
    );
    let app = TestApp::with(&before).await;
    let mut begun = Connection::open(app.address).await;
    begun
        .write(&TestRequest::new("GET", "/slow").bytes("a"))
        .await;
    held.next_request().await;
    let after = format!(
        "{ALL_PUBLIC}[upstream]\nurl = \"http://{}\"\n",
        other.address
    );
    reloaded(&app, &after);
    assert_eq!(app.anon().get("/x").await.status, 200);
    assert_eq!(other.count(), 1);
    held.answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nold\n");
    assert_eq!(begun.answer("GET").await.text(), "old\n");
    // The connection of the request is no longer part of the old configuration.
    assert_eq!(begun.get("/y").await.status, 200);
    assert_eq!(other.count(), 2);
}

#[tokio::test]
async fn connections_to_an_upstream_that_did_not_change_are_kept() {
    let app = TestApp::with(&format!("{ALL_PUBLIC}[server]\nthreads = 1\n")).await;
    assert_eq!(app.anon().get("/x").await.status, 200);
    for n in 0..3 {
        reloaded(
            &app,
            &format!(
                "{ALL_PUBLIC}[server]\nthreads = 1\nmax_connections = {}\n",
                100 + n
            ),
        );
        assert_eq!(app.anon().get("/x").await.status, 200);
    }
    let others =
        format!("{ALL_PUBLIC}[server]\nthreads = 1\n[upstream]\nconnect_timeout = \"3s\"\n");
    let made = |page: &str| page.contains("sidegate_upstream_created_total 1\n");
    until_page(&app, made).await;
    reloaded(&app, &others);
    assert_eq!(app.anon().get("/x").await.status, 200);
    until_page(&app, |page| {
        page.contains("sidegate_upstream_created_total 2\n")
            && page.contains("sidegate_upstream_reused_total 3\n")
            && page.contains("sidegate_upstream_connections 1\n")
    })
    .await;
}

async fn until_page(app: &TestApp, enough: impl Fn(&str) -> bool) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let page = app.admin_get("/metrics").await.text();
        if enough(&page) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "never:\n{page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn counters_of_an_unchanged_limit_survive_a_reload() {
    let limits = "[limits]\nlogin = \"2/h\"\n";
    let app = TestApp::with(limits).await;
    app.account("ann", &["user"]).await;
    // Successful log-ins do not count.
    for _ in 0..3 {
        assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 200);
    }
    for _ in 0..2 {
        assert_eq!(app.anon().try_login("ann", "wrong").await.status, 401);
    }
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 429);
    reloaded(&app, &format!("{ALL_PUBLIC}{limits}signup = \"9/h\"\n"));
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 429);
    reloaded(&app, "[limits]\nlogin = \"3/h\"\n");
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn account_and_session_settings_follow_the_file_and_existing_sessions_remain() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let signup = json!({"username": "bob", "password": PASSWORD});
    assert_eq!(
        app.anon().post("/auth/signup", signup.clone()).await.status,
        403
    );
    reloaded(
        &app,
        "[signup]\nmode = \"open\"\n[sessions]\nmax_per_user = 2\nwhen_full = \"refuse\"\n\
         [passwords]\niterations = 2\n",
    );
    assert_eq!(app.anon().post("/auth/signup", signup).await.status, 201);
    assert_eq!(ann.get("/orders").await.status, 200);
    let mut again = app.login("ann").await;
    again.refresh().await;
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 409);
    // An ended session stays ended.
    assert_eq!(again.logout().await.status, 204);
    reloaded(&app, "");
    assert_eq!(again.get("/orders").await.status, 401);
    assert_eq!(ann.get("/orders").await.status, 200);
}

#[tokio::test]
async fn the_access_token_lifetime_can_be_lowered_by_a_reload_and_raised_by_a_restart() {
    let app = TestApp::with("[tokens]\naccess_ttl = \"10m\"\nleeway = \"0s\"\n").await;
    let old = app.user("ann").await;
    let received = reloaded(&app, "[tokens]\naccess_ttl = \"1m\"\nleeway = \"0s\"\n");
    assert_eq!(received, "the configuration is reloaded");
    let new = app.login("ann").await;
    app.clock.advance(Duration::from_secs(61));
    assert_eq!(old.get("/a").await.status, 200, "issued for ten minutes");
    assert_eq!(new.get("/a").await.refusal(), (401, "token_expired".into()));
    let received = reloaded(&app, "[tokens]\naccess_ttl = \"1h\"\nleeway = \"5s\"\n");
    assert!(
        received.contains("a restart is needed for tokens.access_ttl, tokens.leeway"),
        "{received}"
    );
    let capped = app.login("ann").await;
    app.clock.advance(Duration::from_secs(599));
    assert_eq!(capped.get("/a").await.status, 200);
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(capped.get("/a").await.status, 401);
}

#[tokio::test]
async fn s58_an_invalid_file_changes_nothing_and_is_counted() {
    let app = TestApp::with(ALL_PUBLIC).await;
    let bad = [
        "[server",
        "[rul]\nx = 1",
        "[policy]\ndefault = \"nobody\"",
        "[headers]\npreset = \"nonsense\"",
        "[tokens]\nalgorithm = \"HS256\"\nsecret_file = \"/nowhere/secret\"",
        "[[rule]]\npath = \"no slash\"\naccess = \"public\"",
        "[limits]\nlogin = \"many\"\n[signup]\nmode = \"open\"",
    ];
    for text in bad {
        app.rewrite(text);
        let words = app.running().reload().expect_err(text);
        assert!(!words.is_empty());
        assert_eq!(app.anon().get("/x").await.status, 200);
    }
    let signup = json!({"username": "bob", "password": PASSWORD});
    assert_eq!(app.anon().post("/auth/signup", signup).await.status, 403);
    let rejected = "sidegate_config_reloads_total{result=\"rejected\"}";
    assert_eq!(app.metric(rejected).await, bad.len() as u64);
    assert_eq!(app.metric("sidegate_config_generation").await, 1);
    reloaded(&app, ALL_PUBLIC);
    assert_eq!(app.metric("sidegate_config_generation").await, 2);
    let applied = "sidegate_config_reloads_total{result=\"applied\"}";
    assert_eq!(app.metric(applied).await, 1);
}

#[tokio::test]
async fn unreadable_keys_leave_the_whole_configuration_unchanged() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let index = app.home().join("keys");
    let moved = app.home().join("elsewhere");
    std::fs::rename(&index, &moved).expect("a folder");
    std::fs::write(&index, "not a folder").expect("a file");
    app.rewrite(ALL_PUBLIC);
    assert!(app.running().reload().is_err());
    assert_eq!(app.anon().get("/x").await.status, 401);
    assert_eq!(ann.get("/x").await.status, 200);
}

#[tokio::test]
async fn a_rotated_access_log_is_reopened() {
    let app = TestApp::with(ALL_PUBLIC).await;
    app.anon().get("/before").await;
    app.access_log(|log| log.contains(" /before ")).await;
    let old = app.home().join("access.log.1");
    std::fs::rename(app.home().join("access.log"), &old).expect("a rotated log");
    reloaded(&app, ALL_PUBLIC);
    app.anon().get("/after").await;
    let fresh = app.access_log(|log| log.contains(" /after ")).await;
    assert!(!fresh.contains("/before"), "{fresh}");
    let kept = std::fs::read_to_string(&old).expect("the old log");
    assert!(
        kept.contains("/before") && !kept.contains("/after"),
        "{kept}"
    );
}
