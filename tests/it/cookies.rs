//! Tokens in cookies: what is set, what is believed, what never reaches the upstream, and which
//! pages may use them.

use serde_json::json;

use crate::actors::Actor;
use crate::client::{Answer, Ask};
use crate::harness::{PASSWORD, TestApp};

const COOKIES: &str = "[[mount]]\nprefix = \"/auth\"\ndelivery = \"cookies\"\n";
const HYBRID: &str = "[[mount]]\nprefix = \"/auth\"\ndelivery = \"hybrid\"\n";
const HTTPS: &str = "[server]\npublic_url = \"https://app.example.org\"\n";
const FRIEND: &str = "https://friend.example";

/// Ann's browser after her log-in: what it was told, and what it sends back.
struct Browser {
    told: Answer,
    cookies: String,
    access: String,
    actor: Actor,
}

impl Browser {
    async fn log_in(app: &TestApp) -> Self {
        let told = app.anon().try_login("ann", PASSWORD).await;
        assert_eq!(told.status, 200, "{}", told.text());
        let lines = told.all("set-cookie");
        let pairs: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.split(';').next())
            .collect();
        let cookies = pairs.join("; ");
        let access = pairs
            .iter()
            .find_map(|pair| pair.split_once("sidegate_access="));
        let access = access
            .map(|(_, token)| token.to_owned())
            .unwrap_or_default();
        let actor = app.anon().with_header("Cookie", &cookies);
        Self {
            told,
            cookies,
            access,
            actor,
        }
    }

    fn session(&self) -> String {
        let body = self.told.json();
        body["session"]["id"].as_str().expect("an id").to_owned()
    }
}

async fn app(extra: &str) -> TestApp {
    let app = TestApp::with(extra).await;
    app.account("ann", &["user"]).await;
    app
}

/// The attributes of a `Set-Cookie` line, after name and value.
fn attributes(line: &str) -> Vec<&str> {
    line.split("; ").skip(1).collect()
}

#[tokio::test]
async fn s33_cookies_carry_every_attribute_that_protects_them() {
    let app = app(COOKIES).await;
    let told = Browser::log_in(&app).await.told;
    assert_eq!(told.all("set-cookie").len(), 3);
    for (name, age) in [("access", 900), ("refresh", 86_400), ("device", 34_560_000)] {
        let line = told.set_cookie(&format!("sidegate_{name}"));
        let age = format!("Max-Age={age}");
        assert_eq!(
            attributes(line),
            ["Path=/", &age, "HttpOnly", "SameSite=Lax"],
            "{line}"
        );
    }
    let body = told.json();
    assert_eq!(
        (&body["accessToken"], &body["refreshToken"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(body["expiresIn"], 900);
    assert_eq!(told.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn s33_behind_https_cookies_are_secure_and_bound_to_the_host() {
    let app = app(&format!(
        "{HTTPS}[cookies]\nsame_site = \"Strict\"\n{COOKIES}"
    ))
    .await;
    let browser = Browser::log_in(&app).await;
    for line in browser.told.all("set-cookie") {
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
    // A page of plain HTTP could have set the name without the prefix.
    let planted = browser.cookies.replace("__Host-", "");
    let answer = app
        .anon()
        .with_header("Cookie", &planted)
        .get("/orders")
        .await;
    assert_eq!(answer.verdict(), (401, "missing_token".into()));
}

#[tokio::test]
async fn a_shared_domain_is_written_and_gives_up_the_host_prefix() {
    let domain = "[cookies]\ndomain = \"example.org\"\n";
    let app = app(&format!("{HTTPS}{domain}{COOKIES}")).await;
    for line in Browser::log_in(&app).await.told.all("set-cookie") {
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
    assert_eq!(browser.told.all("set-cookie").len(), 2);
    browser.told.set_cookie("sidegate_refresh");
    browser.told.set_cookie("sidegate_device");
    let body = browser.told.json();
    assert_eq!(body["refreshToken"], json!(null));
    let ann = app.anon().holding(&browser.told);
    assert_eq!(ann.get("/orders").await.status, 200);
    let own = browser.actor.with_header("Sec-Fetch-Site", "same-origin");
    let refreshed = own.poke("/auth/refresh").await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    assert!(refreshed.json()["accessToken"].is_string());
    assert_ne!(
        refreshed.cookie_pair("sidegate_refresh"),
        browser.told.cookie_pair("sidegate_refresh")
    );
}

#[tokio::test]
async fn json_delivery_sets_no_cookie() {
    let app = app("").await;
    assert_eq!(Browser::log_in(&app).await.told.all("set-cookie"), [""; 0]);
}

#[tokio::test]
async fn a_device_keeps_its_id_over_log_ins() {
    let app = app(COOKIES).await;
    let first = Browser::log_in(&app).await;
    let device = first.told.cookie_pair("sidegate_device");
    let again = app.anon().with_header("Cookie", &device);
    let again = again.try_login("ann", PASSWORD).await;
    assert_eq!(again.cookie_pair("sidegate_device"), device);
    let body = again.json();
    let id = body["session"]["deviceId"].as_str().expect("an id");
    assert_eq!(device, format!("sidegate_device={id}"));
    let other = Browser::log_in(&app).await.told;
    assert_ne!(other.cookie_pair("sidegate_device"), device);
}

#[tokio::test]
async fn s15_our_cookies_stay_here_and_others_pass_byte_for_byte() {
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
    let ask = |cookies: &str| app.anon().with_header("Cookie", cookies);
    let ours = &browser.cookies;
    let (access, rest) = ours.split_once("; ").expect("three cookies");
    for (sent, passed) in [
        (ours.clone(), vec![]),
        (format!("a=1; {ours}"), vec!["a=1"]),
        (format!("{ours}; a=1"), vec!["a=1"]),
        (
            format!("a=1; {access}; b=\"x y\"; {rest}; sidegate_accessory=2; =3; c"),
            vec!["a=1; b=\"x y\"; sidegate_accessory=2; =3; c"],
        ),
    ] {
        let answer = ask(&sent).get("/orders").await;
        assert_eq!(answer.status, 200, "{sent}");
        assert_eq!(echoed(answer), passed, "{sent}");
    }
    // On a line of its own as well.
    let answer = ask(ours)
        .with_header("Cookie", "b=2;c=3")
        .get("/orders")
        .await;
    assert_eq!(echoed(answer), ["b=2;c=3"]);
}

#[tokio::test]
async fn s33_a_doubled_or_damaged_cookie_of_ours_is_refused() {
    let app = app(COOKIES).await;
    let browser = Browser::log_in(&app).await;
    let token = &browser.access;
    for sent in [
        format!("sidegate_access={token}; sidegate_access={token}"),
        format!("sidegate_access={token}; a=1; sidegate_access=x"),
        format!("sidegate_access=\"{token}\""),
        format!("sidegate_access ={token}"),
        format!("sidegate_access= {token}"),
        "sidegate_access=".to_owned(),
        "sidegate_access".to_owned(),
        format!("sidegate_access={token}x"),
        format!("sidegate_access={}", token.to_uppercase()),
    ] {
        let answer = app.anon().with_header("Cookie", &sent).get("/orders").await;
        assert_eq!(answer.verdict(), (401, "invalid_token".into()), "{sent}");
    }
    let lines = app.anon().with_header("Cookie", &browser.cookies);
    let lines = lines.with_header("Cookie", &browser.cookies);
    assert_eq!(
        lines.get("/orders").await.verdict(),
        (401, "invalid_token".into())
    );
    // Names are compared byte for byte: another spelling is another application's.
    let other = format!("Sidegate_Access={token}");
    let answer = app
        .anon()
        .with_header("Cookie", &other)
        .get("/orders")
        .await;
    assert_eq!(answer.verdict(), (401, "missing_token".into()));
    let refresh = browser.told.cookie_pair("sidegate_refresh");
    let twice = app
        .anon()
        .with_header("Cookie", &format!("{refresh}; {refresh}"));
    let twice = twice.with_header("Sec-Fetch-Site", "same-origin");
    let answer = twice.poke("/auth/refresh").await;
    assert_eq!(answer.verdict(), (401, "invalid_refresh_token".into()));
}

#[tokio::test]
async fn s21_two_different_credentials_are_refused_and_the_same_twice_is_one() {
    let app = app(COOKIES).await;
    let (one, two) = (Browser::log_in(&app).await, Browser::log_in(&app).await);
    for path in ["/orders", "/auth/me"] {
        let answer = one.actor.with_access(&two.access).get(path).await;
        assert_eq!(answer.verdict(), (400, "two_credentials".into()));
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
        twice.get("/orders").await.verdict(),
        (400, "two_credentials".into())
    );
}

/// Every write that a cookie alone can carry, with its body.
fn writes(session: &str) -> Vec<Ask> {
    let mut writes: Vec<Ask> = [
        "/auth/refresh",
        "/auth/logout",
        "/auth/logout/session",
        "/auth/logout/all",
        "/auth/sessions/revoke-all",
    ]
    .iter()
    .map(|path| Ask::new("POST", path))
    .collect();
    writes.push(Ask::new("DELETE", &format!("/auth/sessions/{session}")));
    let passwords = json!({"current": PASSWORD, "new": PASSWORD.to_owned() + "!"});
    writes.push(Ask::new("POST", "/auth/password").json(&passwords));
    writes
}

#[tokio::test]
async fn s34_no_page_but_ours_writes_with_a_cookie() {
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
        for told in &headers {
            let mut ask = write.clone();
            for (name, value) in told {
                ask = ask.with(name, value);
            }
            let answer = browser.actor.send(ask).await;
            let case = format!("{} {} {told:?}", write.method, write.target);
            assert_eq!(answer.verdict(), (403, "cross_site".into()), "{case}");
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

#[tokio::test]
async fn our_own_pages_and_allowed_ones_write_with_a_cookie() {
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
            let mut ask = writes(&browser.session()).swap_remove(number);
            for (name, value) in &proof {
                ask = ask.with(name, value);
            }
            let case = format!("{} {proof:?}", ask.target);
            let answer = browser.actor.send(ask).await;
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
    assert_eq!(ann.poke("/auth/sessions/revoke-all").await.status, 200);
}

#[tokio::test]
async fn a_foreign_page_cannot_log_a_browser_in() {
    let app = app(COOKIES).await;
    for (name, value) in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
    ] {
        let page = app.anon().with_header(name, value);
        let answer = page.try_login("ann", PASSWORD).await;
        assert_eq!(
            answer.verdict(),
            (403, "cross_site".into()),
            "{name}: {value}"
        );
    }
    let own = app.anon().with_header("Sec-Fetch-Site", "same-origin");
    assert_eq!(own.try_login("ann", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn the_public_url_is_our_origin_when_there_is_one() {
    let app = app(&format!("{HTTPS}{COOKIES}")).await;
    let browser = Browser::log_in(&app).await;
    let from = |origin: &str| browser.actor.with_header("Origin", origin);
    let local = from(&format!("http://{}", app.address));
    assert_eq!(local.poke("/auth/sessions/revoke-all").await.status, 403);
    let named = browser.actor.with_header("Host", "evil.example");
    let named = named.with_header("Origin", "https://evil.example");
    assert_eq!(named.poke("/auth/sessions/revoke-all").await.status, 403);
    let public = from("https://app.example.org");
    assert_eq!(public.poke("/auth/sessions/revoke-all").await.status, 200);
}

#[tokio::test]
async fn an_allowed_origin_may_read_also_what_is_refused() {
    let app = app(&format!("{COOKIES}allowed_origins = [\"{FRIEND}\"]")).await;
    let browser = Browser::log_in(&app).await;
    let friend = browser.actor.with_header("Origin", FRIEND);
    let stranger = app.anon().with_header("Origin", FRIEND);
    let wrong = stranger.try_login("ann", "not the password").await;
    assert_eq!(wrong.status, 401);
    for (answer, status) in [
        (friend.get("/auth/sessions").await, 200),
        (stranger.get("/auth/sessions").await, 401),
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
async fn a_preflight_tells_an_allowed_origin_what_it_may_send() {
    let app = app(&format!("{COOKIES}allowed_origins = [\"{FRIEND}\"]")).await;
    let preflight = Ask::new("OPTIONS", "/auth/sessions/revoke-all")
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
            "authorization, content-type",
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
    let told: Vec<_> = evil
        .headers
        .iter()
        .filter(|(n, _)| n.starts_with("access-control"))
        .collect();
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test]
async fn logging_out_clears_both_tokens_and_keeps_the_device() {
    let app = app(COOKIES).await;
    for path in ["/auth/logout", "/auth/logout/all"] {
        let browser = Browser::log_in(&app).await;
        let own = browser.actor.with_header("Sec-Fetch-Site", "same-origin");
        let answer = own.poke(path).await;
        assert_eq!(answer.all("set-cookie").len(), 2);
        for name in ["sidegate_access", "sidegate_refresh"] {
            let line = answer.set_cookie(name);
            let cleared = format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
            assert_eq!(line, cleared);
        }
        assert_eq!(
            own.get("/orders").await.verdict(),
            (401, "session_ended".into())
        );
        assert_eq!(own.poke("/auth/refresh").await.status, 401);
    }
}

#[tokio::test]
async fn an_expired_access_cookie_still_logs_out_by_the_refresh_cookie() {
    let app = app(COOKIES).await;
    let browser = Browser::log_in(&app).await;
    app.clock.advance(std::time::Duration::from_secs(3600));
    let own = browser.actor.with_header("Sec-Fetch-Site", "same-origin");
    assert_eq!(own.poke("/auth/logout").await.status, 204);
    assert_eq!(own.poke("/auth/refresh").await.status, 401);
}

#[tokio::test]
async fn a_browser_refreshed_on_the_way_keeps_its_session_also_when_it_is_refused() {
    let rule = "[[rule]]\npath = \"/admin/**\"\nroles = [\"admin\"]\n";
    let app = app(&format!("{COOKIES}{rule}")).await;
    let browser = Browser::log_in(&app).await;
    app.clock.advance(std::time::Duration::from_secs(3600));
    let refused = browser.actor.get("/admin/x").await;
    assert_eq!(refused.verdict(), (403, "missing_role".into()));
    let lines = refused.all("set-cookie");
    let fresh: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split(';').next())
        .collect();
    // Long after the used refresh token's grace.
    app.clock.advance(std::time::Duration::from_secs(60));
    let next = app.anon().with_header("Cookie", &fresh.join("; "));
    assert_eq!(next.get("/orders").await.status, 200);
}
