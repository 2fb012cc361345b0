//! Sign-up where it is open, and changes of the password by the owner.

use serde_json::json;

use crate::support::harness::{PASSWORD, TestApp};

const OPEN: &str = "[signup]\nmode = \"open\"\n";
const WRONG: &str = "not the password";

#[tokio::test]
async fn sign_up_is_closed_unless_opened() {
    let app = TestApp::start().await;
    let body = json!({"username": "ann", "password": PASSWORD});
    let answer = app.anon().post("/auth/signup", body).await;
    assert_eq!(answer.refusal(), (403, "signup_closed".into()));
}

#[tokio::test]
async fn a_taken_name_is_reported_with_its_field_in_every_spelling() {
    let app = TestApp::with(OPEN).await;
    let first = json!({
        "username": "ann",
        "email": "ann@example.org",
        "mobile": "+4915123456789",
        "password": PASSWORD,
    });
    assert_eq!(app.anon().post("/auth/signup", first).await.status, 201);
    for (field, value) in [
        ("username", "ＡNN"),
        ("email", "ANN@example.org"),
        ("mobile", "0049 151 234-56789"),
    ] {
        let mut body = json!({"username": "other", "password": PASSWORD});
        body[field] = json!(value);
        let answer = app.anon().post("/auth/signup", body).await;
        assert_eq!(answer.refusal(), (409, "login_taken".into()), "{field}");
        assert_eq!(answer.json()["field"], field);
    }
    // A refused sign-up stores nothing.
    assert_eq!(app.anon().try_login("other", PASSWORD).await.status, 401);
}

#[tokio::test]
async fn a_weak_password_is_refused_at_sign_up_and_at_a_change() {
    let app = TestApp::with(&format!("{OPEN}[passwords]\nmin_length = 10")).await;
    let ann = app.user("annabelle.smith").await;
    for weak in [
        "short",
        "ninechars",
        "password123",
        "1234567890",
        "annabelle.smith",
    ] {
        let body = json!({"username": "annabelle.smith", "password": weak});
        let answer = app.anon().post("/auth/signup", body).await;
        assert_eq!(answer.refusal(), (400, "weak_password".into()), "{weak}");
        let body = json!({"current": PASSWORD, "new": weak});
        let answer = ann.post("/auth/password", body).await;
        assert_eq!(answer.refusal(), (400, "weak_password".into()), "{weak}");
        assert!(!answer.text().contains(weak));
    }
}

#[tokio::test]
async fn too_many_sign_ups_from_one_address_are_refused() {
    let app = TestApp::with(&format!("{OPEN}[limits]\nsignup = \"2/h\"")).await;
    for (name, status) in [("a", 201), ("b", 201), ("c", 429)] {
        let body = json!({"username": name, "password": PASSWORD});
        let answer = app.anon().post("/auth/signup", body).await;
        assert_eq!(answer.status, status, "{name}");
    }
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_and_keeps_this_one() {
    let app = TestApp::start().await;
    let mut ann = app.user("ann").await;
    let other = app.login("ann").await;
    let wrong = json!({"current": WRONG, "new": "a better passphrase"});
    let answer = ann.post("/auth/password", wrong).await;
    assert_eq!(answer.refusal(), (401, "invalid_credentials".into()));
    assert_eq!(other.get("/orders").await.status, 200);

    let right = json!({"current": PASSWORD, "new": "a better passphrase"});
    assert_eq!(ann.post("/auth/password", right).await.status, 204);
    assert_eq!(ann.get("/orders").await.status, 200);
    ann.refresh().await;
    assert_eq!(
        other.get("/orders").await.refusal(),
        (401, "session_ended".into())
    );
    assert_eq!(other.try_refresh().await.status, 401);
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 401);
    assert_eq!(
        app.anon()
            .try_login("ann", "a better passphrase")
            .await
            .status,
        200
    );
    let body = json!({"current": PASSWORD, "new": "yet another one"});
    assert_eq!(app.anon().post("/auth/password", body).await.status, 401);
}

#[tokio::test]
async fn guessing_the_current_password_is_limited() {
    let app = TestApp::with("[limits]\nlogin = \"3/h\"").await;
    let ann = app.user("ann").await;
    let guess = json!({"current": WRONG, "new": "a better passphrase"});
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(ann.post("/auth/password", guess.clone()).await.status);
    }
    assert_eq!(statuses, [401, 401, 401, 429]);
}
