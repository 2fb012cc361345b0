//! How does each gateway describe the original request in a check?

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::actors::Actor;
use crate::support::answer::Answer;
use crate::support::client::TestRequest;
use crate::support::harness::TestApp;

pub(super) const TRUSTED: &str = "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n";

pub(super) const RULES: &str = r#"
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
pub(super) const IDENTITY: [&str; 7] = [
    "x-user-id",
    "x-user-name",
    "x-user-email",
    "x-user-role",
    "x-tenant-id",
    "x-session-id",
    "x-auth-method",
];

/// The headers that each gateway with its file of `examples/forward-auth` sent for `POST /orders/7?x=1`.
/// The client claimed to be `evil` and to request `/public/x`.
pub(super) const RECORDED: [(&str, &str); 4] = [
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
        "Traefik 3.7",
        "GET /auth/verify HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: client\r\n\
         Authorization: Bearer TOKEN\r\nCookie: theme=dark\r\n\
         X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Host: app.example.org\r\n\
         X-Forwarded-Method: POST\r\nX-Forwarded-Port: 80\r\nX-Forwarded-Proto: http\r\n\
         X-Forwarded-Uri: /orders/7?x=1\r\nAccept-Encoding: gzip\r\n\r\n",
    ),
];

pub(super) async fn trusting(extra: &str) -> TestApp {
    TestApp::with(&format!("{TRUSTED}{extra}{RULES}")).await
}

/// The original request of a check.
#[derive(Debug, Clone)]
pub(super) struct OriginalRequest {
    pub(super) method: String,
    pub(super) host: String,
    pub(super) target: String,
    pub(super) credential: Option<(String, String)>,
}

impl OriginalRequest {
    pub(super) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            host: "app.example.org".to_owned(),
            target: target.to_owned(),
            credential: None,
        }
    }

    pub(super) fn by(mut self, actor: &Actor) -> Self {
        if !actor.access.is_empty() {
            let shown = format!("Bearer {}", actor.access);
            self.credential = Some(("Authorization".to_owned(), shown));
        }
        self
    }

    fn with_credentials(&self, request: TestRequest) -> TestRequest {
        match &self.credential {
            Some((name, value)) => request.with(name, value),
            None => request,
        }
    }

    /// The request itself, sent to the proxy.
    pub(super) fn direct(&self) -> TestRequest {
        self.with_credentials(TestRequest::new(&self.method, &self.target).with("Host", &self.host))
    }

    /// The check as Traefik and Caddy send it.
    pub(super) fn forwarded(&self) -> TestRequest {
        self.with_credentials(TestRequest::new("GET", "/auth/verify").with("Host", "sidegate:8080"))
            .with("X-Forwarded-Method", &self.method)
            .with("X-Forwarded-Proto", "https")
            .with("X-Forwarded-Host", &self.host)
            .with("X-Forwarded-Uri", &self.target)
            .with("X-Forwarded-For", "203.0.113.7")
    }

    /// The check as nginx sends it.
    pub(super) fn original(&self) -> TestRequest {
        self.with_credentials(TestRequest::new("GET", "/auth/verify").with("Host", &self.host))
            .with("X-Original-Method", &self.method)
            .with("X-Original-URI", &self.target)
    }

    /// The check as the nginx ingress controller sends it.
    pub(super) fn ingress(&self) -> TestRequest {
        let url = format!("https://{}{}", self.host, self.target);
        self.with_credentials(TestRequest::new("GET", "/auth/verify").with("Host", "sidegate:8080"))
            .with("X-Original-Method", &self.method)
            .with("X-Original-URL", &url)
    }

    /// The check as Envoy sends it.
    pub(super) fn path(&self) -> TestRequest {
        let target = format!("/auth/verify{}", self.target);
        self.with_credentials(TestRequest::new(&self.method, &target).with("Host", &self.host))
    }

    pub(super) fn every_way(&self) -> [TestRequest; 4] {
        [
            self.forwarded(),
            self.original(),
            self.ingress(),
            self.path(),
        ]
    }
}

/// The identity headers of an answer.
pub(super) fn identity(answer: &Answer) -> BTreeMap<String, String> {
    let value = |name: &str| {
        let value = answer.header(name)?;
        Some((name.to_owned(), value.to_owned()))
    };
    IDENTITY.into_iter().filter_map(value).collect()
}

/// The identity headers that the application received.
pub(super) fn seen(echo: &Value) -> BTreeMap<String, String> {
    let headers = echo["headers"].as_array().expect("headers");
    let text = |value: &Value| value.as_str().expect("text").to_ascii_lowercase();
    let own = |pair: &&Value| IDENTITY.contains(&text(&pair[0]).as_str());
    let own = headers.iter().filter(own);
    own.map(|pair| (text(&pair[0]), pair[1].as_str().expect("text").to_owned()))
        .collect()
}
