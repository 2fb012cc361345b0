//! The life of a session, step by step: its owner, a second device, a thief and a restart.

use std::time::Duration;

use serde_json::{Value, json};
use sidegate::model::audit::AuditAction;
use sidegate::service::accounts::Named;
use sidegate::types::role::{Role, Roles};

use crate::support::actors::Actor;
use crate::support::client::TestRequest;
use crate::support::harness::{PASSWORD, TestApp};

const LAPTOP: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/130.0.0.0 Safari/537.36";
const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like \
     Gecko) Version/17.5 Mobile/15E148 Safari/604.1";

/// Ann on her laptop and on her phone.
async fn two_devices(app: &TestApp) -> (Actor, Actor) {
    app.account("ann", &["user"]).await;
    let laptop = app.anon().with_header("User-Agent", LAPTOP);
    let laptop = laptop.login("ann", PASSWORD).await;
    app.clock.advance(Duration::from_secs(1));
    let phone = app.anon().with_header("User-Agent", PHONE);
    (laptop, phone.login("ann", PASSWORD).await)
}

/// The values of the headers that reached the upstream under any spelling of this name.
fn folded(echo: &Value, name: &str) -> Vec<String> {
    let fold = |text: &str| {
        text.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
            .to_uppercase()
    };
    let headers = echo["headers"].as_array().expect("headers");
    let of_name = headers
        .iter()
        .filter(|pair| fold(pair[0].as_str().expect("a name")) == fold(name));
    of_name
        .map(|pair| pair[1].as_str().expect("a value").to_owned())
        .collect()
}

#[tokio::test]
async fn a_user_signs_up_and_logs_in_and_the_application_receives_the_identity() {
    let app = TestApp::with("[signup]\nmode = \"open\"").await;
    let body = json!({"username": "Ann", "password": PASSWORD, "email": "ann@example.org"});
    let signed_up = app.anon().post("/auth/signup", body).await;
    assert_eq!(signed_up.status, 201, "{}", signed_up.text());
    let user = signed_up.json()["user"].clone();
    assert_eq!(user["username"], "ann");
    assert_eq!(user["roles"], json!(["user"]));
    let named = Named::parse("ann").expect("a name");
    let verified = app.service().operator_verify(&named).await;
    verified.expect("done").expect("an account");

    let ann = app.anon().login("ann", PASSWORD).await;
    let echo = ann.get("/orders/7?x=1").await.json();
    assert_eq!(echo["target"], "/orders/7?x=1");
    let id = user["id"].as_str().expect("an id");
    for (name, value) in [
        ("X-User-Id", id),
        ("X-User-Name", "ann"),
        ("X-User-Email", "ann@example.org"),
        ("X-User-Role", "user"),
        ("X-Tenant-Id", "default"),
        ("X-Session-Id", &ann.session),
        ("X-Auth-Method", "password"),
    ] {
        assert_eq!(folded(&echo, name), [value], "{name}");
    }
    assert_eq!(folded(&echo, "Authorization"), [""; 0]);
}

#[tokio::test]
async fn ten_spellings_of_a_forged_identity_are_replaced_by_the_verified_one() {
    let app = TestApp::with("[[rule]]\npath = \"/open/**\"\naccess = \"public\"").await;
    let ann = app.user("ann").await;
    let names = [
        "X-User-Id",
        "X-User-Name",
        "X-User-Email",
        "X-User-Role",
        "X-Tenant-Id",
    ];
    let names = names.into_iter().chain(["X-Session-Id", "X-Auth-Method"]);
    let mut forged = TestRequest::new("GET", "/orders/7");
    for name in names.clone() {
        forged = forged.with(name, "evil");
        forged = forged.with(&name.to_lowercase(), "evil");
        forged = forged.with(&name.to_uppercase(), "evil");
        for mark in ["_", ".", "!", "~", "|", "'", "+"] {
            forged = forged.with(&name.replace('-', mark), "evil");
        }
    }
    forged = forged.with("Connection", "X-User-Id, X-User-Role");
    let echo = ann.send(forged.clone()).await.json();
    for name in names.clone() {
        let expected = usize::from(name != "X-User-Email");
        assert_eq!(folded(&echo, name).len(), expected, "{name}: {echo}");
    }
    assert!(!echo.to_string().contains("evil"), "{echo}");

    forged.target = "/open/x".to_owned();
    let public = forged.send(app.address).await.json();
    for name in names {
        assert_eq!(folded(&public, name), [""; 0], "{name}");
    }
}

#[tokio::test]
async fn the_list_shows_every_device_and_marks_the_current_one() {
    let app = TestApp::start().await;
    let (laptop, phone) = two_devices(&app).await;
    for (asking, other) in [(&laptop, &phone), (&phone, &laptop)] {
        let list = asking.sessions().await;
        let current: Vec<bool> = list
            .iter()
            .map(|entry| entry["isCurrent"].as_bool().expect("a flag"))
            .collect();
        assert_eq!(current, [true, false]);
        assert_eq!(list[0]["id"], asking.session.as_str());
        assert_eq!(list[1]["id"], other.session.as_str());
    }
    let list = phone.sessions().await;
    assert_eq!(
        (&list[0]["browser"], &list[1]["browser"]),
        (&json!("Safari"), &json!("Chrome"))
    );
    assert_eq!(
        (&list[0]["isMobile"], &list[1]["isMobile"]),
        (&json!(true), &json!(false))
    );
}

#[tokio::test]
async fn another_session_that_is_ended_is_refused_on_its_next_request() {
    let app = TestApp::start().await;
    let (laptop, phone) = two_devices(&app).await;
    assert_eq!(phone.get("/orders").await.status, 200);
    let ended = laptop
        .delete(&format!("/auth/sessions/{}", phone.session))
        .await;
    assert_eq!(ended.status, 204);
    // Some workers have cached the token, some have not; none accepts it.
    for _ in 0..8 {
        assert_eq!(
            phone.get("/orders").await.refusal(),
            (401, "session_ended".into())
        );
    }
    let refresh = phone.try_refresh().await;
    assert_eq!(refresh.refusal(), (401, "invalid_refresh_token".into()));
    assert_eq!(laptop.get("/orders").await.status, 200);
    assert_eq!(laptop.sessions().await.len(), 1);
}

#[tokio::test]
async fn a_used_refresh_token_after_the_grace_ends_the_session_for_owner_and_thief() {
    let app = TestApp::start().await;
    let mut ann = app.user("ann").await;
    let thief = ann.clone();
    ann.refresh().await;
    assert_ne!(ann.refresh_token, thief.refresh_token);
    assert_eq!(ann.session, thief.session);

    app.clock.advance(Duration::from_secs(31));
    let replayed = thief.try_refresh().await;
    assert_eq!(replayed.refusal(), (401, "invalid_refresh_token".into()));
    assert_eq!(
        ann.get("/orders").await.refusal(),
        (401, "session_ended".into())
    );
    assert_eq!(ann.try_refresh().await.status, 401);
    let is_reuse = |action| action == AuditAction::Reuse;
    let audit = app
        .audit(|all| all.iter().any(|r| is_reuse(r.action)))
        .await;
    let reuse = audit.iter().find(|r| is_reuse(r.action)).expect("a record");
    assert_eq!(reuse.session.map(|id| id.to_string()), Some(ann.session));
}

#[tokio::test]
async fn a_restart_keeps_live_sessions_alive_and_ended_ones_ended() {
    let disk = tempfile::tempdir().expect("a folder");
    let app = TestApp::on_disk(disk.path(), "").await;
    let (laptop, phone) = two_devices(&app).await;
    let mut tablet = app.login("ann").await;
    let used = tablet.clone();
    tablet.refresh().await;
    assert_eq!(phone.logout().await.status, 204);
    let clock = app.clock.clone();
    app.stop().await;

    let app = TestApp::try_on_disk(disk.path(), "", &clock)
        .await
        .expect("a start");
    let (laptop, phone) = (laptop.at(&app), phone.at(&app));
    assert_eq!(laptop.get("/orders").await.status, 200);
    assert_eq!(
        phone.get("/orders").await.refusal(),
        (401, "session_ended".into())
    );
    assert_eq!(phone.try_refresh().await.status, 401);
    let mut laptop = laptop;
    laptop.refresh().await;
    assert_eq!(laptop.sessions().await.len(), 2);
    // The grace is in the store: it survives the process.
    let repeated = used.at(&app).try_refresh().await;
    assert_eq!(
        repeated.json()["refreshToken"],
        tablet.refresh_token.as_str()
    );
}

#[tokio::test]
async fn logging_out_twice_is_not_an_error() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    assert_eq!(ann.logout().await.status, 204);
    assert_eq!(ann.logout().await.status, 204);
    let by_refresh = json!({"refreshToken": ann.refresh_token});
    assert_eq!(
        app.anon().post("/auth/logout", by_refresh).await.status,
        204
    );
    assert_eq!(
        ann.get("/orders").await.refusal(),
        (401, "session_ended".into())
    );
}

#[tokio::test]
async fn a_refresh_token_alone_logs_out() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let by_refresh = json!({"refreshToken": ann.refresh_token});
    let answer = app.anon().post("/auth/logout/session", by_refresh).await;
    assert_eq!(answer.status, 204);
    assert_eq!(
        ann.get("/orders").await.refusal(),
        (401, "session_ended".into())
    );
}

/// A bug: a 204 for a token that ended no session, while the session and its refresh token stayed alive.
#[tokio::test]
async fn a_log_out_with_an_unusable_access_token_is_refused() {
    let app = TestApp::start().await;
    let mut ann = app.user("ann").await;
    let admin = Roles::new("admin".parse::<Role>()).expect("roles");
    let named = Named::parse("ann").expect("a name");
    let set = app.service().operator_set_roles(&named, admin).await;
    set.expect("done").expect("an account");
    assert_eq!(ann.logout().await.refusal(), (401, "token_stale".into()));
    ann.refresh().await;
    app.clock.advance(Duration::from_secs(3600));
    assert_eq!(ann.logout().await.refusal(), (401, "token_expired".into()));
    let garbled = ann.with_access("x.y.z").logout().await;
    assert_eq!(garbled.refusal(), (401, "invalid_token".into()));
    assert_eq!(
        app.anon().logout().await.refusal(),
        (401, "missing_token".into())
    );
    let by_refresh = json!({"refreshToken": ann.refresh_token});
    assert_eq!(ann.post("/auth/logout", by_refresh).await.status, 204);
    assert_eq!(ann.try_refresh().await.status, 401);
}
