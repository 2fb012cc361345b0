//! Claims are not identities: addresses that are not verified, and names that look like another name.

use serde_json::{Value, json};
use sidegate::service::accounts::Named;

use crate::support::harness::{PASSWORD, TestApp, claims};

const OPEN: &str = "[signup]\nmode = \"open\"\n";

fn names_of(seen: &Value) -> String {
    seen["headers"].to_string().to_lowercase()
}

#[tokio::test]
async fn an_address_from_sign_up_is_not_forwarded_until_it_is_verified() {
    for preset in sidegate::guard::settings::PRESETS {
        let app = TestApp::with(&format!("{OPEN}[headers]\npreset = \"{preset}\"\n")).await;
        let body = json!({
            "username": "mallory",
            "email": "ceo@corp.example",
            "mobile": "+4915123456789",
            "password": PASSWORD,
        });
        let made = app.anon().post("/auth/signup", body).await;
        assert_eq!(made.status, 201);
        let user = &made.json()["user"];
        assert_eq!(
            (&user["email"], &user["mobile"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(user["unverifiedEmail"], "ceo@corp.example");
        assert_eq!(user["unverifiedMobile"], "+4915123456789");
        // Either name can log in.
        let mut mallory = app.anon().login("ceo@corp.example", PASSWORD).await;
        assert!(claims(&mallory.access).get("email").is_none());
        let me = mallory.get("/auth/me").await.json();
        assert_eq!(me["user"]["email"], Value::Null, "{preset}");
        let seen = names_of(&mallory.get("/x").await.json());
        assert!(!seen.contains("corp.example"), "{preset}: {seen}");
        let check = mallory.get("/auth/verify").await;
        let received = format!("{:?}", check.headers);
        assert!(!received.contains("corp.example"), "{preset}: {received}");

        let named = Named::parse("mallory").unwrap();
        let verified = app.service().operator_verify(&named).await;
        verified.expect("done").expect("an account");
        let stale = mallory.get("/x").await;
        assert_eq!(stale.refusal(), (401, "token_stale".into()));
        mallory.refresh().await;
        assert_eq!(claims(&mallory.access)["email"], "ceo@corp.example");
        let me = mallory.get("/auth/me").await.json();
        assert_eq!(me["user"]["email"], "ceo@corp.example");
        assert_eq!(me["user"]["unverifiedEmail"], Value::Null);
        let seen = names_of(&mallory.get("/x").await.json());
        let has_header = !["django", "spring", "php", "nextcloud", "cloudbeaver"].contains(preset);
        assert_eq!(seen.contains("ceo@corp.example"), has_header, "{preset}");
    }
}

#[tokio::test]
async fn names_that_look_like_another_name_cannot_be_signed_up() {
    let app = TestApp::with(OPEN).await;
    let sign_up = async |name: &str| {
        let body = json!({"username": name, "password": PASSWORD});
        app.anon().post("/auth/signup", body).await
    };
    for name in [
        "admin",
        "Root",
        "adm1n",
        "ad.min",
        "\u{430}dmin",
        "s\u{443}stem",
        "nul1",
        "..",
        ".",
        "-dash",
        "--help",
        "ann.",
        ".ssh",
        "a/b",
        "a b",
        "a\"b",
        "a\u{7}b",
        "+4915123456789",
        "004915123456789",
        "ann@example.org",
        "018f4e7a-7b1c-7000-8000-000000000001",
    ] {
        let refused = sign_up(name).await;
        assert_eq!(refused.refusal(), (400, "invalid_field".into()), "{name}");
        assert_eq!(refused.json()["field"], "username", "{name}");
    }
    for name in [
        "ann",
        "jos\u{e9}",
        "o.neil",
        "agent_007",
        "\u{438}\u{432}\u{430}\u{43d}",
    ] {
        assert_eq!(sign_up(name).await.status, 201, "{name}");
    }
}

#[tokio::test]
async fn the_list_of_reserved_names_is_configured_and_does_not_apply_to_the_operator() {
    let app = TestApp::with(&format!("{OPEN}reserved = [\"billing\"]\n")).await;
    let sign_up = async |name: &str| {
        let body = json!({"username": name, "password": PASSWORD});
        app.anon().post("/auth/signup", body).await.status
    };
    assert_eq!(sign_up("Bill1ng").await, 400);
    assert_eq!(sign_up("admin").await, 201);
    app.user("billing").await;
}

#[tokio::test]
async fn a_display_name_contains_no_character_that_hides_or_reorders_text() {
    let app = TestApp::with(OPEN).await;
    for name in [
        "a\u{0}b",
        "a\nb",
        "a\u{1b}[31m",
        "a\u{202e}b",
        "a\u{200b}b",
        "a\u{2028}b",
        "a\u{feff}b",
    ] {
        let body = json!({"username": "ann", "name": name, "password": PASSWORD});
        let refused = app.anon().post("/auth/signup", body).await;
        assert_eq!(refused.refusal(), (400, "invalid_field".into()), "{name:?}");
        assert_eq!(refused.json()["field"], "name");
    }
}
