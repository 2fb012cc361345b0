//! The OpenAPI document and the manual describe exactly the routes and error codes of the server.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sidegate::api::native::ROUTES;
use sidegate::api::problem::Code;

use crate::support::client::TestRequest;
use crate::support::harness::TestApp;

const OPENAPI: &str = include_str!("../../../docs/openapi.json");
const API: &str = include_str!("../../../docs/api.md");
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const JWKS: &str = "/.well-known/jwks.json";

fn openapi() -> Value {
    serde_json::from_str(OPENAPI).expect("JSON")
}

/// Method and path of every route.
fn table() -> BTreeSet<(String, String)> {
    let routes = ROUTES
        .iter()
        .map(|route| (route.method.to_owned(), format!("/auth{}", route.path)));
    routes
        .chain([("GET".to_owned(), JWKS.to_owned())])
        .collect()
}

/// A path with a concrete value in place of each parameter.
fn concrete(path: &str) -> String {
    path.replace("{id}", "0193b0a0-5c1e-7d3a-9b1f-2f6c1a7e4d10")
}

#[test]
fn the_openapi_document_names_exactly_the_routes() {
    let document = openapi();
    let mut named = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            if METHODS.contains(&method.to_uppercase().as_str()) {
                named.insert((method.to_uppercase(), path.clone()));
            }
        }
    }
    assert!(named.len() > 10, "only {} routes are named", named.len());
    assert_eq!(named, table());
}

#[test]
fn the_manual_names_every_route() {
    for (method, path) in table() {
        let alone = API.contains(&format!("{method} {path}"));
        assert!(
            alone || API.contains(&format!("`{path}`")),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn every_route_accepts_its_methods_and_no_other() {
    let app = TestApp::start().await;
    let table = table();
    let paths: BTreeSet<&String> = table.iter().map(|(_, path)| path).collect();
    for path in paths {
        for method in METHODS {
            let there = |method: &str| table.contains(&(method.to_owned(), path.clone()));
            let exists = there(method) || (*method == "HEAD" && there("GET"));
            let answer = TestRequest::new(method, &concrete(path))
                .send(app.address)
                .await;
            let case = format!("{method} {path}: {}", answer.text());
            assert_eq!(answer.status == 405, !exists, "{case}");
            assert_ne!(answer.status, 404, "{case}");
            if !exists {
                let allow = answer.header("allow").expect("Allow");
                let allow: BTreeSet<&str> = allow.split(", ").filter(|m| *m != "OPTIONS").collect();
                let rest = METHODS.iter().copied();
                let expected = rest.filter(|m| there(m) || (*m == "HEAD" && there("GET")));
                assert_eq!(allow, expected.collect(), "{case}");
            }
        }
    }
    assert_eq!(app.upstream.count(), 0, "none is the upstream's");
}

#[tokio::test]
async fn options_names_the_methods_of_a_route() {
    let app = TestApp::start().await;
    for (method, path) in table() {
        if path == JWKS {
            continue;
        }
        let answer = TestRequest::new("OPTIONS", &concrete(&path))
            .send(app.address)
            .await;
        // A gateway would take a success at this route for permission.
        let expected = if path.ends_with("/verify") { 405 } else { 204 };
        assert_eq!(answer.status, expected, "{path}");
        let allow = answer.header("allow").expect("Allow");
        assert!(allow.split(", ").any(|m| m == method), "{path}: {allow}");
    }
}

#[tokio::test]
async fn an_unknown_path_under_the_mount_is_404_and_is_never_forwarded() {
    let app = TestApp::with("[policy]\ndefault = \"public\"").await;
    for path in [
        "/auth",
        "/auth/",
        "/auth/nowhere",
        "/auth/login/verify",
        "/auth/login/",
        "/auth/LOGIN",
        "/auth/sessions/a/b",
        "/auth/sessions/",
        "/auth/jwks",
    ] {
        for method in METHODS {
            let answer = TestRequest::new(method, path).send(app.address).await;
            assert_eq!(answer.status, 404, "{method} {path}");
        }
        let answer = app.anon().get(path).await;
        assert_eq!(answer.refusal(), (404, "not_found".into()), "{path}");
    }
    assert_eq!(app.upstream.count(), 0);
    // A prefix matches whole segments only.
    for path in [
        "/authors",
        "/auth.html",
        "/AUTH/login",
        "/.well-known/other",
    ] {
        assert_eq!(app.anon().get(path).await.status, 200, "{path}");
    }
    assert_eq!(app.upstream.count(), 4);
}

#[test]
fn the_manual_and_the_document_list_exactly_the_codes_there_are() {
    let all: BTreeSet<&str> = Code::ALL.iter().copied().collect();
    let rows = API.lines().filter(|line| {
        let status = line.split('|').nth(1).map(str::trim).unwrap_or_default();
        status.len() == 3 && status.parse::<u16>().is_ok()
    });
    let listed: BTreeSet<&str> = rows
        .filter_map(|row| row.split('|').nth(2))
        .flat_map(|cell| cell.split(','))
        .map(|code| code.trim().trim_matches('`'))
        .collect();
    assert_eq!(listed, all);
    let document = openapi();
    let codes = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let codes = codes.as_array().expect("the codes");
    let codes: BTreeSet<&str> = codes.iter().filter_map(Value::as_str).collect();
    assert_eq!(codes, all);
}

#[tokio::test]
async fn the_document_is_served_as_it_is_written() {
    let app = TestApp::start().await;
    let answer = app.anon().get("/auth/openapi.json").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json(), openapi());
    let health = app.anon().get("/auth/health").await;
    assert_eq!(
        (health.status, health.json()),
        (200, json!({"status": "ok"}))
    );
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let app = TestApp::start().await;
    for path in [
        "/auth/health",
        "/auth/jwks.json",
        JWKS,
        "/auth/openapi.json",
    ] {
        let get = app.anon().get(path).await;
        let head = app.anon().send(TestRequest::new("HEAD", path)).await;
        assert_eq!(head.status, 200, "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert_eq!(
            head.header("content-length"),
            Some(get.body.len().to_string().as_str())
        );
    }
}

#[tokio::test]
async fn another_prefix_is_another_mount() {
    let app = TestApp::with("[[mount]]\nprefix = \"/id\"").await;
    app.account("ann", &["user"]).await;
    let body = json!({"identifier": "ann", "password": crate::support::harness::PASSWORD});
    assert_eq!(app.anon().post("/id/login", body.clone()).await.status, 200);
    let answer = app.anon().post("/auth/login", body).await;
    assert_eq!(answer.refusal(), (401, "missing_token".into()));
}

#[tokio::test]
async fn a_client_that_accepts_text_gets_the_same_message_as_text() {
    let app = TestApp::start().await;
    let browser = app
        .anon()
        .with_header("Accept", "text/html,application/xhtml+xml");
    let answer = browser.get("/orders").await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let id = answer.header("x-request-id").expect("an id");
    let expected = format!("401 Unauthorized: an access token is needed\n(request {id})\n");
    assert_eq!(answer.text(), expected);
}

#[tokio::test]
async fn s41_no_route_makes_a_session_without_the_password() {
    let app = TestApp::with("[signup]\nmode = \"open\"\n").await;
    app.account("ann", &["user"]).await;
    let bodies = [
        json!({}),
        json!({"identifier": "ann", "password": "wrong horse battery"}),
        json!({"username": "bob", "password": crate::support::harness::PASSWORD}),
        json!({"refreshToken": "sg1.AAAA.BBBB"}),
        json!({"current": "x", "new": "another horse battery"}),
    ];
    let document = "/auth/openapi.json";
    for (method, path) in table().into_iter().filter(|(_, path)| path != document) {
        for body in &bodies {
            let request = TestRequest::new(&method, &concrete(&path)).json(body);
            let answer = app.anon().send(request).await;
            assert!(!answer.text().contains("accessToken"), "{method} {path}");
        }
    }
    let page = app.admin_get("/metrics").await.text();
    assert!(page.contains("\nsidegate_sessions 0\n"), "{page}");
}
