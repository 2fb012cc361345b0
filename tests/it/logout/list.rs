//! The list of sessions and how they end: which fields are shown, to which user, and which session is
//! refused.

use std::time::Duration;

use serde_json::{Value, json};
use sidegate::model::audit::AuditRecord;
use uuid::Uuid;

use crate::support::client::{Connection, TestRequest};
use crate::support::harness::{PASSWORD, TestApp};

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 \
     Safari/537.36";

/// Replaces ids by names after checking their form.
fn shaped(mut value: Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    if name == "id" || name == "deviceId" && !member.is_null() {
                        let text = member.as_str().expect("an id as text");
                        let id = Uuid::parse_str(text).expect("an id");
                        assert!(name == "deviceId" || id.get_version_num() == 7, "{text}");
                        assert_eq!(id.to_string(), text, "written plainly");
                        *member = json!("[uuid]");
                    } else {
                        walk(member);
                    }
                }
            }
            Value::Array(members) => members.iter_mut().for_each(walk),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    walk(&mut value);
    value
}

#[tokio::test]
async fn the_list_has_exactly_these_fields() {
    let app = TestApp::start().await;
    app.account("ann", &["user"]).await;
    let ann = app.anon().with_header("User-Agent", AGENT);
    let ann = ann.login("ann", PASSWORD).await;
    let answer = ann.get("/auth/sessions").await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    insta::assert_json_snapshot!(shaped(answer.json()), @r#"
    {
      "sessions": [
        {
          "abandonAt": null,
          "authMethod": "password",
          "authProvider": null,
          "browser": "Chrome",
          "browserVersion": "130.0.0.0",
          "createdAt": "2027-01-15T08:00:00.000Z",
          "deviceId": "[uuid]",
          "deviceName": "Chrome on Linux",
          "deviceType": "desktop",
          "expiresAt": "2027-01-22T08:00:00.000Z",
          "id": "[uuid]",
          "ipAddress": null,
          "ipCity": null,
          "ipCountry": null,
          "ipMasked": "127.0.0.***",
          "isCurrent": true,
          "isMobile": false,
          "isTrustedDevice": false,
          "lastActiveAt": "2027-01-15T08:00:00.000Z",
          "openStreams": 0,
          "platform": "Linux",
          "status": "active"
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn a_log_in_has_exactly_these_fields() {
    let app = TestApp::start().await;
    app.account("ann", &["user"]).await;
    let body = json!({"identifier": "ann", "password": PASSWORD, "deviceName": "laptop"});
    let answer = app.anon().post("/auth/login", body).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let mut body = shaped(answer.json());
    let refresh = body["refreshToken"].as_str().expect("a token");
    assert!(refresh.starts_with("sg1.") && refresh.split('.').count() == 3);
    body["refreshToken"] = json!("[sg1]");
    assert_eq!(
        body["accessToken"].as_str().map(|t| t.split('.').count()),
        Some(3)
    );
    body["accessToken"] = json!("[jwt]");
    let device = body["deviceToken"].as_str().expect("a token").to_owned();
    assert_ne!(body["session"]["deviceId"], device.as_str(), "a secret");
    body["deviceToken"] = json!("[device]");
    insta::assert_json_snapshot!(body, @r#"
    {
      "accessToken": "[jwt]",
      "accessTokenExpiresAt": "2027-01-15T08:15:00.000Z",
      "deviceToken": "[device]",
      "expiresIn": 900,
      "refreshToken": "[sg1]",
      "refreshTokenExpiresAt": "2027-01-16T08:00:00.000Z",
      "session": {
        "abandonAt": null,
        "authMethod": "password",
        "authProvider": null,
        "browser": null,
        "browserVersion": null,
        "createdAt": "2027-01-15T08:00:00.000Z",
        "deviceId": "[uuid]",
        "deviceName": "laptop",
        "deviceType": "unknown",
        "expiresAt": "2027-01-22T08:00:00.000Z",
        "id": "[uuid]",
        "ipAddress": null,
        "ipCity": null,
        "ipCountry": null,
        "ipMasked": "127.0.0.***",
        "isCurrent": true,
        "isMobile": false,
        "isTrustedDevice": false,
        "lastActiveAt": "2027-01-15T08:00:00.000Z",
        "openStreams": 0,
        "platform": null,
        "status": "active"
      },
      "tokenType": "Bearer"
    }
    "#);
}

#[tokio::test]
async fn me_returns_the_account_and_the_current_session() {
    let app = TestApp::start().await;
    let ann = app.user_with_roles("ann", &["admin", "user"]).await;
    let body = ann.get("/auth/me").await.json();
    assert_eq!(body["session"]["id"], ann.session.as_str());
    assert_eq!(body["session"]["isCurrent"], true);
    insta::assert_json_snapshot!(shaped(body["user"].clone()), @r#"
    {
      "createdAt": "2027-01-15T08:00:00.000Z",
      "email": null,
      "id": "[uuid]",
      "mobile": null,
      "name": null,
      "roles": [
        "admin",
        "user"
      ],
      "unverifiedEmail": null,
      "unverifiedMobile": null,
      "username": "ann"
    }
    "#);
    let refused = app.anon().get("/auth/me").await;
    assert_eq!(refused.refusal(), (401, "missing_token".into()));
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
}

#[tokio::test]
async fn s31_no_answer_shows_a_secret_or_a_whole_address() {
    let app = TestApp::with("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]").await;
    app.account("ann", &["user"]).await;
    let ann = app.anon().with_header("X-Forwarded-For", "203.0.113.77");
    let ann = ann.login("ann", PASSWORD).await;
    let mut shown = String::new();
    // The last one is a check of `/orders`.
    for path in ["/auth/sessions", "/auth/me", "/auth/verify/orders"] {
        let answer = ann.get(path).await;
        assert_eq!(answer.status, 200);
        let head = format!("{:?}", answer.headers);
        shown.extend([head, answer.text()]);
    }
    assert!(shown.contains("203.0.113.***"), "{shown}");
    for secret in [
        "203.0.113.77",
        "$argon2",
        "salt",
        "sg1.",
        "generation",
        "eyJ",
        PASSWORD,
    ] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}

#[tokio::test]
async fn a_whole_address_is_shown_when_it_is_configured() {
    let app = TestApp::with("[sessions]\nip = \"full\"").await;
    let ann = app.user("ann").await;
    let entry = &ann.sessions().await[0];
    assert_eq!(entry["ipAddress"], "127.0.0.1");
    assert_eq!(entry["ipMasked"], "127.0.0.***");
}

#[tokio::test]
async fn s32_the_current_session_is_marked_by_its_id_and_not_by_its_device() {
    let app = TestApp::start().await;
    app.account("ann", &["user"]).await;
    let browser = app.anon().with_header("User-Agent", AGENT);
    let one = browser.login("ann", PASSWORD).await;
    let two = browser.login("ann", PASSWORD).await;
    for (asking, other) in [(&one, &two), (&two, &one)] {
        let list = asking
            .with_header("X-Session-Id", &other.session)
            .sessions()
            .await;
        let current: Vec<&Value> = list.iter().filter(|e| e["isCurrent"] == true).collect();
        assert_eq!(current.len(), 1);
        assert_eq!(current[0]["id"], asking.session.as_str());
    }
    // A refresh keeps the session and its id.
    let mut one = one;
    one.refresh().await;
    assert_eq!(one.sessions().await[0]["id"], one.session.as_str());
}

#[tokio::test]
async fn the_newest_session_comes_first_after_the_current_one() {
    let app = TestApp::start().await;
    let oldest = app.user("ann").await;
    let mut ids = vec![oldest.session.clone()];
    for _ in 0..3 {
        app.clock.advance(Duration::from_secs(5));
        ids.insert(1, app.login("ann").await.session);
    }
    let list = oldest.sessions().await;
    let listed: Vec<&str> = list
        .iter()
        .filter_map(|entry| entry["id"].as_str())
        .collect();
    assert_eq!(listed, ids);
}

#[tokio::test]
async fn s31_a_foreign_an_unknown_and_a_malformed_id_are_the_same_404() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let bob = app.user("bob").await;
    let over = app.login("ann").await;
    over.logout().await;
    let garbled = ann.session.replace('-', "");
    let upper = bob.session.to_uppercase();
    let mut bodies = Vec::new();
    for id in [
        bob.session.as_str(),
        over.session.as_str(),
        "0193b0a0-5c1e-7d3a-9b1f-2f6c1a7e4d10",
        "00000000-0000-0000-0000-000000000000",
        garbled.as_str(),
        upper.as_str(),
        "all",
        "*",
        "1",
    ] {
        let answer = ann.delete(&format!("/auth/sessions/{id}")).await;
        assert_eq!(answer.refusal(), (404, "session_not_found".into()), "{id}");
        bodies.push(answer.masked());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:#?}");
    assert_eq!(bob.get("/orders").await.status, 200);
    assert_eq!(ann.get("/orders").await.status, 200);
}

#[tokio::test]
async fn the_current_session_can_be_ended_like_any_other() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let other = app.login("ann").await;
    let path = format!("/auth/sessions/{}", ann.session);
    assert_eq!(ann.delete(&path).await.status, 204);
    assert_eq!(
        ann.get("/orders").await.refusal(),
        (401, "session_ended".into())
    );
    assert_eq!(
        ann.delete(&path).await.refusal(),
        (401, "session_ended".into())
    );
    assert_eq!(other.get("/orders").await.status, 200);
}

#[tokio::test]
async fn revoke_all_ends_the_others_and_on_request_this_one_too() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let bob = app.user("bob").await;
    for body in [json!({}), json!({"includeCurrent": false})] {
        let (one, two) = (app.login("ann").await, app.login("ann").await);
        let answer = ann.post("/auth/sessions/revoke-all", body).await;
        assert_eq!((answer.status, answer.json()), (200, json!({"revoked": 2})));
        for ended in [one, two] {
            assert_eq!(ended.get("/orders").await.status, 401);
        }
        assert_eq!(ann.get("/orders").await.status, 200);
    }
    let none = ann.post_empty("/auth/sessions/revoke-all").await;
    assert_eq!(none.json(), json!({"revoked": 0}));
    app.login("ann").await;
    let body = json!({"includeCurrent": true});
    let all = ann.post("/auth/sessions/revoke-all", body).await;
    assert_eq!(all.json(), json!({"revoked": 2}));
    assert_eq!(
        ann.get("/orders").await.refusal(),
        (401, "session_ended".into())
    );
    assert_eq!(bob.get("/orders").await.status, 200);
}

#[tokio::test]
async fn logging_out_everywhere_ends_the_sessions_of_the_caller_only() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let others = [app.login("ann").await, app.login("ann").await];
    let bob = app.user("bob").await;
    let answer = ann.post_empty("/auth/logout/all").await;
    assert_eq!((answer.status, answer.json()), (200, json!({"revoked": 3})));
    for ended in others.iter().chain([&ann]) {
        assert_eq!(
            ended.get("/orders").await.refusal(),
            (401, "session_ended".into())
        );
        assert_eq!(ended.try_refresh().await.status, 401);
    }
    assert_eq!(bob.get("/orders").await.status, 200);
    assert_eq!(ann.post_empty("/auth/logout/all").await.status, 401);
}

#[tokio::test]
async fn a_list_omits_expired_sessions() {
    let app = TestApp::start().await;
    app.user("ann").await;
    app.clock.advance(Duration::from_secs(86_400));
    let ann = app.login("ann").await;
    assert_eq!(ann.sessions().await.len(), 1);
}

#[tokio::test]
async fn reading_the_list_is_limited_by_user() {
    let app = TestApp::with("[limits]\nlists = \"2/m\"").await;
    let ann = app.user("ann").await;
    let bob = app.user("bob").await;
    assert_eq!(ann.get("/auth/sessions").await.status, 200);
    assert_eq!(
        app.login("ann").await.get("/auth/sessions").await.status,
        200
    );
    let answer = ann.get("/auth/sessions").await;
    assert_eq!(answer.refusal(), (429, "rate_limited".into()));
    assert_eq!(answer.header("retry-after"), Some("30"));
    assert_eq!(bob.get("/auth/sessions").await.status, 200);
}

#[tokio::test]
async fn verify_returns_the_identity_in_headers_and_no_body() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let answer = ann
        .with_header("X-User-Id", "evil")
        .get("/auth/verify")
        .await;
    assert_eq!((answer.status, answer.text()), (200, String::new()));
    assert_eq!(answer.header("x-user-name"), Some("ann"));
    assert_eq!(answer.header("x-user-role"), Some("user"));
    assert_eq!(answer.header("x-session-id"), Some(ann.session.as_str()));
    ann.logout().await;
    let answer = ann.get("/auth/verify").await;
    assert_eq!(answer.refusal(), (401, "session_ended".into()));
    assert_eq!(answer.header("x-user-name"), None);
}

#[tokio::test]
async fn a_log_out_whose_client_disconnects_is_completed_and_recorded() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let request = ann.with_credentials(TestRequest::new("POST", "/auth/logout"));
    let mut client = Connection::open(app.address).await;
    client.write(&request.bytes("app")).await;
    drop(client);
    let received = |records: &[AuditRecord]| records.iter().any(|r| r.outcome == "logged_out");
    app.audit(received).await;
    assert_eq!(
        ann.get("/orders").await.refusal(),
        (401, "session_ended".into())
    );
}
