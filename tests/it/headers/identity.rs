//! Identity headers come from the verified session only. A client cannot add, replace or reuse one, in any
//! spelling and in any order of requests.

use super::RULES;
use crate::support::actors::Actor;
use crate::support::client::{Connection, TestRequest};
use crate::support::harness::TestApp;
use crate::support::received::{one, seen};
use crate::support::spellings::{MANAGED, spellings};

#[tokio::test]
async fn s11_no_spelling_of_a_managed_name_reaches_the_application() {
    let app = TestApp::with(RULES).await;
    let ann = app.user("ann").await;
    let cases: [(&Actor, &str); 4] = [
        (&ann, "/x"),
        (&ann, "/public/x"),
        (&ann, "/optional/x"),
        (&app.anon(), "/optional/x"),
    ];
    for (actor, path) in cases {
        let mut connection = Connection::open(app.address).await;
        for name in MANAGED {
            let mut request = actor.with_credentials(TestRequest::new("GET", path));
            for spelling in spellings(name) {
                request = request.with(&spelling, "forged-root");
            }
            let seen = seen(&connection.request(&request).await);
            let forged: Vec<_> = seen.iter().filter(|(_, v)| v.contains("forged")).collect();
            assert!(forged.is_empty(), "{path} {name}: {forged:?}");
        }
    }
}

#[tokio::test]
async fn s13_each_identity_header_occurs_once_and_only_with_a_session() {
    let app = TestApp::with(RULES).await;
    let ann = app.user_with_roles("ann", &["admin", "user"]).await;
    let id = ann.get("/auth/me").await.json()["user"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for path in ["/x", "/optional/x"] {
        let seen = seen(&ann.get(path).await);
        for (name, value) in [
            ("X_USER_ID", id.as_str()),
            ("X_USER_NAME", "ann"),
            ("X_USER_ROLE", "admin,user"),
            ("X_TENANT_ID", "default"),
            ("X_SESSION_ID", ann.session.as_str()),
            ("X_AUTH_METHOD", "password"),
        ] {
            assert_eq!(one(&seen, name), Some(value), "{path}");
        }
        assert_eq!(one(&seen, "X_USER_EMAIL"), None);
    }
    for (actor, path) in [
        (&ann, "/public/x"),
        (&app.anon(), "/public/x"),
        (&app.anon(), "/optional/x"),
    ] {
        let seen = seen(&actor.get(path).await);
        let identity = ["X_USER", "X_TENANT", "X_SESSION", "X_AUTH", "AUTHORIZATION"];
        let received = seen
            .iter()
            .find(|(name, _)| identity.iter().any(|i| name.starts_with(i)));
        assert_eq!(received, None, "{path}");
    }
}

#[tokio::test]
async fn s14_identity_never_crosses_requests() {
    let app = TestApp::with(RULES).await;
    let actors = [app.user("ann").await, app.user("bob").await, app.anon()];
    let expected = [Some("ann"), Some("bob"), None];
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(Connection::open(app.address).await);
    }
    let paths = ["/x", "/optional/x", "/public/x"];
    for n in 0..4_000_usize {
        let index = (n * 7 + n / 3) % 3;
        let connection = &mut connections[(n * 5 + n / 7) % 4];
        let path = paths[(n + n / 11) % 3];
        let target = format!("{path}?n={n}");
        let answer = connection
            .request(&actors[index].with_credentials(TestRequest::new("GET", &target)))
            .await;
        if path == "/x" && index == 2 {
            assert_eq!(answer.status, 401);
            continue;
        }
        let named = if path == "/public/x" {
            None
        } else {
            expected[index]
        };
        let received = seen(&answer);
        assert_eq!(one(&received, "X_USER_NAME"), named, "request {n}");
        let session = named.map(|_| actors[index].session.as_str());
        assert_eq!(one(&received, "X_SESSION_ID"), session, "request {n}");
        assert_eq!(answer.json()["target"], target);
    }
}

#[tokio::test]
async fn s14_identity_never_crosses_requests_that_run_at_the_same_time() {
    let app = TestApp::with(RULES).await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let request = |actor: Actor, name: &'static str| {
        let address = app.address;
        async move {
            let mut connection = Connection::open(address).await;
            for _ in 0..500 {
                let answer = connection
                    .request(&actor.with_credentials(TestRequest::new("GET", "/x")))
                    .await;
                assert_eq!(one(&seen(&answer), "X_USER_NAME"), Some(name));
            }
        }
    };
    tokio::join!(
        request(ann.clone(), "ann"),
        request(bob.clone(), "bob"),
        request(ann, "ann"),
        request(bob, "bob"),
    );
}

#[tokio::test]
async fn s6_no_header_changes_a_decision() {
    let app = TestApp::with(
        "[[rule]]\npath = \"/public/**\"\naccess = \"public\"\n\
         [[rule]]\npath = \"/reports\"\nmethods = [\"GET\"]\naccess = \"public\"\n",
    )
    .await;
    for (name, value) in [
        ("X-Original-URL", "/public/x"),
        ("X-Rewrite-URL", "/public/x"),
        ("X-Forwarded-Uri", "/public/x"),
        ("X-Forwarded-Prefix", "/public"),
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Host", "public"),
        ("X-HTTP-Method-Override", "GET"),
        ("X-Method-Override", "GET"),
        ("User-Agent", "kube-probe/1.30"),
        ("User-Agent", "GoogleHC/1.0"),
        ("X-User-Id", "0"),
        ("X-Sidegate-Permit", "1"),
        ("Origin", "http://app"),
        ("Access-Control-Request-Method", "GET"),
        ("Upgrade", "websocket"),
    ] {
        let asking = app.anon().with_header(name, value);
        assert_eq!(asking.get("/closed").await.status, 401, "{name}");
        assert_eq!(asking.post_empty("/reports").await.status, 401, "{name}");
        let options = asking.send(TestRequest::new("OPTIONS", "/closed")).await;
        assert_eq!(options.status, 401, "{name}");
    }
    assert_eq!(app.upstream.count(), 0);
}
