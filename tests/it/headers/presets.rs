//! Each preset writes the identity headers that its application reads, and the operator can name more.

use crate::support::harness::TestApp;
use crate::support::received::{one, seen};

/// Each preset and the headers it writes for ann, as documented.
const PRESETS: &[(&str, &[(&str, &str)])] = &[
    (
        "native",
        &[
            ("x-user-name", "ann"),
            ("x-user-role", "admin,user"),
            ("x-tenant-id", "default"),
            ("x-auth-method", "password"),
        ],
    ),
    (
        "oauth2-proxy",
        &[
            ("x-forwarded-preferred-username", "ann"),
            ("x-forwarded-groups", "admin,user"),
        ],
    ),
    (
        "auth-request",
        &[
            ("x-auth-request-preferred-username", "ann"),
            ("x-auth-request-groups", "admin,user"),
        ],
    ),
    (
        "remote-user",
        &[
            ("remote-user", "ann"),
            ("remote-name", "ann"),
            ("remote-groups", "admin,user"),
        ],
    ),
    ("pomerium", &[("x-pomerium-claim-groups", "admin,user")]),
    ("cloudflare", &[]),
    (
        "authentik",
        &[
            ("x-authentik-username", "ann"),
            ("x-authentik-name", "ann"),
            ("x-authentik-groups", "admin|user"),
        ],
    ),
    (
        "grafana",
        &[
            ("x-webauth-user", "ann"),
            ("x-webauth-name", "ann"),
            ("x-webauth-role", "admin"),
            ("x-webauth-groups", "admin,user"),
        ],
    ),
    (
        "gitea",
        &[("x-webauth-user", "ann"), ("x-webauth-fullname", "ann")],
    ),
    (
        "jenkins",
        &[
            ("x-forwarded-user", "ann"),
            ("x-forwarded-displayname", "ann"),
            ("x-forwarded-groups", "admin|user"),
        ],
    ),
    ("django", &[("remote-user", "ann")]),
    ("spring", &[("sm_user", "ann"), ("sm_role", "admin,user")]),
    ("php", &[("x-remote-user", "ann")]),
    ("nextcloud", &[("x-remote-user", "ann")]),
    (
        "rails",
        &[("x-remote-user", "ann"), ("x-remote-groups", "admin,user")],
    ),
    (
        "cloudbeaver",
        &[("x-user", "ann"), ("x-role", "admin|user")],
    ),
];

/// The headers that contain the user id.
const IDS: &[&str] = &[
    "x-user-id",
    "x-forwarded-user",
    "x-auth-request-user",
    "x-authentik-uid",
    "x-pomerium-claim-user",
];

#[tokio::test]
async fn each_preset_writes_what_its_application_reads() {
    for (preset, expected) in PRESETS {
        let app = TestApp::with(&format!("[headers]\npreset = \"{preset}\"\n")).await;
        let ann = app.user_with_roles("ann", &["admin", "user"]).await;
        let me = ann.get("/auth/me").await.json();
        let id = me["user"]["id"].as_str().unwrap().to_owned();
        let answer = ann.with_header("X-User-Name", "forged").get("/x").await;
        let headers: Vec<(String, String)> =
            serde_json::from_value(answer.json()["headers"].clone()).unwrap();
        let common = [
            "host",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-forwarded-port",
            "x-request-id",
            "x-session-id",
        ];
        let mut written: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, value)| !(common.contains(name) || IDS.contains(name) && *value == id))
            .collect();
        let mut expected = expected.to_vec();
        written.sort_unstable();
        expected.sort_unstable();
        assert_eq!(written, expected, "{preset}");
    }
}

#[tokio::test]
async fn custom_headers_are_managed_like_the_others() {
    let app = TestApp::with(
        "[headers]\npreset = \"custom\"\n[headers.custom]\nusername = \"X-My-User\"\nroles = \"My_Roles\"\n",
    )
    .await;
    let ann = app.user("ann").await;
    for spelling in [
        "x-my-user",
        "X_MY_USER",
        "x.my.user",
        "MY-ROLES",
        "my_roles",
        "X-User-Id",
    ] {
        let received = seen(&ann.with_header(spelling, "forged").get("/x").await);
        assert_eq!(one(&received, "X_MY_USER"), Some("ann"), "{spelling}");
        assert_eq!(one(&received, "MY_ROLES"), Some("user"), "{spelling}");
        assert_eq!(one(&received, "X_USER_ID"), None);
    }
}
