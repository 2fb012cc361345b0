//! What gateways are told about the requests they hold: `/auth/verify` from a trusted peer, and that
//! nobody else is believed about another request.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use tokio::time::Instant;

use crate::actors::Actor;
use crate::client::{Answer, Ask, Connection, DEADLINE};
use crate::harness::{PASSWORD, TestApp};

const TRUSTED: &str = "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n";

const RULES: &str = r#"
[[rule]]
path = "/public/never"
access = "deny"

[[rule]]
path = "/public/**"
access = "public"

[[rule]]
path = "/maybe/**"
access = "optional"

[[rule]]
path = "/admin/**"
roles = ["admin"]

[[rule]]
path = "/reports"
methods = ["GET"]
access = "public"

[[rule]]
path = "/hosted/**"
host = "open.example.org"
access = "public"
"#;

/// The headers that the native preset may write.
const IDENTITY: [&str; 7] = [
    "x-user-id",
    "x-user-name",
    "x-user-email",
    "x-user-role",
    "x-tenant-id",
    "x-session-id",
    "x-auth-method",
];

/// What each gateway with its file of `examples/forward-auth` sent for `POST /orders/7?x=1`, whose
/// client claimed to be `evil` and to ask for `/public/x`. Traefik's is as it documents it.
const RECORDED: [(&str, &str); 4] = [
    (
        "nginx 1.22",
        "GET /auth/verify HTTP/1.1\r\nHost: app.example.org\r\nX-Original-Method: POST\r\n\
         X-Original-URI: /orders/7?x=1\r\nX-Forwarded-For: 203.0.113.7\r\n\
         X-Forwarded-Proto: http\r\nAuthorization: Bearer TOKEN\r\nCookie: theme=dark\r\n\
         User-Agent: client\r\nX-User-Id: evil\r\n\r\n",
    ),
    (
        "Caddy 2.11",
        "GET /auth/verify?x=1 HTTP/1.1\r\nHost: app.example.org\r\nUser-Agent: client\r\n\
         Authorization: Bearer TOKEN\r\nCookie: theme=dark\r\nVia: 1.1 Caddy\r\n\
         X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Host: app.example.org\r\n\
         X-Forwarded-Method: POST\r\nX-Forwarded-Proto: http\r\n\
         X-Forwarded-Uri: /orders/7?x=1\r\nAccept-Encoding: gzip\r\n\r\n",
    ),
    (
        "Envoy 1.40",
        "POST /auth/verify/orders/7?x=1 HTTP/1.1\r\nhost: app.example.org\r\n\
         content-length: 0\r\nx-forwarded-for: 192.0.2.1,203.0.113.7\r\n\
         x-forwarded-proto: http\r\nauthorization: Bearer TOKEN\r\ncookie: theme=dark\r\n\
         x-request-id: 55fef538-7fe5-428d-bc96-e124b2bd3368\r\nuser-agent: client\r\n\
         x-envoy-internal: true\r\nx-envoy-expected-rq-timeout-ms: 5000\r\n\r\n",
    ),
    (
        "Traefik 3",
        "GET /auth/verify HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: client\r\n\
         Authorization: Bearer TOKEN\r\nCookie: theme=dark\r\nX-User-Id: evil\r\n\
         X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Host: app.example.org\r\n\
         X-Forwarded-Method: POST\r\nX-Forwarded-Port: 80\r\nX-Forwarded-Proto: http\r\n\
         X-Forwarded-Server: gateway\r\nX-Forwarded-Uri: /orders/7?x=1\r\n\
         X-Real-Ip: 203.0.113.7\r\nAccept-Encoding: gzip\r\n\r\n",
    ),
];

async fn trusting(extra: &str) -> TestApp {
    TestApp::with(&format!("{TRUSTED}{extra}{RULES}")).await
}

/// A request that a gateway holds.
#[derive(Debug, Clone)]
struct Held {
    method: String,
    host: String,
    target: String,
    credential: Option<(String, String)>,
}

impl Held {
    fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            host: "app.example.org".to_owned(),
            target: target.to_owned(),
            credential: None,
        }
    }

    fn by(mut self, actor: &Actor) -> Self {
        if !actor.access.is_empty() {
            let shown = format!("Bearer {}", actor.access);
            self.credential = Some(("Authorization".to_owned(), shown));
        }
        self
    }

    fn dress(&self, ask: Ask) -> Ask {
        match &self.credential {
            Some((name, value)) => ask.with(name, value),
            None => ask,
        }
    }

    /// The request itself.
    fn direct(&self) -> Ask {
        self.dress(Ask::new(&self.method, &self.target).with("Host", &self.host))
    }

    /// The question about it, as Traefik and Caddy ask.
    fn forwarded(&self) -> Ask {
        self.dress(Ask::new("GET", "/auth/verify").with("Host", "sidegate:8080"))
            .with("X-Forwarded-Method", &self.method)
            .with("X-Forwarded-Proto", "https")
            .with("X-Forwarded-Host", &self.host)
            .with("X-Forwarded-Uri", &self.target)
            .with("X-Forwarded-For", "203.0.113.7")
    }

    /// As nginx does.
    fn original(&self) -> Ask {
        self.dress(Ask::new("GET", "/auth/verify").with("Host", &self.host))
            .with("X-Original-Method", &self.method)
            .with("X-Original-URI", &self.target)
    }

    /// As the nginx of an ingress does.
    fn ingress(&self) -> Ask {
        let url = format!("https://{}{}", self.host, self.target);
        self.dress(Ask::new("GET", "/auth/verify").with("Host", "sidegate:8080"))
            .with("X-Original-Method", &self.method)
            .with("X-Original-URL", &url)
    }

    /// As Envoy does.
    fn path(&self) -> Ask {
        let target = format!("/auth/verify{}", self.target);
        self.dress(Ask::new(&self.method, &target).with("Host", &self.host))
    }

    fn every_way(&self) -> [Ask; 4] {
        [
            self.forwarded(),
            self.original(),
            self.ingress(),
            self.path(),
        ]
    }
}

/// The identity that an answer carries.
fn identity(answer: &Answer) -> BTreeMap<String, String> {
    let value = |name: &str| {
        let value = answer.header(name)?;
        Some((name.to_owned(), value.to_owned()))
    };
    IDENTITY.into_iter().filter_map(value).collect()
}

/// The identity that an echo of the application saw.
fn seen(echo: &Value) -> BTreeMap<String, String> {
    let headers = echo["headers"].as_array().expect("headers");
    let text = |value: &Value| value.as_str().expect("text").to_ascii_lowercase();
    let own = |pair: &&Value| IDENTITY.contains(&text(&pair[0]).as_str());
    let own = headers.iter().filter(own);
    own.map(|pair| (text(&pair[0]), pair[1].as_str().expect("text").to_owned()))
        .collect()
}

#[tokio::test]
async fn every_gateway_hears_what_the_rules_say_of_the_request_it_holds() {
    let app = trusting("").await;
    let anon = app.anon();
    let ann = app.user("ann").await;
    let root = app.user_with_roles("root", &["user", "admin"]).await;
    for (method, target, expected) in [
        ("GET", "/orders/7?x=1", [401, 200, 200]),
        ("POST", "/orders", [401, 200, 200]),
        ("DELETE", "/orders/7", [401, 200, 200]),
        ("OPTIONS", "/orders", [401, 200, 200]),
        ("HEAD", "/orders", [401, 200, 200]),
        ("GET", "/public/x", [200, 200, 200]),
        ("GET", "/public/never", [403, 403, 403]),
        ("GET", "/maybe/x", [200, 200, 200]),
        ("GET", "/admin/users", [401, 403, 200]),
        ("GET", "/Admin/users", [401, 403, 200]),
        ("GET", "/reports", [200, 200, 200]),
        ("HEAD", "/reports", [200, 200, 200]),
        ("POST", "/reports", [401, 200, 200]),
        ("GET", "/hosted/x", [401, 200, 200]),
        ("GET", "/", [401, 200, 200]),
        ("GET", "/x?/public/x", [401, 200, 200]),
        ("GET", "/auth/me", [401, 200, 200]),
    ] {
        for (actor, expected) in [&anon, &ann, &root].into_iter().zip(expected) {
            let held = Held::new(method, target).by(actor);
            for ask in held.every_way() {
                let answer = ask.send(app.address).await;
                let case = format!("{ask:?}: {}", answer.text());
                assert_eq!(answer.status, expected, "{case}");
                assert_eq!(answer.header("cache-control"), Some("no-store"), "{case}");
                let challenged = answer.header("www-authenticate").is_some();
                assert!(expected != 401 || challenged, "{case}");
                if answer.status == 200 {
                    assert!(answer.body.is_empty(), "{case}");
                    let open = target.starts_with("/public/") || target == "/reports";
                    let asked = !open || method == "POST";
                    let known = !actor.access.is_empty() && asked;
                    let named = identity(&answer).contains_key("x-user-name");
                    assert_eq!(named, known, "{case}");
                }
            }
        }
    }
    let hosted = Held {
        host: "open.example.org:8443".to_owned(),
        ..Held::new("GET", "/hosted/x")
    };
    for ask in hosted.every_way() {
        assert_eq!(ask.send(app.address).await.status, 200, "{ask:?}");
    }
    assert_eq!(app.upstream.count(), 0, "a check reaches no application");
}

#[tokio::test]
async fn the_recorded_question_of_each_gateway_is_understood() {
    let only = "[[rule]]\npath = \"/orders/*\"\nmethods = [\"POST\"]\nhost = \"app.example.org\"\n\
                roles = [\"user\"]\n[policy]\ndefault = \"deny\"\n";
    let app = trusting(only).await;
    let ann = app.user("ann").await;
    let eve = app.user_with_roles("eve", &["guest"]).await;
    for (gateway, question) in RECORDED {
        for (token, status) in [(&ann.access, 200), (&eve.access, 403)] {
            let mut connection = Connection::open(app.address).await;
            let question = question.replace("TOKEN", token);
            connection.write(question.as_bytes()).await;
            let answer = connection.answer("GET").await;
            assert_eq!(answer.status, status, "{gateway}: {}", answer.text());
            let name = (status == 200).then_some("ann");
            assert_eq!(answer.header("x-user-name"), name, "{gateway}");
        }
    }
    let asked = |log: &str| log.matches(" POST /orders/7 200 ").count() == RECORDED.len();
    let log = app.access_log(asked).await;
    let from_client = |line: &&str| line.contains(" 203.0.113.7 ");
    assert!(
        log.lines()
            .filter(|l| l.contains("/orders/7"))
            .all(|l| from_client(&l)),
        "{log}"
    );
}

#[tokio::test]
async fn a_check_by_any_method_is_a_check_and_its_body_is_not_read() {
    let app = trusting("").await;
    let ann = app.user("ann").await;
    let held = Held::new("POST", "/orders").by(&ann);
    for method in ["GET", "HEAD", "POST", "PUT", "OPTIONS"] {
        let mut ask = held.forwarded();
        ask.method = method.to_owned();
        let answer = ask.body("text/plain", "not JSON").send(app.address).await;
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(answer.header("x-user-name"), Some("ann"), "{method}");
    }
    let mut connection = Connection::open(app.address).await;
    for _ in 0..3 {
        let with_body = held.path().body("text/plain", vec![b'x'; 10_000]);
        assert_eq!(connection.ask(&with_body).await.status, 200);
        assert_eq!(connection.ask(&held.original()).await.status, 200);
    }
}

#[tokio::test]
async fn who_is_not_trusted_is_not_believed_about_another_request() {
    let app = TestApp::with(RULES).await;
    let ann = app.user("ann").await;
    let public = Held::new("GET", "/public/x");
    for ask in [public.forwarded(), public.original(), public.ingress()] {
        let answer = ask.send(app.address).await;
        assert_eq!(answer.verdict(), (401, "missing_token".into()), "{ask:?}");
    }
    let denied = Held::new("GET", "/public/never").by(&ann);
    for ask in [denied.forwarded(), denied.original(), denied.ingress()] {
        let answer = ask.send(app.address).await;
        assert_eq!(answer.status, 200, "the token itself is good: {ask:?}");
    }
    let contradiction = denied.forwarded().with("X-Original-URI", "/else");
    assert_eq!(contradiction.send(app.address).await.status, 200);
    for held in [&public, &denied] {
        let answer = held.path().send(app.address).await;
        assert_eq!(answer.verdict(), (404, "not_found".into()));
    }
    let mut post = public.forwarded();
    post.method = "POST".to_owned();
    assert_eq!(post.send(app.address).await.status, 405);
}

#[tokio::test]
async fn trusted_networks_are_those_of_the_peer_and_not_of_the_client() {
    let app = TestApp::with(&format!(
        "[server]\ntrusted_proxies = [\"203.0.113.0/24\"]\n{RULES}"
    ))
    .await;
    let ask = Held::new("GET", "/public/x").forwarded();
    assert_eq!(ask.send(app.address).await.status, 401);
}

#[tokio::test]
async fn what_a_client_adds_to_a_check_opens_nothing() {
    let app = trusting("").await;
    let ann = app.user("ann").await;
    let held = Held::new("POST", "/admin/users").by(&ann);
    for ask in held.every_way() {
        for (name, value) in [
            ("X-Forwarded-Uri", "/public/x"),
            ("X-Forwarded-Method", "GET"),
            ("X-Forwarded-Host", "open.example.org"),
            ("X-Original-URI", "/public/x"),
            ("X-Original-Method", "GET"),
            ("X-Original-URL", "https://app.example.org/public/x"),
            ("X-Original-URL", "https://open.example.org/admin/users"),
            ("X-Forwarded-Uri", ""),
            ("X-Forwarded-Uri", "/admin/users"),
        ] {
            let ask = ask.clone().with(name, value);
            let answer = ask.send(app.address).await;
            assert_eq!(answer.status, 403, "{ask:?}: {}", answer.text());
        }
        for (name, value) in [
            ("X-HTTP-Method-Override", "GET"),
            ("X-Rewrite-URL", "/public/x"),
            ("X_Original_URI", "/public/x"),
            ("X-Forwarded-Prefix", "/public"),
            ("Connection", "X-Forwarded-Uri, X-Original-URI"),
        ] {
            let ask = ask.clone().with(name, value);
            let answer = ask.send(app.address).await;
            assert_eq!(answer.verdict(), (403, "missing_role".into()), "{ask:?}");
        }
    }
}

#[tokio::test]
async fn a_gateway_that_says_nothing_or_half_of_it_is_refused() {
    let app = trusting("").await;
    let ann = app.user("ann").await;
    let silent = ann.get("/auth/verify").await;
    assert_eq!(silent.verdict(), (403, "bad_request".into()));
    assert!(silent.text().contains("trusted proxy"), "{}", silent.text());
    let with_query = ann.get("/auth/verify?/public/x").await;
    assert_eq!(with_query.verdict(), (403, "bad_request".into()));
    let held = Held::new("GET", "/public/x").by(&ann);
    for whole in [held.forwarded(), held.original(), held.ingress()] {
        let told = |(name, _): &(String, String)| {
            let name = name.to_lowercase();
            name.starts_with("x-original") || name == "x-forwarded-uri" || name.ends_with("method")
        };
        for at in 0..whole.headers.len() {
            if told(&whole.headers[at]) {
                let mut part = whole.clone();
                part.headers.remove(at);
                let answer = part.send(app.address).await;
                assert_eq!(answer.verdict(), (403, "bad_request".into()), "{part:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_path_with_two_readings_is_refused_however_it_is_told() {
    let app = trusting("").await;
    let root = app.user_with_roles("root", &["admin"]).await;
    for target in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..%2fadmin",
        "/public/%2e%2e%2fadmin",
        "/public/%252e%252e/../admin",
        "/public//x",
        "//public/x",
        "/public/./x",
        "/public/x%00",
        "/public\\..\\admin",
        "/public/;/../admin",
        "/public/x%zz",
    ] {
        for ask in Held::new("GET", target).by(&root).every_way() {
            let answer = ask.send(app.address).await;
            assert_eq!(answer.verdict(), (403, "bad_request".into()), "{ask:?}");
        }
    }
    for target in [
        "http://app.example.org/public/x",
        "*",
        "public/x",
        "",
        "/public/x#/admin",
    ] {
        let held = Held::new("GET", target).by(&root);
        for ask in [held.forwarded(), held.original()] {
            let answer = ask.send(app.address).await;
            assert_eq!(answer.verdict(), (403, "bad_request".into()), "{ask:?}");
        }
    }
    let long = Held::new("GET", &format!("/public/{}", "a".repeat(8 * 1024)));
    let answer = long.forwarded().send(app.address).await;
    assert_eq!(answer.status, 403);
    for method in ["TRACE", "CONNECT", "get", "BREW"] {
        let answer = Held::new(method, "/public/x")
            .forwarded()
            .send(app.address)
            .await;
        assert_eq!(answer.verdict(), (403, "method_not_allowed".into()));
        assert_eq!(answer.header("allow"), None, "not that of the check");
    }
}

#[tokio::test]
async fn paths_are_re_admitted_by_the_original_path() {
    let app = trusting(
        "[paths]\nallow = []\n[[paths.prefix]]\npath = \"/files\"\nallow = [\"encoded-slash\"]\n",
    )
    .await;
    let ann = app.user("ann").await;
    for (target, expected) in [("/files/a%2fb", 200), ("/other/a%2fb", 403)] {
        for ask in Held::new("GET", target).by(&ann).every_way() {
            assert_eq!(ask.send(app.address).await.status, expected, "{ask:?}");
        }
    }
}

#[tokio::test]
async fn the_answer_names_the_caller_and_never_what_the_client_claims() {
    let app = trusting("").await;
    let ann = app.user("ann").await;
    let forge = |mut ask: Ask| {
        for name in IDENTITY {
            ask = ask.with(name, "evil").with(&name.replace('-', "_"), "evil");
        }
        ask
    };
    for target in ["/public/x", "/maybe/x"] {
        for ask in Held::new("GET", target).every_way() {
            let answer = forge(ask).send(app.address).await;
            assert_eq!((answer.status, identity(&answer)), (200, BTreeMap::new()));
            let extra = |(name, _): &&(String, String)| name.to_lowercase().starts_with("x-");
            assert_eq!(answer.headers.iter().find(extra), None);
        }
    }
    for ask in Held::new("GET", "/maybe/x").by(&ann).every_way() {
        let answer = forge(ask).send(app.address).await;
        let named = identity(&answer);
        assert_eq!(named["x-user-name"], "ann");
        assert_eq!(named["x-session-id"], ann.session);
        assert!(
            !named.contains_key("x-user-email"),
            "what has no value is absent"
        );
        assert!(named.values().all(|value| value != "evil"));
    }
}

#[tokio::test]
async fn a_log_out_holds_on_the_very_next_check() {
    let app = trusting("").await;
    let ann = app.user("ann").await;
    let held = Held::new("GET", "/orders").by(&ann);
    for ask in held.every_way() {
        assert_eq!(ask.send(app.address).await.status, 200);
    }
    assert_eq!(ann.logout().await.status, 204);
    for target in ["/orders", "/maybe/x", "/admin/x"] {
        for ask in Held::new("GET", target).by(&ann).every_way() {
            let answer = ask.send(app.address).await;
            assert_eq!(answer.verdict(), (401, "session_ended".into()), "{ask:?}");
            assert_eq!(identity(&answer), BTreeMap::new());
        }
    }
}

#[tokio::test]
async fn a_credential_that_cannot_be_read_is_a_refusal() {
    let app = trusting("").await;
    let ann = app.user("ann").await;
    let bob = app.user("bob").await;
    let good = format!("sidegate_access={}", ann.access);
    for (name, value, status, code) in [
        ("Authorization", "Bearer", 401, "invalid_token"),
        ("Authorization", "Bearer a b", 401, "invalid_token"),
        ("Authorization", "Bearer garbage", 401, "invalid_token"),
        ("Cookie", "sidegate_access=", 401, "invalid_token"),
        ("Cookie", "sidegate_access=\"x\"", 401, "invalid_token"),
        ("Cookie", &format!("{good}; {good}"), 401, "invalid_token"),
        (
            "Cookie",
            &format!("sidegate_access={}\u{1}", ann.access),
            400,
            "",
        ),
    ] {
        for target in ["/orders", "/maybe/x"] {
            for ask in Held::new("GET", target).every_way() {
                let answer = ask.with(name, value).send(app.address).await;
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (status, code),
                    "{value}"
                );
            }
        }
    }
    let two = Held::new("GET", "/maybe/x").by(&bob);
    for ask in two.every_way() {
        let answer = ask.with("Cookie", &good).send(app.address).await;
        assert_eq!(answer.verdict(), (403, "two_credentials".into()));
    }
}

#[tokio::test]
async fn a_check_renews_cookies_only_where_the_gateway_carries_them() {
    let mount = "[[mount]]\nprefix = \"/auth\"\ndelivery = \"cookies\"\n";
    for renews in [false, true] {
        let app = trusting(&format!("{mount}verify_renews = {renews}\n")).await;
        app.account("ann", &["user"]).await;
        let told = app.anon().try_login("ann", PASSWORD).await;
        app.clock.advance(Duration::from_secs(3600));
        let cookies = [
            told.cookie_pair("sidegate_access"),
            told.cookie_pair("sidegate_refresh"),
        ];
        let mut held = Held::new("GET", "/orders");
        held.credential = Some(("Cookie".to_owned(), cookies.join("; ")));
        for ask in held.every_way() {
            let answer = ask.send(app.address).await;
            if !renews {
                assert_eq!(answer.verdict(), (401, "token_expired".into()));
                assert!(answer.all("set-cookie").is_empty());
                continue;
            }
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("x-user-name"), Some("ann"));
            let fresh = answer.cookie_pair("sidegate_access");
            assert_ne!(fresh, cookies[0]);
            assert_ne!(answer.cookie_pair("sidegate_refresh"), cookies[1]);
            let mut next = Held::new("GET", "/orders");
            next.credential = Some(("Cookie".to_owned(), fresh));
            assert_eq!(next.original().send(app.address).await.status, 200);
        }
        // Nothing was used up where nothing was renewed.
        let refresh = Ask::new("POST", "/auth/refresh")
            .with("Cookie", &cookies[1])
            .with("Sec-Fetch-Site", "same-origin");
        assert_eq!(refresh.send(app.address).await.status, 200);
    }
}

#[tokio::test]
async fn s58_a_check_that_has_to_ask_a_store_without_an_answer_is_refused() {
    let mount = "[[mount]]\nprefix = \"/auth\"\ndelivery = \"cookies\"\nverify_renews = true\n";
    let (app, faults) = TestApp::with_faults(&format!("{TRUSTED}{mount}{RULES}")).await;
    app.account("ann", &["user"]).await;
    let told = app.anon().try_login("ann", PASSWORD).await;
    app.clock.advance(Duration::from_secs(3600));
    faults.fail_reads(true);
    let mut held = Held::new("GET", "/orders");
    let refresh = told.cookie_pair("sidegate_refresh");
    held.credential = Some(("Cookie".to_owned(), refresh));
    for ask in held.every_way() {
        let answer = ask.send(app.address).await;
        assert_eq!(answer.verdict(), (503, "store_unavailable".into()));
        assert_eq!(identity(&answer), BTreeMap::new());
    }
}

#[tokio::test]
async fn the_log_names_the_request_that_was_asked_about() {
    let app = trusting("").await;
    let ann = app.user("ann").await;
    Held::new("DELETE", "/orders/7?secret=1")
        .by(&ann)
        .forwarded()
        .send(app.address)
        .await;
    let anonymous = Held::new("POST", "/orders/8?secret=2").path();
    anonymous.send(app.address).await;
    let both = |log: &str| log.contains("/orders/7") && log.contains("/orders/8");
    let log = app.access_log(both).await;
    let line = |path: &str| log.lines().find(|line| line.contains(path)).unwrap();
    let passed = line("/orders/7");
    assert!(passed.contains(" DELETE /orders/7 200 "), "{passed}");
    assert!(
        passed.contains(" 203.0.113.7 "),
        "the client, not the gateway: {passed}"
    );
    assert!(
        passed.contains(&format!("session={}", ann.session)),
        "{passed}"
    );
    let refused = line("/orders/8");
    assert!(refused.contains(" POST /orders/8 401 "), "{refused}");
    assert!(refused.contains("missing_token"), "{refused}");
    assert!(!log.contains("secret"), "{log}");
}

#[tokio::test]
async fn a_check_keeps_a_session_awake() {
    let app = trusting("[sessions]\nidle_timeout = \"10m\"\n").await;
    let mut ann = app.user("ann").await;
    app.clock.advance(Duration::from_secs(9 * 60));
    let held = Held::new("GET", "/orders").by(&ann);
    assert_eq!(held.forwarded().send(app.address).await.status, 200);
    // Activity is noted beside the request.
    let deadline = Instant::now() + DEADLINE;
    let now = "2027-01-15T08:09:00.000Z";
    while ann.get("/auth/me").await.json()["session"]["lastActiveAt"] != now {
        assert!(Instant::now() < deadline, "the activity was never noted");
    }
    app.clock.advance(Duration::from_secs(9 * 60));
    ann.refresh().await;
}

/// Any request, by any caller: what `/verify` says is what the proxy does.
#[tokio::test]
async fn s6_a_check_and_the_request_itself_have_one_verdict() {
    let app = trusting("").await;
    let ann = app.user("ann").await;
    let root = app.user_with_roles("root", &["user", "admin"]).await;
    let gone = app.user("gone").await;
    assert_eq!(gone.logout().await.status, 204);
    let tokens = [
        String::new(),
        ann.access.clone(),
        root.access,
        gone.access,
        "garbage".to_owned(),
        format!("{}x", ann.access),
    ];
    let segment = prop_oneof![
        4 => prop::sample::select(vec![
            "public", "admin", "maybe", "reports", "hosted", "never", "orders", "Public", "ADMIN",
            "%61dmin", "..", ".", "", "%2e%2e", "a%2fb", "a;b", "%zz", "x", "a%20b", "~", "%C3%BC",
        ]).prop_map(str::to_owned),
        1 => "[!-~&&[^#? ]]{1,6}",
    ];
    let target = (
        proptest::collection::vec(segment, 0..4),
        any::<bool>(),
        prop_oneof![Just(String::new()), "\\?[a-z/.=%]{0,8}"],
    )
        .prop_map(|(segments, slash, query)| {
            let end = if slash { "/" } else { "" };
            format!("/{}{end}{query}", segments.join("/"))
        });
    let methods = vec![
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW",
    ];
    let hosts = vec!["app.example.org", "open.example.org", "OPEN.example.org:81"];
    let requests = (
        prop::sample::select(methods),
        prop::sample::select(hosts),
        target,
        prop::sample::select(tokens.to_vec()),
    );
    let mut runner = TestRunner::deterministic();
    for _ in 0..400 {
        let request = requests.new_tree(&mut runner).expect("a request").current();
        let (method, host, target, token) = request;
        if target.starts_with("/auth") {
            continue; // our own routes have no rule
        }
        let held = Held {
            method: method.to_owned(),
            host: host.to_owned(),
            target,
            credential: (!token.is_empty())
                .then(|| ("Authorization".to_owned(), format!("Bearer {token}"))),
        };
        agree(&app, &held).await;
    }
}

async fn agree(app: &TestApp, held: &Held) {
    let direct = held.direct().send(app.address).await;
    let expected = match direct.status {
        status @ (200 | 401 | 403) => status,
        400 | 405 | 414 => 403,
        other => panic!("{held:?}: {other} {}", direct.text()),
    };
    for ask in held.every_way() {
        if ask.target != "/auth/verify" && expected == 403 && direct.status != 403 {
            // Such a request of Envoy's may be refused before it is known to be a check.
            let status = ask.send(app.address).await.status;
            assert!(matches!(status, 400 | 403 | 405), "{held:?}: {status}");
            continue;
        }
        let check = ask.send(app.address).await;
        let case = format!("{ask:?}: {} but {}", check.text(), direct.text());
        assert_eq!(check.status, expected, "{case}");
        if held.method != "HEAD" {
            if expected == 200 {
                assert_eq!(identity(&check), seen(&direct.json()), "{case}");
            } else {
                let direct = direct.code();
                assert!(direct.is_empty() || check.code() == direct, "{case}");
            }
        }
    }
}
