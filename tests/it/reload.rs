//! A reload changes everything that can be changed while requests are served, all of it or nothing.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sidegate::control::reply::Reply;
use sidegate::control::request::Request;
use sidegate::control::wire;

use crate::client::{Answer, Ask, Connection, DEADLINE};
use crate::harness::{PASSWORD, TestApp, until};
use crate::pressing::{Crowd, Upload, Way};
use crate::scripted::Held;
use crate::site::Site;
use crate::upstream::Echo;
use crate::websocket::{echo, handshake, shake};

const OPEN: &str = "[policy]\ndefault = \"public\"\n";

/// Takes another configuration; it must be good.
#[track_caller]
fn reloaded(app: &TestApp, text: &str) -> String {
    app.rewrite(text);
    app.running().reload().expect("a good configuration")
}

/// What the upstream received under this name.
fn received(answer: &Answer, name: &str) -> Option<String> {
    let echo = answer.json();
    let headers = echo["headers"].as_array().expect("headers");
    let found = headers.iter().find(|pair| {
        pair[0]
            .as_str()
            .is_some_and(|n| n.eq_ignore_ascii_case(name))
    });
    found.map(|pair| pair[1].as_str().expect("a value").to_owned())
}

/// A number of the metrics page.
async fn number(app: &TestApp, name: &str) -> u64 {
    let page = app.admin_get("/metrics").await.text();
    let line = page.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value
        .unwrap_or_else(|| panic!("{name} is not in\n{page}"))
        .parse()
        .expect("a number")
}

#[tokio::test]
async fn a_removed_rule_is_gone_with_the_very_next_request_on_every_connection() {
    let app = TestApp::with("[[rule]]\npath = \"/open/**\"\naccess = \"public\"\n").await;
    let ask = Ask::new("GET", "/open/x");
    let mut kept = Vec::new();
    for _ in 0..8 {
        let mut connection = Connection::open(app.address).await;
        assert_eq!(connection.ask(&ask).await.status, 200);
        kept.push(connection);
    }
    let told = reloaded(&app, "");
    assert_eq!(told, "the configuration is reloaded");
    for connection in &mut kept {
        assert_eq!(connection.ask(&ask).await.status, 401);
    }
}

#[tokio::test]
async fn an_identity_seen_under_an_old_preset_is_written_by_the_new_one() {
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
    let at = |path: &str| Ask::new("POST", path).json(&login);
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
    let forwarded = Ask::new("GET", "/account/session").with("X-Forwarded-For", "192.0.2.7");
    connection.write(&forwarded.bytes("app.example")).await;
    connection.answer("GET").await;
    let log = app.access_log(|log| log.contains(" 192.0.2.7 ")).await;
    assert!(log.contains("/account/session"), "{log}");
}

#[tokio::test]
async fn a_request_in_flight_ends_where_it_began_and_the_next_goes_to_the_new_upstream() {
    let held = Held::start();
    let other = Echo::start();
    let before = format!("{OPEN}[upstream]\nurl = \"http://{}\"\n", held.address);
    let app = TestApp::with(&before).await;
    let mut begun = Connection::open(app.address).await;
    begun.write(&Ask::new("GET", "/slow").bytes("a")).await;
    held.came().await;
    let after = format!("{OPEN}[upstream]\nurl = \"http://{}\"\n", other.address);
    reloaded(&app, &after);
    assert_eq!(app.anon().get("/x").await.status, 200);
    assert_eq!(other.count(), 1);
    held.answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nold\n");
    assert_eq!(begun.answer("GET").await.text(), "old\n");
    // The connection it came by is no longer part of anything old.
    assert_eq!(begun.ask(&Ask::new("GET", "/y")).await.status, 200);
    assert_eq!(other.count(), 2);
}

#[tokio::test]
async fn connections_to_an_upstream_that_did_not_change_are_kept() {
    let app = TestApp::with(&format!("{OPEN}[server]\nthreads = 1\n")).await;
    assert_eq!(app.anon().get("/x").await.status, 200);
    for n in 0..3 {
        reloaded(
            &app,
            &format!(
                "{OPEN}[server]\nthreads = 1\nmax_connections = {}\n",
                100 + n
            ),
        );
        assert_eq!(app.anon().get("/x").await.status, 200);
    }
    let others = format!("{OPEN}[server]\nthreads = 1\n[upstream]\nconnect_timeout = \"3s\"\n");
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
async fn what_was_counted_under_a_limit_survives_a_reload_that_leaves_it_alone() {
    let limits = "[limits]\nlogin = \"2/h\"\n";
    let app = TestApp::with(limits).await;
    app.account("ann", &["user"]).await;
    // What succeeds does not count.
    for _ in 0..3 {
        assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 200);
    }
    for _ in 0..2 {
        assert_eq!(app.anon().try_login("ann", "wrong").await.status, 401);
    }
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 429);
    reloaded(&app, &format!("{OPEN}{limits}signup = \"9/h\"\n"));
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 429);
    reloaded(&app, "[limits]\nlogin = \"3/h\"\n");
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn accounts_and_sessions_follow_the_file_and_those_that_are_stay() {
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
async fn the_life_of_access_tokens_can_be_lowered_and_a_raise_waits_for_a_restart() {
    let app = TestApp::with("[tokens]\naccess_ttl = \"10m\"\nleeway = \"0s\"\n").await;
    let old = app.user("ann").await;
    let told = reloaded(&app, "[tokens]\naccess_ttl = \"1m\"\nleeway = \"0s\"\n");
    assert_eq!(told, "the configuration is reloaded");
    let new = app.login("ann").await;
    app.clock.advance(Duration::from_secs(61));
    assert_eq!(old.get("/a").await.status, 200, "issued for ten minutes");
    assert_eq!(new.get("/a").await.verdict(), (401, "token_expired".into()));
    let told = reloaded(&app, "[tokens]\naccess_ttl = \"1h\"\nleeway = \"5s\"\n");
    assert!(
        told.contains("a restart is needed for tokens.access_ttl, tokens.leeway"),
        "{told}"
    );
    let capped = app.login("ann").await;
    app.clock.advance(Duration::from_secs(599));
    assert_eq!(capped.get("/a").await.status, 200);
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(capped.get("/a").await.status, 401);
}

#[tokio::test]
async fn s58_a_bad_file_changes_nothing_and_is_counted() {
    let app = TestApp::with(OPEN).await;
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
    assert_eq!(number(&app, rejected).await, bad.len() as u64);
    assert_eq!(number(&app, "sidegate_config_generation").await, 1);
    reloaded(&app, OPEN);
    assert_eq!(number(&app, "sidegate_config_generation").await, 2);
    let applied = "sidegate_config_reloads_total{result=\"applied\"}";
    assert_eq!(number(&app, applied).await, 1);
}

#[tokio::test]
async fn keys_that_cannot_be_read_leave_the_whole_configuration_as_it_was() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let index = app.home().join("keys");
    let moved = app.home().join("elsewhere");
    std::fs::rename(&index, &moved).expect("a folder");
    std::fs::write(&index, "not a folder").expect("a file");
    app.rewrite(OPEN);
    assert!(app.running().reload().is_err());
    assert_eq!(app.anon().get("/x").await.status, 401);
    assert_eq!(ann.get("/x").await.status, 200);
}

#[tokio::test]
async fn a_rotated_access_log_is_let_go_of() {
    let app = TestApp::with(OPEN).await;
    app.anon().get("/before").await;
    app.access_log(|log| log.contains(" /before ")).await;
    let old = app.home().join("access.log.1");
    std::fs::rename(app.home().join("access.log"), &old).expect("a rotated log");
    reloaded(&app, OPEN);
    app.anon().get("/after").await;
    let fresh = app.access_log(|log| log.contains(" /after ")).await;
    assert!(!fresh.contains("/before"), "{fresh}");
    let kept = std::fs::read_to_string(&old).expect("the old log");
    assert!(
        kept.contains("/before") && !kept.contains("/after"),
        "{kept}"
    );
}

/// Two configurations that differ in rule, preset, mount and cookie; an answer shows which it is of.
fn configuration(n: usize) -> String {
    let (preset, tag) = [("native", "even"), ("oauth2-proxy", "odd")][n % 2];
    format!(
        "[headers]\npreset = \"{preset}\"\n[limits]\nlists = \"{}/s\"\n\
         [[rule]]\npath = \"/{tag}\"\naccess = \"public\"\n\
         [[mount]]\nprefix = \"/auth\"\ndialect = \"sidegate\"\n\
         [[mount]]\nprefix = \"/{tag}-auth\"\ndialect = \"sidegate\"\n",
        100_000 + n,
    )
}

/// The identity is written by one of the two presets.
fn of_one_configuration(answer: &Answer) {
    let native = received(answer, "x-user-id");
    let other = received(answer, "x-forwarded-user");
    assert!(
        native.is_some() != other.is_some(),
        "half of each: {}",
        answer.text()
    );
}

/// Clients of every protocol ask and upload while the configuration is exchanged fifty times.
async fn exchange(site: Option<&Site>) {
    let tls = site.map(Site::section).unwrap_or_default();
    let text = |n| format!("{}{tls}", configuration(n));
    let app = TestApp::with(&text(0)).await;
    app.account("ann", &["user"]).await;
    let way = Way::new(app.address, site);
    let crowd = Crowd {
        way: way.clone(),
        who: way.login("ann", PASSWORD).await,
        seen: Arc::default(),
        judge: of_one_configuration,
    };
    let mut clients = tokio::task::JoinSet::new();
    crowd.press(&mut clients);
    for n in 1..=50 {
        let mut uploads = Vec::new();
        if n % 10 == 0 {
            for is_http2 in [false, true] {
                let path = format!("/through/{n}/{is_http2}");
                uploads.push(Upload::begin(&way, &crowd.who, &path, is_http2).await);
                until(|| app.upstream.saw(&path).then_some(())).await;
            }
        }
        app.rewrite(&text(n));
        // By the operator's socket, so that the clients go on asking meanwhile.
        let socket = app.home().join("control.sock");
        let reply = wire::call(&socket, &Request::Reload, DEADLINE).await;
        assert!(matches!(reply.expect("a reply"), Reply::Done(_)));
        // What the next request finds is the new one, wholly.
        let (there, gone) = [("even", "odd"), ("odd", "even")][n % 2];
        for (path, status) in [
            (format!("/{there}"), 200),
            (format!("/{gone}"), 401),
            (format!("/{there}-auth/health"), 200),
            (format!("/{gone}-auth/health"), 401),
        ] {
            let answer = way.ask(&Ask::new("GET", &path)).await;
            assert_eq!(answer.status, status, "{path}");
        }
        for upload in uploads {
            of_one_configuration(&upload.finish().await.expect("an answer"));
        }
    }
    crowd.seen.more(50).await;
    crowd.seen.stop();
    while let Some(client) = clients.join_next().await {
        client.expect("no failed request");
    }
    assert_eq!(number(&app, "sidegate_config_generation").await, 51);
}

#[tokio::test]
async fn no_request_fails_while_the_configuration_is_exchanged_fifty_times() {
    exchange(None).await;
}

#[tokio::test]
async fn no_request_over_tls_fails_while_the_configuration_is_exchanged_fifty_times() {
    exchange(Some(&Site::new())).await;
}

#[tokio::test]
async fn a_reload_gives_nobody_a_second_share_of_switched_connections() {
    let upstream = echo();
    let limited = |name: &str| {
        format!(
            "[server]\nthreads = 1\n[headers]\npreset = \"{name}\"\n\
             [upstream]\nurl = \"http://{upstream}\"\nmax_upgraded = 1\n"
        )
    };
    let app = TestApp::with(&limited("native")).await;
    let ann = app.user("ann").await;
    let (_open, answer) = shake(&ann, handshake()).await;
    assert_eq!(answer.status, 101);
    reloaded(&app, &limited("oauth2-proxy"));
    let second = ann.send(handshake()).await;
    assert_eq!(second.verdict(), (503, "upstream_overloaded".to_owned()));
}
