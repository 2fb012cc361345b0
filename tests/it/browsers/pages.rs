//! Which pages may use the cookies of a browser: proof of origin for writes, CORS for reads.

use serde_json::json;

use crate::support::browser::{Browser, COOKIES, HTTPS, app};
use crate::support::client::TestRequest;
use crate::support::harness::PASSWORD;

const FRIEND: &str = "https://friend.example";

/// Every write that a cookie alone can authorize, with its body.
fn writes(session: &str) -> Vec<TestRequest> {
    let mut writes: Vec<TestRequest> = [
        "/auth/refresh",
        "/auth/logout",
        "/auth/logout/session",
        "/auth/logout/all",
        "/auth/sessions/revoke-all",
    ]
    .iter()
    .map(|path| TestRequest::new("POST", path))
    .collect();
    writes.push(TestRequest::new(
        "DELETE",
        &format!("/auth/sessions/{session}"),
    ));
    let passwords = json!({"current": PASSWORD, "new": PASSWORD.to_owned() + "!"});
    writes.push(TestRequest::new("POST", "/auth/password").json(&passwords));
    writes
}

#[tokio::test]
async fn s34_only_pages_of_the_site_write_with_a_cookie() {
    let app = app(&format!("{COOKIES}allowed_origins = [\"{FRIEND}\"]")).await;
    let browser = Browser::log_in(&app).await;
    let host = app.address.to_string();
    let own = format!("http://{host}");
    let headers: Vec<Vec<(&str, String)>> = vec![
        vec![],
        vec![("Sec-Fetch-Site", "cross-site".into())],
        vec![("Sec-Fetch-Site", "same-site".into())],
        vec![("Sec-Fetch-Site", "none".into())],
        vec![("Sec-Fetch-Site", "Same-Origin".into())],
        vec![
            ("Sec-Fetch-Site", "cross-site".into()),
            ("Origin", own.clone()),
        ],
        vec![("Origin", "null".into())],
        vec![("Origin", "https://evil.example".into())],
        vec![("Origin", format!("https://{host}"))],
        vec![("Origin", format!("{own}.evil.example"))],
        vec![("Origin", format!("{own}0"))],
        vec![("Origin", format!("{own}/"))],
        vec![("Origin", format!("http://evil.example@{host}"))],
        vec![("Origin", "http://127.0.0.1".into())],
        vec![("Origin", format!("{FRIEND}.evil.example"))],
        vec![("Origin", FRIEND.replace("https", "http"))],
        vec![("Origin", format!("{FRIEND}:444"))],
        vec![
            ("Origin", own.clone()),
            ("Origin", "https://evil.example".into()),
        ],
        vec![("Referer", format!("{own}/page"))],
    ];
    for write in writes(&browser.session()) {
        for received in &headers {
            let mut request = write.clone();
            for (name, value) in received {
                request = request.with(name, value);
            }
            let answer = browser.actor.send(request).await;
            let case = format!("{} {} {received:?}", write.method, write.target);
            assert_eq!(answer.refusal(), (403, "cross_site".into()), "{case}");
            assert_eq!(answer.all("set-cookie"), [""; 0], "{case}");
        }
    }
    assert_eq!(
        browser.actor.get("/orders").await.status,
        200,
        "nothing was done"
    );
    assert_eq!(browser.actor.sessions().await.len(), 1);
}

/// A browser adds `Basic` and `Negotiate` by itself, also for a foreign page, after the site requested
/// them.
#[tokio::test]
async fn s34_another_scheme_is_no_proof_of_origin() {
    let app = app(COOKIES).await;
    let browser = Browser::log_in(&app).await;
    for scheme in ["Basic YW5uOng=", "Negotiate YII=", "Token x"] {
        let page = browser.actor.with_header("Authorization", scheme);
        for write in writes(&browser.session()) {
            let answer = page.send(write.clone()).await;
            let case = format!("{scheme}: {}", write.target);
            assert_eq!(answer.refusal(), (403, "cross_site".into()), "{case}");
        }
    }
    assert_eq!(browser.actor.get("/orders").await.status, 200);
}

#[tokio::test]
async fn pages_of_the_site_and_of_allowed_origins_write_with_a_cookie() {
    let app = app(&format!("{COOKIES}allowed_origins = [\"{FRIEND}\"]")).await;
    let own = format!("http://{}", app.address);
    for proof in [
        vec![("Sec-Fetch-Site", "same-origin")],
        vec![("Sec-Fetch-Site", "same-origin"), ("Origin", &own)],
        vec![("Origin", &own)],
        vec![("Origin", FRIEND)],
        vec![("Origin", FRIEND), ("Sec-Fetch-Site", "cross-site")],
    ] {
        for number in 0..6 {
            let browser = Browser::log_in(&app).await;
            let mut request = writes(&browser.session()).swap_remove(number);
            for (name, value) in &proof {
                request = request.with(name, value);
            }
            let case = format!("{} {proof:?}", request.target);
            let answer = browser.actor.send(request).await;
            assert!(
                [200, 204].contains(&answer.status),
                "{case}: {}",
                answer.text()
            );
        }
    }
}

#[tokio::test]
async fn a_bearer_token_needs_no_proof_of_origin() {
    let app = app(COOKIES).await;
    let browser = Browser::log_in(&app).await;
    let ann = app.anon().with_access(&browser.access);
    let ann = ann.with_header("Sec-Fetch-Site", "cross-site");
    assert_eq!(
        ann.post_empty("/auth/sessions/revoke-all").await.status,
        200
    );
}

#[tokio::test]
async fn a_foreign_page_cannot_log_a_browser_in() {
    let app = app(COOKIES).await;
    for (name, value) in FOREIGN {
        let page = app.anon().with_header(name, value);
        let answer = page.try_login("ann", PASSWORD).await;
        assert_eq!(
            answer.refusal(),
            (403, "cross_site".into()),
            "{name}: {value}"
        );
    }
    let own = app.anon().with_header("Sec-Fetch-Site", "same-origin");
    assert_eq!(own.try_login("ann", PASSWORD).await.status, 200);
}

/// The headers of a browser on a foreign page.
const FOREIGN: &[(&str, &str)] = &[
    ("Sec-Fetch-Site", "cross-site"),
    ("Sec-Fetch-Site", "same-site"),
    ("Origin", "https://evil.example"),
    ("Origin", "null"),
];

#[tokio::test]
async fn s34_a_token_in_the_body_does_not_end_the_session_of_a_cookie() {
    let app = app(COOKIES).await;
    let browser = Browser::log_in(&app).await;
    let made_up = browser
        .received
        .cookie_pair("sidegate_refresh")
        .replace('a', "b");
    let (_, made_up) = made_up.split_once('=').expect("a pair");
    let attacker = app.anon().try_login("ann", PASSWORD).await;
    let attackers = attacker.cookie_pair("sidegate_refresh");
    let (_, attackers) = attackers.split_once('=').expect("a pair");
    for token in [made_up, attackers] {
        for path in ["/auth/logout", "/auth/logout/session", "/auth/refresh"] {
            let write = TestRequest::new("POST", path).json(&json!({"refreshToken": token}));
            for (name, value) in FOREIGN {
                for page in [&browser.actor, &app.anon()] {
                    let answer = page.send(write.clone().with(name, value)).await;
                    let case = format!("{path} {name}: {value}");
                    assert_eq!(answer.refusal(), (403, "cross_site".into()), "{case}");
                    assert_eq!(answer.all("set-cookie"), [""; 0], "{case}");
                }
            }
        }
        // A request without any origin header is refused too, because a cookie is used.
        let write = TestRequest::new("POST", "/auth/logout").json(&json!({"refreshToken": token}));
        let answer = browser.actor.send(write).await;
        assert_eq!(answer.refusal(), (403, "cross_site".into()));
    }
    assert_eq!(browser.actor.get("/orders").await.status, 200);
    let session = app.anon().with_header("Cookie", &browser.cookies);
    let own = session.with_header("Sec-Fetch-Site", "same-origin");
    assert_eq!(own.post_empty("/auth/refresh").await.status, 200);
}

#[tokio::test]
async fn a_program_without_cookies_refreshes_and_logs_out_by_the_body() {
    let app = app(COOKIES).await;
    let received = Browser::log_in(&app).await.received;
    let pair = received.cookie_pair("sidegate_refresh");
    let (_, token) = pair.split_once('=').expect("a pair");
    let body = json!({"refreshToken": token});
    let refreshed = app.anon().post("/auth/refresh", body).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    let pair = refreshed.cookie_pair("sidegate_refresh");
    let (_, token) = pair.split_once('=').expect("a pair");
    let body = json!({"refreshToken": token});
    assert_eq!(app.anon().post("/auth/logout", body).await.status, 204);
    let access = refreshed.cookie_pair("sidegate_access");
    let request = TestRequest::new("GET", "/orders").with("Cookie", &access);
    let after = app.anon().send(request).await;
    assert_eq!(after.refusal(), (401, "session_ended".into()));
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_log_in_and_refresh_by_the_body() {
    let app = app(&format!("{COOKIES}allowed_origins = [\"{FRIEND}\"]")).await;
    let friend = app.anon().with_header("Origin", FRIEND);
    let friend = friend.with_header("Sec-Fetch-Site", "cross-site");
    let received = friend.try_login("ann", PASSWORD).await;
    assert_eq!(received.status, 200);
    let pair = received.cookie_pair("sidegate_refresh");
    let (_, token) = pair.split_once('=').expect("a pair");
    let body = json!({"refreshToken": token});
    assert_eq!(friend.post("/auth/refresh", body).await.status, 200);
}

#[tokio::test]
async fn the_public_url_is_the_origin_of_the_site() {
    let app = app(&format!("{HTTPS}{COOKIES}")).await;
    let browser = Browser::log_in(&app).await;
    let from = |origin: &str| browser.actor.with_header("Origin", origin);
    let local = from(&format!("http://{}", app.address));
    assert_eq!(
        local.post_empty("/auth/sessions/revoke-all").await.status,
        403
    );
    let named = browser.actor.with_header("Host", "evil.example");
    let named = named.with_header("Origin", "https://evil.example");
    assert_eq!(
        named.post_empty("/auth/sessions/revoke-all").await.status,
        403
    );
    let public = from("https://app.example.org");
    assert_eq!(
        public.post_empty("/auth/sessions/revoke-all").await.status,
        200
    );
}

#[tokio::test]
async fn an_allowed_origin_may_read_refusals_too() {
    let app = app(&format!("{COOKIES}allowed_origins = [\"{FRIEND}\"]")).await;
    let browser = Browser::log_in(&app).await;
    let friend = browser.actor.with_header("Origin", FRIEND);
    let anonymous = app.anon().with_header("Origin", FRIEND);
    let wrong = anonymous.try_login("ann", "not the password").await;
    assert_eq!(wrong.status, 401);
    for (answer, status) in [
        (friend.get("/auth/sessions").await, 200),
        (anonymous.get("/auth/sessions").await, 401),
        (wrong, 401),
        (friend.get("/auth/nowhere").await, 404),
        (friend.delete("/auth/me").await, 405),
    ] {
        assert_eq!(answer.status, status);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some(FRIEND),
            "{status}"
        );
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            Some("true")
        );
        assert_eq!(answer.header("vary"), Some("origin"));
    }
    for origin in ["https://evil.example", "null", "https://FRIEND.example"] {
        let other = browser.actor.with_header("Origin", origin);
        for path in ["/auth/sessions", "/auth/nowhere"] {
            let answer = other.get(path).await;
            assert_eq!(
                answer.header("access-control-allow-origin"),
                None,
                "{origin}"
            );
            assert_eq!(answer.header("access-control-allow-credentials"), None);
            assert_eq!(answer.header("vary"), Some("origin"));
        }
    }
}

#[tokio::test]
async fn a_preflight_lists_the_methods_and_headers_for_an_allowed_origin() {
    let app = app(&format!("{COOKIES}allowed_origins = [\"{FRIEND}\"]")).await;
    let preflight = TestRequest::new("OPTIONS", "/auth/sessions/revoke-all")
        .with("Access-Control-Request-Method", "POST")
        .with("Access-Control-Request-Headers", "content-type");
    let answer = preflight
        .clone()
        .with("Origin", FRIEND)
        .send(app.address)
        .await;
    assert_eq!(answer.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", FRIEND),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "POST, OPTIONS"),
        (
            "access-control-allow-headers",
            "authorization, content-type, x-device-token",
        ),
        ("access-control-max-age", "600"),
        ("vary", "origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let evil = preflight
        .with("Origin", "https://evil.example")
        .send(app.address)
        .await;
    assert_eq!(evil.status, 204);
    let received: Vec<_> = evil
        .headers
        .iter()
        .filter(|(n, _)| n.starts_with("access-control"))
        .collect();
    assert!(received.is_empty(), "{received:?}");
}
