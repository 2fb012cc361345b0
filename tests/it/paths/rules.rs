//! Which rule applies to a request, and what a refusal contains.

use crate::support::client::TestRequest;
use crate::support::harness::TestApp;

const RULES: &str = r#"
[[rule]]
path = "/admin/health"
access = "public"

[[rule]]
path = "/admin/**"
roles = ["admin", "root"]

[[rule]]
path = "/public/private/**"
access = "user"

[[rule]]
path = "/public/never"
access = "deny"

[[rule]]
path = "/public/**"
access = "public"

[[rule]]
path = "/reports"
methods = ["GET"]
access = "public"

[[rule]]
path = "/reports"
methods = ["POST"]
roles = ["writer"]

[[rule]]
path = "/reports"
access = "deny"

[[rule]]
path = "/api/*/status"
access = "public"

[[rule]]
path = "/exact"
access = "public"

[[rule]]
path = "/hosted/**"
host = "open.example.org"
access = "public"

[[rule]]
path = "/maybe/**"
access = "optional"
"#;

#[tokio::test]
async fn the_first_rule_that_matches_decides() {
    let app = TestApp::with(RULES).await;
    let user = app.user("ann").await;
    let admin = app.user_with_roles("root", &["user", "admin"]).await;
    let writer = app.user_with_roles("wim", &["writer"]).await;
    let anon = app.anon();
    for (method, path, expected) in [
        ("GET", "/admin/health", [200, 200, 200, 200]),
        ("GET", "/admin", [401, 403, 200, 403]),
        ("GET", "/admin/", [401, 403, 200, 403]),
        ("GET", "/admin/users/7", [401, 403, 200, 403]),
        ("GET", "/administrators", [401, 200, 200, 200]),
        ("GET", "/public", [200, 200, 200, 200]),
        ("GET", "/public/a/b/c", [200, 200, 200, 200]),
        ("GET", "/publicity", [401, 200, 200, 200]),
        ("GET", "/public/private/x", [401, 200, 200, 200]),
        ("GET", "/public/never", [403, 403, 403, 403]),
        ("GET", "/reports", [200, 200, 200, 200]),
        ("HEAD", "/reports", [200, 200, 200, 200]),
        ("POST", "/reports", [401, 403, 403, 200]),
        ("PUT", "/reports", [403, 403, 403, 403]),
        ("DELETE", "/reports", [403, 403, 403, 403]),
        ("GET", "/api/v1/status", [200, 200, 200, 200]),
        ("GET", "/api/v1/v2/status", [401, 200, 200, 200]),
        ("GET", "/api/status", [401, 200, 200, 200]),
        ("GET", "/exact", [200, 200, 200, 200]),
        ("GET", "/exact/", [401, 200, 200, 200]),
        ("GET", "/exact/more", [401, 200, 200, 200]),
        ("GET", "/Exact", [401, 200, 200, 200]),
        ("GET", "/maybe/x", [200, 200, 200, 200]),
        ("GET", "/", [401, 200, 200, 200]),
    ] {
        for (actor, expected) in [&anon, &user, &admin, &writer].into_iter().zip(expected) {
            let answer = actor.send(TestRequest::new(method, path)).await;
            assert_eq!(answer.status, expected, "{method} {path} {expected:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_states_its_cause_and_its_challenge() {
    let app = TestApp::with(RULES).await;
    let ann = app.user("ann").await;
    let gone = app.user("gone").await;
    assert_eq!(gone.logout().await.status, 204);
    let invalid = "Bearer error=\"invalid_token\"";
    for (answer, status, code, challenge) in [
        (
            app.anon().get("/x").await,
            401,
            "missing_token",
            Some("Bearer"),
        ),
        (
            ann.with_access("garbage").get("/x").await,
            401,
            "invalid_token",
            Some(invalid),
        ),
        (
            ann.with_access("a.b.c").get("/maybe/x").await,
            401,
            "invalid_token",
            Some(invalid),
        ),
        (gone.get("/x").await, 401, "session_ended", Some(invalid)),
        (
            ann.get("/admin").await,
            403,
            "missing_role",
            Some("Bearer error=\"insufficient_scope\""),
        ),
        (ann.get("/public/never").await, 403, "forbidden", None),
    ] {
        assert_eq!(answer.refusal(), (status, code.to_owned()));
        assert_eq!(answer.header("www-authenticate"), challenge, "{code}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.json()["status"], status);
    }
    let other_scheme = app.anon().with_header("Authorization", "Basic YTpi");
    assert_eq!(other_scheme.get("/x").await.code(), "missing_token");
    assert_eq!(other_scheme.get("/maybe/x").await.status, 200);
    assert_eq!(
        gone.get("/public/x").await.status,
        200,
        "a token is not looked at"
    );
}

#[tokio::test]
async fn a_rule_for_a_host_applies_to_that_host_only() {
    let app = TestApp::with(RULES).await;
    for (host, expected) in [
        ("open.example.org", 200),
        ("OPEN.example.ORG:8080", 200),
        ("open.example.org.", 200),
        ("closed.example.org", 401),
        ("open.example.org.evil.org", 401),
        ("xopen.example.org", 401),
    ] {
        let request = TestRequest::new("GET", "/hosted/x").with("Host", host);
        let answer = request.send(app.address).await;
        assert_eq!(answer.status, expected, "{host}");
    }
    let forwarded =
        TestRequest::new("GET", "/hosted/x").with("X-Forwarded-Host", "open.example.org");
    assert_eq!(forwarded.send(app.address).await.status, 401);
}

#[tokio::test]
async fn each_default_applies_where_no_rule_matches() {
    for (default, anonymous, known) in [
        ("user", 401, 200),
        ("public", 200, 200),
        ("optional", 200, 200),
        ("deny", 403, 403),
    ] {
        let app = TestApp::with(&format!("[policy]\ndefault = \"{default}\"\n")).await;
        let ann = app.user("ann").await;
        assert_eq!(app.anon().get("/x").await.status, anonymous, "{default}");
        let answer = ann.get("/x").await;
        assert_eq!(answer.status, known, "{default}");
        if known == 200 {
            let named = answer.text().contains("x-user-name");
            assert_eq!(named, matches!(default, "user" | "optional"), "{default}");
        }
        assert_eq!(
            ann.get("/auth/me").await.status,
            200,
            "the auth routes have no rule"
        );
    }
}

#[tokio::test]
async fn s5_no_spelling_of_a_protected_path_under_a_public_prefix_gets_through() {
    let app = TestApp::with(RULES).await;
    let spellings = [
        "/public/private",
        "/public/private/",
        "/public/private/x",
        "/public/PRIVATE/x",
        "/public/Private/x",
        "/public/%70rivate/x",
        "/public/privat%65/x",
        "/public/%50%52ivate/x",
        "/public//private/x",
        "/public/./private/x",
        "/public/a/../private/x",
        "/public/%2e/private/x",
        "/public/private%2fx",
        "/public%2fprivate/x",
        "/public/private;a=b/x",
        "/public/private%00/x",
        "/public\\private\\x",
        "/public/never",
        "/public/never/",
        "/public/NEVER",
        "/public/%6eever",
    ];
    for path in spellings {
        let answer = app.anon().get(path).await;
        assert!(
            matches!(answer.status, 400 | 401 | 403),
            "{path}: {}",
            answer.status
        );
    }
    assert_eq!(app.upstream.count(), 0);
    assert_eq!(app.anon().get("/public/other").await.status, 200);
}

#[tokio::test]
async fn s5_where_ambiguous_paths_are_allowed_the_stricter_reading_applies() {
    let app = TestApp::with(&format!(
        "[paths]\nallow = [\"empty-segment\", \"encoded-slash\", \"semicolon\", \"non-ascii\"]\n{RULES}"
    ))
    .await;
    for path in [
        "/public//private/x",
        "//public/private/x",
        "/public/private%2fx",
        "/public%2fprivate/x",
        "/public%5cprivate%5cx",
        "/public/private;a=b/x",
        "/public;a/private;b/x",
        "/public/;/private/x",
        "/public/PRIVATE%2Fx",
        "/public/never;a",
        "/public/never//",
    ] {
        let answer = app.anon().get(path).await;
        assert!(
            matches!(answer.status, 400 | 401 | 403),
            "{path}: {}",
            answer.status
        );
    }
    assert_eq!(app.upstream.count(), 0);
    assert_eq!(app.anon().get("/public/a%2fb").await.status, 200);
}

#[tokio::test]
async fn restrictive_rules_fold_case_and_open_ones_do_not() {
    let app = TestApp::with(RULES).await;
    let ann = app.user("ann").await;
    for path in [
        "/ADMIN/users",
        "/Admin",
        "/%61dmin/x",
        "/admin/Health",
        "/admin/health/",
    ] {
        assert_eq!(ann.get(path).await.code(), "missing_role", "{path}");
    }
    for path in ["/PUBLIC/x", "/%70ublic/x", "/EXACT"] {
        assert_eq!(app.anon().get(path).await.code(), "missing_token", "{path}");
    }
}

#[tokio::test]
async fn the_query_is_not_matched() {
    let app = TestApp::with(RULES).await;
    for path in [
        "/x?/public/x",
        "/x?..%2f..%2fpublic",
        "/admin?path=/public",
        "/x?a#/public/x",
    ] {
        assert_eq!(app.anon().get(path).await.status, 401, "{path}");
    }
    for path in ["/public/x?/admin", "/public/x?..//..%2fadmin"] {
        assert_eq!(app.anon().get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn roles_are_compared_exactly() {
    let app = TestApp::with(RULES).await;
    for (name, roles, expected) in [
        ("a", &["Admin"][..], 403),
        ("b", &["administrator"], 403),
        ("c", &["admin2", "xadmin"], 403),
        ("d", &["user", "root"], 200),
        ("e", &[], 403),
    ] {
        let actor = app.user_with_roles(name, roles).await;
        assert_eq!(actor.get("/admin/x").await.status, expected, "{roles:?}");
    }
}

#[tokio::test]
async fn a_basic_credential_does_not_replace_proof_of_origin() {
    let app = TestApp::with("[[mount]]\nprefix = \"/auth\"\ndelivery = \"cookies\"\n").await;
    app.account("ann", &["user"]).await;
    let login = app
        .anon()
        .try_login("ann", crate::support::harness::PASSWORD)
        .await;
    let cookies = format!(
        "{}; {}",
        login.cookie_pair("sidegate_access"),
        login.cookie_pair("sidegate_refresh")
    );
    let victim = app.anon().with_header("Cookie", &cookies);
    let foreign = victim
        .with_header("Authorization", "Basic YTpi")
        .with_header("Origin", "https://evil.example")
        .with_header("Sec-Fetch-Site", "cross-site");
    for path in [
        "/auth/logout",
        "/auth/logout/all",
        "/auth/sessions/revoke-all",
    ] {
        assert_eq!(
            foreign.post_empty(path).await.refusal(),
            (403, "cross_site".to_owned()),
            "{path}"
        );
    }
    assert_eq!(victim.get("/x").await.status, 200, "still logged in");
}
