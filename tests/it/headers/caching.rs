//! Cache headers: an answer that depends on its caller, or sets a cookie, is stored by no shared cache.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Full;

use crate::support::actors::Actor;
use crate::support::answer::Answer;
use crate::support::browser::{Browser, COOKIES, app};
use crate::support::client::{Connection, TestRequest};
use crate::support::harness::{PASSWORD, TestApp};
use crate::support::header_app::Script;
use crate::support::hyper_app::{ChannelBody, application};
use crate::support::websocket::{handshake, send_handshake};
use crate::support::{h2, scripted};

const LATER: Duration = Duration::from_secs(3600);

/// Every header that a cache reads, and one that no cache reads.
const SAID: &[&[(&str, &str)]] = &[
    &[],
    &[
        ("last-modified", "Sat, 29 Oct 1994 19:43:31 GMT"),
        ("etag", "\"x\""),
    ],
    &[("cache-control", "public, max-age=31536000, immutable")],
    &[
        ("cache-control", "s-maxage=60"),
        ("expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
    ],
    &[
        ("cache-control", "public"),
        ("cache-control", "max-age=9"),
        ("vary", "accept"),
    ],
    &[(
        "cache-control",
        "private=\"x-a\", proxy-revalidate, max-age=9",
    )],
    &[
        ("cdn-cache-control", "max-age=60"),
        ("cloudflare-cdn-cache-control", "max-age=60"),
    ],
    &[
        ("surrogate-control", "max-age=60"),
        ("x-accel-expires", "60"),
        ("pragma", "public"),
    ],
    &[("cache-control", "max-age=60; public")],
    &[("cache-control", "no-store")],
    &[("expires", "Thu, 01 Jan 2099 00:00:00 GMT")],
];

const STATUSES: [u16; 7] = [200, 203, 206, 301, 304, 404, 410];

/// Sidegate in front of a scripted application, over either version.
async fn apps(script: &Script, extra: &str) -> [TestApp; 2] {
    let url = format!("[upstream]\nurl = \"http://{}\"\n", script.http1());
    let http1 = app(&format!("{url}{extra}")).await;
    let url = format!("[upstream]\nurl = \"h2c://127.0.0.1:{}\"\n", script.h2c());
    [http1, app(&format!("{url}{extra}")).await]
}

fn cache_headers(headers: &[(String, String)]) -> Vec<(String, String)> {
    let mut found: Vec<_> = headers.to_vec();
    found.retain(|(name, _)| {
        name.contains("cache")
            || name.contains("surrogate")
            || name.contains("accel")
            || ["expires", "pragma", "vary", "etag", "last-modified"].contains(&name.as_str())
    });
    found.sort();
    found
}

/// The same request over HTTP/2.
async fn over_http2(to: SocketAddr, wanted: &TestRequest) -> Answer {
    let mut request = Request::get(format!("http://{to}{}", wanted.target));
    for (name, value) in &wanted.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::default()).expect("a request");
    let answer = h2::Client::open(to)
        .await
        .request(request)
        .await
        .expect("an answer");
    let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
    let headers = answer.headers().iter();
    Answer {
        status: answer.status().as_u16(),
        headers: headers.map(|(n, v)| (n.to_string(), text(v))).collect(),
        body: answer.body().to_vec(),
    }
}

/// The directives of an answer that no shared cache may store.
#[track_caller]
fn directives(answer: &Answer, case: &str) -> Vec<String> {
    let value = answer
        .header("cache-control")
        .unwrap_or_else(|| panic!("{case}"));
    let directives: Vec<_> = value
        .split(',')
        .map(|d| d.trim().to_ascii_lowercase())
        .collect();
    assert!(
        directives.contains(&"private".to_owned()),
        "{case}: {value}"
    );
    let shared =
        |d: &String| d == "public" || d.starts_with("s-maxage") || d.starts_with("private=");
    assert!(!directives.iter().any(shared), "{case}: {value}");
    for (name, _) in &answer.headers {
        let outranks = name != "cache-control" && name.ends_with("cache-control");
        let outranks = outranks || name == "surrogate-control" || name == "x-accel-expires";
        assert!(!outranks, "{case}: {name}");
    }
    directives
}

#[tokio::test]
async fn a1_an_answer_that_needed_a_session_is_private_to_its_caller() {
    let rule = "[[rule]]\npath = \"/optional\"\naccess = \"optional\"\n";
    let script = Script::default();
    for app in apps(&script, rule).await {
        let ann = app.login("ann").await;
        for lines in SAID {
            for status in STATUSES {
                script.set(status, lines);
                for path in ["/page", "/optional"] {
                    let request = ann.with_credentials(TestRequest::new("GET", path));
                    for answer in [
                        request.send(app.address).await,
                        over_http2(app.address, &request).await,
                    ] {
                        let case = format!("{path} {status} {lines:?}");
                        assert_eq!(answer.status, status, "{case}");
                        let directives = directives(&answer, &case);
                        let kept = |name| lines.iter().any(|(n, _)| *n == name);
                        for name in ["etag", "last-modified", "expires", "vary"] {
                            assert_eq!(answer.header(name).is_some(), kept(name), "{case}");
                        }
                        let sent: String = lines.iter().map(|(_, value)| *value).collect();
                        for directive in ["max-age=31536000", "immutable", "no-store", "max-age=9"]
                        {
                            let is_kept = directives.iter().any(|d| d == directive);
                            assert!(is_kept || !sent.contains(directive), "{case}: {directive}");
                        }
                    }
                }
            }
        }
        script.set(200, &[("cache-control", "max-age=60; public")]);
        let answer = ann.get("/page").await;
        assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    }
}

/// A browser whose access cookie has expired.
async fn late(app: &TestApp) -> Actor {
    let received = app.anon().try_login("ann", PASSWORD).await;
    let refresh = received.cookie_pair("sidegate_refresh");
    app.clock.advance(LATER);
    app.anon().with_header("Cookie", &refresh)
}

#[tokio::test]
async fn a1_an_answer_that_renews_cookies_is_not_stored() {
    let rules = "[policy]\ncache = \"app\"\n\
        [[rule]]\npath = \"/optional\"\naccess = \"optional\"\n\
        [[rule]]\npath = \"/private\"\naccess = \"user\"\ncache = \"private\"\n";
    let script = Script::default();
    for app in apps(&script, &format!("{rules}{COOKIES}")).await {
        for lines in SAID {
            for status in STATUSES {
                script.set(status, lines);
                let browser = late(&app).await;
                for path in ["/asset", "/optional", "/private"] {
                    let request = browser.with_credentials(TestRequest::new("GET", path));
                    for answer in [
                        request.send(app.address).await,
                        over_http2(app.address, &request).await,
                    ] {
                        let case = format!("{path} {status} {lines:?}");
                        assert_eq!(answer.status, status, "{case}");
                        answer.cookie_pair("sidegate_access");
                        let mut left = cache_headers(&answer.headers);
                        left.retain(|(name, _)| {
                            !["etag", "last-modified", "vary"].contains(&name.as_str())
                        });
                        let nobody = ("cache-control".to_owned(), "private, no-store".to_owned());
                        assert_eq!(left, [nobody], "{case}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a1_refusals_and_switched_protocols_that_renew_cookies_are_not_stored() {
    let rule = "[[rule]]\npath = \"/admin\"\nroles = [\"admin\"]\n";
    let upstream = scripted::serve(|mut stream| {
        use std::io::Write as _;
        while scripted::head(&mut stream).is_some() {
            drop(stream.write_all(crate::support::websocket::SWITCHED));
        }
    });
    let app = app(&format!(
        "[upstream]\nurl = \"http://{upstream}\"\n{rule}{COOKIES}"
    ))
    .await;
    let browser = late(&app).await;
    let refused = browser.get("/admin").await;
    assert_eq!(refused.refusal(), (403, "missing_role".into()));
    let own = browser.with_header("Origin", &format!("http://{}", app.address));
    let (_connection, switched) = send_handshake(&own, handshake()).await;
    assert_eq!(switched.status, 101);
    for answer in [refused, switched] {
        answer.cookie_pair("sidegate_refresh");
        assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    }
}

#[tokio::test]
async fn a1_with_cache_app_and_on_public_routes_the_application_decides() {
    let rules = "[[rule]]\npath = \"/app\"\naccess = \"user\"\ncache = \"app\"\n\
        [[rule]]\npath = \"/optional\"\naccess = \"optional\"\ncache = \"app\"\n\
        [[rule]]\npath = \"/public\"\naccess = \"public\"\n";
    let script = Script::default();
    for app in apps(&script, rules).await {
        let ann = app.login("ann").await;
        for lines in SAID {
            script.set(200, lines);
            let sent: Vec<_> = lines
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect();
            let sent = cache_headers(&sent);
            for path in ["/app", "/optional", "/public"] {
                let answer = ann.get(path).await;
                assert_eq!(cache_headers(&answer.headers), sent, "{path}");
            }
            for path in ["/optional", "/public"] {
                let answer = app.anon().get(path).await;
                assert_eq!(cache_headers(&answer.headers), sent, "{path}");
            }
            let page = ann.get("/page").await;
            assert!(!cache_headers(&page.headers).is_empty());
        }
    }
}

#[tokio::test]
async fn a1_an_anonymous_answer_on_an_optional_route_is_not_reused_for_a_session() {
    let rule = "[[rule]]\npath = \"/optional\"\naccess = \"optional\"\n";
    let script = Script::default();
    for app in apps(&script, rule).await {
        script.set(
            200,
            &[("cache-control", "public, max-age=60"), ("vary", "accept")],
        );
        let answer = app.anon().get("/optional").await;
        assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));
        assert_eq!(answer.header("vary"), Some("accept, cookie, authorization"));
    }
}

#[tokio::test]
async fn a1_trailers_cannot_change_caching() {
    let port = application(None, |_| async {
        let mut trailers = HeaderMap::new();
        for name in ["cache-control", "cdn-cache-control", "expires", "x-sum"] {
            trailers.insert(name, HeaderValue::from_static("public"));
        }
        let mut answer = Response::new(ChannelBody::now(
            &[Bytes::from_static(b"ok")],
            Some(trailers),
        ));
        let names = HeaderValue::from_static("cache-control, cdn-cache-control, expires, x-sum");
        answer.headers_mut().insert("trailer", names);
        answer
    });
    let app = app(&format!("[upstream]\nurl = \"h2c://127.0.0.1:{port}\"\n")).await;
    let ann = app.login("ann").await;
    let request = TestRequest::new("GET", "/x")
        .with("TE", "trailers")
        .with("Connection", "close, TE");
    let mut connection = Connection::open(app.address).await;
    connection
        .write(&ann.with_credentials(request).bytes("app"))
        .await;
    let received = connection.rest().await;
    let received = String::from_utf8_lossy(&received).into_owned();
    let (_, rest) = received.split_once("\r\n\r\n").expect("a head");
    assert!(rest.contains("x-sum: public"), "{received}");
    for name in ["cache-control", "expires"] {
        assert!(!rest.contains(name), "{received}");
    }
}

#[tokio::test]
async fn a1_answers_of_sidegate_itself_with_a_cookie_are_not_stored() {
    let app = app(COOKIES).await;
    let own = |cookies: &str| {
        let browser = app.anon().with_header("Cookie", cookies);
        browser.with_header("Sec-Fetch-Site", "same-origin")
    };
    let log_in = || async { Browser::log_in(&app).await };
    let browser = log_in().await;
    let mut answers = vec![browser.received.clone()];
    answers.push(own(&browser.cookies).post_empty("/auth/refresh").await);
    for path in ["/auth/logout", "/auth/logout/all"] {
        answers.push(own(&log_in().await.cookies).post_empty(path).await);
    }
    let browser = log_in().await;
    let path = format!("/auth/sessions/{}", browser.session());
    answers.push(own(&browser.cookies).delete(&path).await);
    for answer in answers {
        assert!(answer.status < 300, "{}", answer.text());
        assert!(!answer.all("set-cookie").is_empty());
        assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    }
}

#[tokio::test]
async fn a1_a_check_that_renews_cookies_is_not_stored() {
    let trusted = "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]\n";
    let app = app(&format!("{trusted}{COOKIES}verify_renews = true\n")).await;
    let browser = late(&app).await;
    let check = TestRequest::new("GET", "/auth/verify")
        .with("X-Original-URI", "/x")
        .with("X-Original-Method", "GET");
    let answer = browser.send(check.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.cookie_pair("sidegate_access");
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    let refused = app.anon().send(check).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("cache-control"), Some("no-store"));
}
