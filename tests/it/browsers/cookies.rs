//! Tokens in cookies: which are set, which are accepted, and which never reach the upstream.

use std::time::Duration;

use serde_json::json;

use crate::support::answer::Answer;
use crate::support::browser::{Browser, COOKIES, HTTPS, app};
use crate::support::harness::PASSWORD;

const HYBRID: &str = "[[mount]]\nprefix = \"/auth\"\ndelivery = \"hybrid\"\n";

/// The attributes of a `Set-Cookie` line, after name and value.
fn attributes(line: &str) -> Vec<&str> {
    line.split("; ").skip(1).collect()
}

#[tokio::test]
async fn s33_cookies_carry_every_attribute_that_protects_them() {
    let app = app(COOKIES).await;
    let received = Browser::log_in(&app).await.received;
    assert_eq!(received.all("set-cookie").len(), 3);
    for (name, age) in [
        ("access", 900),
        ("refresh", 604_800),
        ("device", 34_560_000),
    ] {
        let line = received.set_cookie(&format!("sidegate_{name}"));
        let age = format!("Max-Age={age}");
        assert_eq!(
            attributes(line),
            ["Path=/", &age, "HttpOnly", "SameSite=Lax"],
            "{line}"
        );
    }
    let body = received.json();
    assert_eq!(
        (&body["accessToken"], &body["refreshToken"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(body["expiresIn"], 900);
    assert_eq!(received.header("cache-control"), Some("private, no-store"));
}

#[tokio::test]
async fn s33_behind_https_cookies_are_secure_and_bound_to_the_host() {
    let app = app(&format!(
        "{HTTPS}[cookies]\nsame_site = \"Strict\"\n{COOKIES}"
    ))
    .await;
    let browser = Browser::log_in(&app).await;
    for line in browser.received.all("set-cookie") {
        assert!(line.starts_with("__Host-sidegate_"), "{line}");
        let attributes = attributes(line);
        assert_eq!(
            attributes[2..],
            ["HttpOnly", "Secure", "SameSite=Strict"],
            "{line}"
        );
        assert_eq!(attributes[0], "Path=/");
    }
    assert_eq!(browser.actor.get("/orders").await.status, 200);
    // A page over plain HTTP could have set the name without the prefix.
    let planted = browser.cookies.replace("__Host-", "");
    let answer = app
        .anon()
        .with_header("Cookie", &planted)
        .get("/orders")
        .await;
    assert_eq!(answer.refusal(), (401, "missing_token".into()));
}

#[tokio::test]
async fn a_shared_domain_is_written_without_the_host_prefix() {
    let domain = "[cookies]\ndomain = \"example.org\"\n";
    let app = app(&format!("{HTTPS}{domain}{COOKIES}")).await;
    for line in Browser::log_in(&app).await.received.all("set-cookie") {
        assert!(line.starts_with("sidegate_"), "{line}");
        assert!(
            line.ends_with("; Secure; SameSite=Lax; Domain=example.org"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn hybrid_puts_the_access_token_into_the_body_and_the_refresh_token_into_a_cookie() {
    let app = app(HYBRID).await;
    let browser = Browser::log_in(&app).await;
    assert_eq!(browser.received.all("set-cookie").len(), 2);
    browser.received.set_cookie("sidegate_refresh");
    browser.received.set_cookie("sidegate_device");
    let body = browser.received.json();
    assert_eq!(body["refreshToken"], json!(null));
    let ann = app.anon().holding(&browser.received);
    assert_eq!(ann.get("/orders").await.status, 200);
    let own = browser.actor.with_header("Sec-Fetch-Site", "same-origin");
    let refreshed = own.post_empty("/auth/refresh").await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    assert!(refreshed.json()["accessToken"].is_string());
    assert_ne!(
        refreshed.cookie_pair("sidegate_refresh"),
        browser.received.cookie_pair("sidegate_refresh")
    );
}

#[tokio::test]
async fn json_delivery_sets_no_cookie() {
    let app = app("").await;
    assert_eq!(
        Browser::log_in(&app).await.received.all("set-cookie"),
        [""; 0]
    );
}

#[tokio::test]
async fn a_device_keeps_its_id_across_log_ins() {
    let app = app(COOKIES).await;
    let first = Browser::log_in(&app).await;
    let device = first.received.cookie_pair("sidegate_device");
    let again = app.anon().with_header("Cookie", &device);
    let again = again.try_login("ann", PASSWORD).await;
    assert_eq!(again.cookie_pair("sidegate_device"), device);
    let body = again.json();
    let id = body["session"]["deviceId"].as_str().expect("an id");
    assert_eq!(
        id,
        first.received.json()["session"]["deviceId"],
        "the list shows it under one name"
    );
    assert!(!device.contains(id), "and that name opens nothing");
    let other = Browser::log_in(&app).await.received;
    assert_ne!(other.cookie_pair("sidegate_device"), device);
}

#[tokio::test]
async fn s15_sidegate_cookies_are_removed_and_others_pass_byte_for_byte() {
    let app = app(COOKIES).await;
    let browser = Browser::log_in(&app).await;
    let echoed = |answer: Answer| {
        let body = answer.json();
        let headers = body["headers"].as_array().expect("headers").clone();
        let cookies = headers.into_iter().filter(|h| {
            h[0].as_str()
                .is_some_and(|n| n.eq_ignore_ascii_case("cookie"))
        });
        cookies
            .map(|h| h[1].as_str().expect("text").to_owned())
            .collect::<Vec<_>>()
    };
    let request = |cookies: &str| app.anon().with_header("Cookie", cookies);
    let cookies = &browser.cookies;
    let (access, rest) = cookies.split_once("; ").expect("three cookies");
    for (sent, passed) in [
        (cookies.clone(), vec![]),
        (format!("a=1; {cookies}"), vec!["a=1"]),
        (format!("{cookies}; a=1"), vec!["a=1"]),
        (
            format!("a=1; {access}; b=\"x y\"; {rest}; sidegate_accessory=2; =3; c"),
            vec!["a=1; b=\"x y\"; sidegate_accessory=2; =3; c"],
        ),
    ] {
        let answer = request(&sent).get("/orders").await;
        assert_eq!(answer.status, 200, "{sent}");
        assert_eq!(echoed(answer), passed, "{sent}");
    }
    // Also in a header line of its own.
    let answer = request(cookies)
        .with_header("Cookie", "b=2;c=3")
        .get("/orders")
        .await;
    assert_eq!(echoed(answer), ["b=2;c=3"]);
}

#[tokio::test]
async fn s33_a_damaged_sidegate_cookie_is_refused() {
    let app = app(COOKIES).await;
    let browser = Browser::log_in(&app).await;
    let token = &browser.access;
    for sent in [
        format!("sidegate_access=\"{token}\""),
        format!("sidegate_access ={token}"),
        format!("sidegate_access= {token}"),
        "sidegate_access=".to_owned(),
        "sidegate_access".to_owned(),
        format!("sidegate_access={token}x"),
        format!("sidegate_access={}", token.to_uppercase()),
    ] {
        let answer = app.anon().with_header("Cookie", &sent).get("/orders").await;
        assert_eq!(answer.refusal(), (401, "invalid_token".into()), "{sent}");
    }
    // Names are compared byte for byte: another spelling belongs to another application.
    let other = format!("Sidegate_Access={token}");
    let answer = app
        .anon()
        .with_header("Cookie", &other)
        .get("/orders")
        .await;
    assert_eq!(answer.refusal(), (401, "missing_token".into()));
}

#[tokio::test]
async fn s21_two_different_credentials_are_refused_and_a_repeated_one_counts_once() {
    let app = app(COOKIES).await;
    let (one, two) = (Browser::log_in(&app).await, Browser::log_in(&app).await);
    for path in ["/orders", "/auth/me"] {
        let answer = one.actor.with_access(&two.access).get(path).await;
        assert_eq!(answer.refusal(), (400, "two_credentials".into()));
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Bearer error=\"invalid_request\"")
        );
        assert_eq!(
            one.actor.with_access(&one.access).get(path).await.status,
            200
        );
    }
    let twice = app.anon().with_access(&one.access);
    let twice = twice.with_header("Authorization", "Bearer other");
    assert_eq!(
        twice.get("/orders").await.refusal(),
        (400, "two_credentials".into())
    );
}

#[tokio::test]
async fn logging_out_clears_both_tokens_and_keeps_the_device() {
    let app = app(COOKIES).await;
    for path in ["/auth/logout", "/auth/logout/all"] {
        let browser = Browser::log_in(&app).await;
        let own = browser.actor.with_header("Sec-Fetch-Site", "same-origin");
        let answer = own.post_empty(path).await;
        assert_eq!(answer.all("set-cookie").len(), 2);
        for name in ["sidegate_access", "sidegate_refresh"] {
            let line = answer.set_cookie(name);
            let cleared = format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
            assert_eq!(line, cleared);
        }
        assert_eq!(
            own.get("/orders").await.refusal(),
            (401, "session_ended".into())
        );
        assert_eq!(own.post_empty("/auth/refresh").await.status, 401);
    }
}

#[tokio::test]
async fn an_expired_access_cookie_still_logs_out_by_the_refresh_cookie() {
    let app = app(COOKIES).await;
    let browser = Browser::log_in(&app).await;
    app.clock.advance(Duration::from_secs(3600));
    let own = browser.actor.with_header("Sec-Fetch-Site", "same-origin");
    assert_eq!(own.post_empty("/auth/logout").await.status, 204);
    assert_eq!(own.post_empty("/auth/refresh").await.status, 401);
}

#[tokio::test]
async fn a_browser_with_a_damaged_cookie_can_log_out_of_it() {
    let app = app(COOKIES).await;
    let browser = app.anon().with_header("Cookie", "sidegate_access=damaged");
    let answer = browser.with_header("Sec-Fetch-Site", "same-origin");
    let answer = answer.logout().await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.all("set-cookie").len(), 2);
}

#[tokio::test]
async fn a_damaged_refresh_cookie_does_not_keep_a_browser_logged_in() {
    let app = app(COOKIES).await;
    let received = Browser::log_in(&app).await.received;
    let access = received.cookie_pair("sidegate_access");
    let cookies = format!("{access}; sidegate_refresh=damaged");
    let browser = app.anon().with_header("Cookie", &cookies);
    let own = browser.with_header("Sec-Fetch-Site", "same-origin");
    let answer = own.logout().await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.all("set-cookie").len(), 2);
    assert_eq!(
        browser.get("/orders").await.refusal(),
        (401, "session_ended".into())
    );
}

#[tokio::test]
async fn a_string_that_cannot_be_a_refresh_token_logs_no_session_out() {
    let app = app("").await;
    let anon = app.anon();
    let body = serde_json::json!({"refreshToken": "nonsense"});
    let answer = anon.post("/auth/logout", body).await;
    assert_eq!(answer.refusal(), (401, "invalid_refresh_token".into()));
}
