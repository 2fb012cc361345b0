//! Who is calling is said by us alone: whatever a client sends beside its token, the application
//! reads the identity of the verified session, or none.

use crate::actors::Actor;
use crate::client::{Answer, Ask, Connection};
use crate::harness::TestApp;

const RULES: &str = "[[rule]]\npath = \"/public/**\"\naccess = \"public\"\n\
                     [[rule]]\npath = \"/optional/**\"\naccess = \"optional\"\n";

/// Names that only we may set, from every preset, and what applications take for them.
pub(crate) const MANAGED: &[&str] = &[
    "x-user-id",
    "x-user-name",
    "x-user-email",
    "x-user-role",
    "x-tenant-id",
    "x-session-id",
    "x-auth-method",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-preferred-username",
    "x-forwarded-groups",
    "x-forwarded-access-token",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-access-token",
    "remote-user",
    "remote-groups",
    "x-authentik-username",
    "x-authentik-groups",
    "x-authentik-jwt",
    "x-pomerium-jwt-assertion",
    "x-pomerium-claim-email",
    "cf-access-authenticated-user-email",
    "cf-access-jwt-assertion",
    "x-webauth-user",
    "x-webauth-role",
    "sm_user",
    "sm_role",
    "x-remote-user",
    "x-user",
    "x-role",
    "x-sidegate-assertion",
    "x-sidegate-anything",
    "x-forwarded",
    "x-forwarded-anything",
    "x-forwarded-uri",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-real-ip",
    "forwarded",
    "proxy",
];

/// A name as a lenient reader may still take it.
pub(crate) fn spellings(name: &str) -> Vec<String> {
    let with = |by: &str| name.replace(['-', '_'], by);
    let mut capital = true;
    let title = name.chars().map(|c| {
        let shown = if capital { c.to_ascii_uppercase() } else { c };
        capital = !c.is_ascii_alphanumeric();
        shown
    });
    let mut all = vec![name.to_owned(), name.to_uppercase(), title.collect()];
    all.extend(["_", ".", "-", "!", "~", "+", "'", "|", "^", "`", "$"].map(with));
    all.push(name.replacen('-', "_", 1));
    all.push(name.replace('-', "_").to_uppercase());
    all
}

/// The headers the application received, by folded name.
fn seen(answer: &Answer) -> Vec<(String, String)> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let headers = answer.json()["headers"].clone();
    let headers: Vec<(String, String)> = serde_json::from_value(headers).unwrap();
    let fold = |name: &str| {
        name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
            .to_uppercase()
    };
    headers
        .into_iter()
        .map(|(name, value)| (fold(&name), value))
        .collect()
}

/// The only value of a header that the application received.
#[track_caller]
fn one<'a>(seen: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = seen
        .iter()
        .filter(|(known, _)| known == name)
        .map(|(_, value)| value);
    let first = values.next();
    assert_eq!(values.next(), None, "{name} twice");
    first.map(String::as_str)
}

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
            let mut ask = actor.dress(Ask::new("GET", path));
            for spelling in spellings(name) {
                ask = ask.with(&spelling, "forged-root");
            }
            let seen = seen(&connection.ask(&ask).await);
            let forged: Vec<_> = seen.iter().filter(|(_, v)| v.contains("forged")).collect();
            assert!(forged.is_empty(), "{path} {name}: {forged:?}");
        }
    }
}

#[tokio::test]
async fn s13_each_identity_header_occurs_once_and_only_for_who_is_logged_in() {
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
        let told = seen
            .iter()
            .find(|(name, _)| identity.iter().any(|i| name.starts_with(i)));
        assert_eq!(told, None, "{path}");
    }
}

#[tokio::test]
async fn s12_naming_our_headers_in_connection_changes_nothing() {
    let app = TestApp::with(RULES).await;
    let ann = app.user("ann").await;
    for value in [
        "x-user-id",
        "X-User-Id, x-user-role",
        "close, X_USER_ID",
        "keep-alive,x-user-id,x-forwarded-for,x-request-id,host,content-length",
        "authorization",
        ",,x-session-id,,",
        "upgrade, x-user-name",
    ] {
        let seen = seen(&ann.with_header("Connection", value).get("/x").await);
        assert_eq!(one(&seen, "X_USER_NAME"), Some("ann"), "{value}");
        for name in [
            "X_USER_ID",
            "X_USER_ROLE",
            "X_SESSION_ID",
            "HOST",
            "X_FORWARDED_FOR",
        ] {
            assert!(one(&seen, name).is_some(), "{value}: {name}");
        }
        assert_eq!(one(&seen, "CONNECTION"), None);
    }
    let two = ann
        .with_header("Connection", "x-user-id")
        .with_header("Connection", "X-Mine");
    let seen = seen(
        &two.with_header("X-Mine", "1")
            .with_header("X-Other", "2")
            .get("/x")
            .await,
    );
    assert!(one(&seen, "X_USER_ID").is_some());
    assert_eq!(
        (one(&seen, "X_MINE"), one(&seen, "X_OTHER")),
        (None, Some("2"))
    );
}

#[tokio::test]
async fn s12_hop_by_hop_headers_and_upgrades_are_not_passed_on() {
    let app = TestApp::with(RULES).await;
    let mut asking = app.anon();
    for (name, value) in [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("Proxy-Authenticate", "Basic"),
        ("TE", "trailers"),
        ("Trailer", "X-User-Id"),
        ("Proxy", "http://evil"),
    ] {
        asking = asking.with_header(name, value);
    }
    let seen = seen(&asking.get("/public/x").await);
    let names: Vec<_> = seen.iter().map(|(name, _)| name.as_str()).collect();
    let ours = [
        "HOST",
        "X_FORWARDED_FOR",
        "X_FORWARDED_HOST",
        "X_FORWARDED_PROTO",
        "X_FORWARDED_PORT",
        "X_REQUEST_ID",
    ];
    assert_eq!(names, ours);
}

#[tokio::test]
async fn s11_trailers_of_a_request_are_dropped() {
    let app = TestApp::with(RULES).await;
    let ann = app.user("ann").await;
    let text = format!(
        "POST /x HTTP/1.1\r\nHost: app\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\
         Trailer: X-User-Role\r\n\r\n2\r\nhi\r\n0\r\nX-User-Role: admin\r\nX-User-Id: 0\r\n\r\n",
        ann.access
    );
    let mut connection = Connection::open(app.address).await;
    connection.write(text.as_bytes()).await;
    let answer = connection.answer("POST").await;
    assert_eq!(one(&seen(&answer), "X_USER_ROLE"), Some("user"));
    assert_eq!(answer.json()["body_len"], 2);
    // The next request on both connections is still itself.
    let next = connection.ask(&ann.dress(Ask::new("GET", "/y"))).await;
    assert_eq!(one(&seen(&next), "X_USER_ROLE"), Some("user"));
    assert_eq!(next.json()["target"], "/y");
}

#[tokio::test]
async fn s16_a_stranger_cannot_say_where_a_request_comes_from() {
    let app = TestApp::with(RULES).await;
    let lying = app
        .anon()
        .with_header("X-Forwarded-For", "10.0.0.1")
        .with_header("X-Forwarded-For", "127.0.0.1")
        .with_header("X-Forwarded-Host", "evil.example")
        .with_header("X-Forwarded-Proto", "https")
        .with_header("X-Forwarded-Port", "1")
        .with_header("X-Forwarded-Prefix", "/evil")
        .with_header("Forwarded", "for=10.0.0.1;host=evil")
        .with_header("X-Request-Id", "chosen")
        .with_header("X-Real-Ip", "10.0.0.1");
    let answer = lying.get("/public/x").await;
    let seen = seen(&answer);
    let host = app.address.to_string();
    let port = app.address.port().to_string();
    for (name, value) in [
        ("X_FORWARDED_FOR", Some("127.0.0.1")),
        ("X_FORWARDED_HOST", Some(host.as_str())),
        ("X_FORWARDED_PROTO", Some("http")),
        ("X_FORWARDED_PORT", Some(port.as_str())),
        ("X_FORWARDED_PREFIX", None),
        ("FORWARDED", None),
        ("X_REAL_IP", None),
    ] {
        assert_eq!(one(&seen, name), value, "{name}");
    }
    let id = one(&seen, "X_REQUEST_ID").unwrap();
    assert!(
        id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
        "{id}"
    );
    let log = app.access_log(|log| log.contains(id)).await;
    assert!(
        log.contains(" 127.0.0.1 ") && !log.contains("10.0.0.1"),
        "{log}"
    );
}

#[tokio::test]
async fn s16_a_trusted_proxy_says_where_a_request_comes_from() {
    let trusting = format!("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n{RULES}");
    let app = TestApp::with(&trusting).await;
    let proxy = app
        .anon()
        .with_header("X-Forwarded-For", "6.6.6.6, 198.51.100.7")
        .with_header("X-Forwarded-For", "127.0.0.9")
        .with_header("X-Forwarded-Host", "app.example.org")
        .with_header("X-Forwarded-Proto", "https")
        .with_header("X-Forwarded-Port", "8443")
        .with_header("X-Forwarded-Prefix", "/app")
        .with_header("X-Request-Id", "edge-42");
    let told = seen(&proxy.get("/public/x").await);
    for (name, value) in [
        (
            "X_FORWARDED_FOR",
            "6.6.6.6, 198.51.100.7, 127.0.0.9, 127.0.0.1",
        ),
        ("X_FORWARDED_HOST", "app.example.org"),
        ("X_FORWARDED_PROTO", "https"),
        ("X_FORWARDED_PORT", "8443"),
        ("X_FORWARDED_PREFIX", "/app"),
        ("X_REQUEST_ID", "edge-42"),
    ] {
        assert_eq!(one(&told, name), Some(value));
    }
    let log = app.access_log(|log| log.contains("edge-42")).await;
    assert!(log.contains(" 198.51.100.7 edge-42 "), "{log}");
    // What cannot be read makes the peer the client; an odd request id is replaced.
    for (name, value) in [
        ("X-Forwarded-For", "198.51.100.7, unknown"),
        ("X-Forwarded-For", "1.2.3"),
    ] {
        let odd = app
            .anon()
            .with_header(name, value)
            .with_header("X-Request-Id", "a b");
        let told = seen(&odd.get("/public/x").await);
        let id = one(&told, "X_REQUEST_ID").unwrap().to_owned();
        assert_eq!(id.len(), 32);
        let log = app.access_log(|log| log.contains(&id)).await;
        assert!(log.contains(&format!(" 127.0.0.1 {id} ")), "{log}");
    }
}

#[tokio::test]
async fn s15_credentials_stay_with_us() {
    let app = TestApp::with(RULES).await;
    let ann = app.user("ann").await;
    let cookies = format!(
        "a=1; sidegate_access={}; b=2; sidegate_refresh=r; sidegate_device=d; c",
        ann.access
    );
    let asking = ann
        .with_header("Cookie", &cookies)
        .with_header("Proxy-Authorization", "Basic x");
    let told = seen(&asking.get("/x").await);
    assert_eq!(one(&told, "COOKIE"), Some("a=1; b=2; c"));
    assert_eq!(one(&told, "AUTHORIZATION"), None);
    assert_eq!(one(&told, "PROXY_AUTHORIZATION"), None);
    let only_ours = app
        .anon()
        .with_header("Cookie", &format!("sidegate_access={}", ann.access));
    let told = seen(&only_ours.get("/x").await);
    assert_eq!(
        (one(&told, "COOKIE"), one(&told, "X_USER_NAME")),
        (None, Some("ann"))
    );
    let heads = app.upstream.take_heads();
    let heads = String::from_utf8_lossy(&heads.concat()).into_owned();
    assert!(
        !heads.contains(&ann.access),
        "a token reached the application"
    );
}

#[tokio::test]
async fn s15_authorization_is_handed_on_when_the_operator_says_so() {
    let app = TestApp::with(&format!("[headers]\npass_authorization = true\n{RULES}")).await;
    let ann = app.user("ann").await;
    let told = seen(&ann.get("/x").await);
    assert_eq!(
        one(&told, "AUTHORIZATION"),
        Some(format!("Bearer {}", ann.access).as_str())
    );
    let basic = app.anon().with_header("Authorization", "Basic YTpi");
    let told = seen(&basic.get("/public/x").await);
    assert_eq!(one(&told, "AUTHORIZATION"), Some("Basic YTpi"));
}

#[tokio::test]
async fn s21_two_credentials_in_one_request_are_refused() {
    let app = TestApp::with(RULES).await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let cookie = |token: &str| format!("sidegate_access={token}");
    for (two, code) in [
        (
            ann.with_header("Authorization", "Basic YTpi"),
            "two_credentials",
        ),
        (
            ann.with_header("Authorization", &format!("Bearer {}", ann.access)),
            "two_credentials",
        ),
        (
            ann.with_header("Cookie", &cookie(&bob.access)),
            "two_credentials",
        ),
        (
            ann.with_header("Cookie", &format!("x=y; {}", cookie(&bob.access))),
            "two_credentials",
        ),
    ] {
        for path in ["/x", "/optional/x"] {
            let answer = two.get(path).await;
            assert!(matches!(answer.status, 400 | 401), "{}", answer.status);
            assert_eq!(answer.code(), code, "{path}");
        }
    }
    for same in [
        cookie(&ann.access),
        format!("{0}; {0}", cookie(&ann.access)),
        "sidegate_access=".to_owned(),
    ] {
        let answer = ann.with_header("Cookie", &same).get("/x").await;
        assert_eq!(answer.status, 200, "one session is one credential: {same}");
    }
    assert_eq!(app.upstream.count(), 3);
}

/// Each preset, and what it writes for ann, as the documentation has it.
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

/// The headers that hold the user's id.
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
async fn headers_of_an_operators_own_are_managed_like_the_others() {
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
        let told = seen(&ann.with_header(spelling, "forged").get("/x").await);
        assert_eq!(one(&told, "X_MY_USER"), Some("ann"), "{spelling}");
        assert_eq!(one(&told, "MY_ROLES"), Some("user"), "{spelling}");
        assert_eq!(one(&told, "X_USER_ID"), None);
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
        let who = (n * 7 + n / 3) % 3;
        let connection = &mut connections[(n * 5 + n / 7) % 4];
        let path = paths[(n + n / 11) % 3];
        let target = format!("{path}?n={n}");
        let answer = connection
            .ask(&actors[who].dress(Ask::new("GET", &target)))
            .await;
        if path == "/x" && who == 2 {
            assert_eq!(answer.status, 401);
            continue;
        }
        let named = if path == "/public/x" {
            None
        } else {
            expected[who]
        };
        let told = seen(&answer);
        assert_eq!(one(&told, "X_USER_NAME"), named, "request {n}");
        let session = named.map(|_| actors[who].session.as_str());
        assert_eq!(one(&told, "X_SESSION_ID"), session, "request {n}");
        assert_eq!(answer.json()["target"], target);
    }
}

#[tokio::test]
async fn s14_identity_never_crosses_requests_that_run_at_the_same_time() {
    let app = TestApp::with(RULES).await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let ask = |actor: Actor, name: &'static str| {
        let address = app.address;
        async move {
            let mut connection = Connection::open(address).await;
            for _ in 0..500 {
                let answer = connection.ask(&actor.dress(Ask::new("GET", "/x"))).await;
                assert_eq!(one(&seen(&answer), "X_USER_NAME"), Some(name));
            }
        }
    };
    tokio::join!(
        ask(ann.clone(), "ann"),
        ask(bob.clone(), "bob"),
        ask(ann, "ann"),
        ask(bob, "bob"),
    );
}

#[tokio::test]
async fn s6_no_header_takes_part_in_a_decision() {
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
        assert_eq!(asking.poke("/reports").await.status, 401, "{name}");
        let options = asking.send(Ask::new("OPTIONS", "/closed")).await;
        assert_eq!(options.status, 401, "{name}");
    }
    assert_eq!(app.upstream.count(), 0);
}
