//! Which requests are accepted at all: methods, targets, hosts, paths, header grammar and framing.

use std::fmt::Write as _;

use crate::support::client::Connection;
use crate::support::harness::TestApp;
use crate::support::plan::ALL_PUBLIC;

/// The status of the first answer to these bytes, with a policy that permits everything: only the intake
/// can refuse.
async fn status(app: &TestApp, bytes: &[u8]) -> u16 {
    let mut connection = Connection::open(app.address).await;
    connection.write(bytes).await;
    connection.answer("GET").await.status
}

/// The status of a GET of this target, with one valid `Host`.
async fn target(app: &TestApp, target: &[u8]) -> u16 {
    let bytes = [b"GET ", target, b" HTTP/1.1\r\nHost: app\r\n\r\n"].concat();
    status(app, &bytes).await
}

/// The targets that reached the application since the last call.
fn arrived(app: &TestApp) -> Vec<String> {
    let heads = app.upstream.take_heads();
    let target = |head: &Vec<u8>| {
        let head = String::from_utf8_lossy(head).into_owned();
        head.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    heads.iter().map(target).collect()
}

#[tokio::test]
async fn s1_only_known_methods_pass() {
    let app = TestApp::with(ALL_PUBLIC).await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"] {
        let text = format!("{method} /m HTTP/1.1\r\nHost: app\r\nContent-Length: 0\r\n\r\n");
        let mut connection = Connection::open(app.address).await;
        connection.write(text.as_bytes()).await;
        assert_eq!(connection.answer(method).await.status, 200, "{method}");
    }
    assert_eq!(arrived(&app).len(), 7);
    for method in [
        "TRACE", "get", "Get", "BREW", "PROPFIND", "PRI", "GET2", "G-T", "TRACK",
    ] {
        let text = format!("{method} / HTTP/1.1\r\nHost: app\r\n\r\n");
        let mut connection = Connection::open(app.address).await;
        connection.write(text.as_bytes()).await;
        let answer = connection.answer("GET").await;
        assert_eq!(
            answer.refusal(),
            (405, "method_not_allowed".to_owned()),
            "{method}"
        );
        assert!(answer.header("allow").unwrap().contains("GET"));
    }
    for line in ["CONNECT app:443", "CONNECT /", "CONNECT http://app/"] {
        let text = format!("{line} HTTP/1.1\r\nHost: app\r\n\r\n");
        let got = status(&app, text.as_bytes()).await;
        assert!(matches!(got, 400 | 405), "{line}: {got}");
    }
    assert_eq!(arrived(&app), [""; 0]);
}

#[tokio::test]
async fn s1_only_a_path_of_this_host_is_a_target() {
    let app = TestApp::with(ALL_PUBLIC).await;
    let long = format!("/{}", "a".repeat(8 * 1024));
    let huge = format!("/{}", "a".repeat(70_000));
    for (bad, expected) in [
        ("*", 400),
        ("app:80", 400),
        ("http://other/", 400),
        ("http://app@other/", 400),
        ("http://other@app/", 400),
        ("http://app:81/", 400),
        ("https://other/", 400),
        ("ftp://app/", 400),
        ("//app/a", 400),
        ("http:/app/", 400),
        ("http:app", 400),
        ("a/b", 400),
        ("?a", 400),
        ("http://app?a", 400),
        ("/a b", 400),
        ("/a\u{0}", 400),
        ("/a\u{1}", 400),
        ("/a\u{7f}", 400),
        (&long, 414),
    ] {
        assert_eq!(target(&app, bad.as_bytes()).await, expected, "{bad:?}");
    }
    let got = target(&app, huge.as_bytes()).await;
    assert!(matches!(got, 414 | 431), "{got}");
    assert_eq!(arrived(&app), [""; 0]);
    for (good, forwarded) in [
        ("http://app/x?y=1", "/x?y=1"),
        ("HTTP://APP/x", "/x"),
        ("http://app", "/"),
        ("/x?a=//..%2f;\\'&&", "/x?a=//..%2f;\\'&&"),
    ] {
        assert_eq!(target(&app, good.as_bytes()).await, 200, "{good}");
        assert_eq!(arrived(&app), [forwarded]);
    }
}

#[tokio::test]
async fn s3_no_byte_after_a_fragment_sign_is_used() {
    let app = TestApp::with(
        "[policy]\ndefault = \"user\"\n[[rule]]\npath = \"/public/**\"\naccess = \"public\"\n",
    )
    .await;
    for (bad, forwarded) in [
        ("/admin#/public/x", None),
        ("/admin?#/public/x", None),
        ("/admin%23/public/x", None),
        ("/public/x#/../../admin", Some("/public/x")),
        ("/public/x?q#/admin", Some("/public/x?q")),
    ] {
        let got = target(&app, bad.as_bytes()).await;
        match forwarded {
            // Refused, or split where every parser splits it; never forwarded as it is.
            Some(cut) if got == 200 => assert_eq!(arrived(&app), [cut]),
            _ => {
                assert!(matches!(got, 400 | 401), "{bad}: {got}");
                assert_eq!(arrived(&app), [""; 0], "{bad}");
            }
        }
    }
}

#[tokio::test]
async fn s2_a_request_has_exactly_one_valid_host() {
    let app = TestApp::with(ALL_PUBLIC).await;
    for bad in [
        "",
        "Host:\r\n",
        "Host: \r\n",
        "Host: app\r\nHost: app\r\n",
        "Host: app\r\nhost: other\r\n",
        "Host: a@b\r\n",
        "Host: a, b\r\n",
        "Host: a b\r\n",
        "Host: a\\b\r\n",
        "Host: a/b\r\n",
        "Host: a?b\r\n",
        "Host: a#b\r\n",
        "Host: a:b\r\n",
        "Host: a:70000\r\n",
        "Host: [::1\r\n",
        "Host: [zz]\r\n",
        "Host: a\u{fc}\r\n",
        "Host: http://a\r\n",
        "Host: a%20b\r\n",
    ] {
        let text = format!("GET / HTTP/1.1\r\n{bad}\r\n");
        assert_eq!(status(&app, text.as_bytes()).await, 400, "{bad:?}");
    }
    for bad in ["GET / HTTP/1.0\r\n\r\n", "GET http://app/ HTTP/1.1\r\n\r\n"] {
        assert_eq!(status(&app, bad.as_bytes()).await, 400, "{bad:?}");
    }
    assert_eq!(arrived(&app), [""; 0]);
    for good in [
        "app",
        "app:8080",
        "[::1]:80",
        "127.0.0.1",
        "APP.example.ORG",
        "a_b",
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: {good}\r\n\r\n");
        assert_eq!(status(&app, text.as_bytes()).await, 200, "{good}");
    }
}

#[tokio::test]
async fn s2_hosts_that_are_not_configured_are_refused() {
    let app =
        TestApp::with("[server]\nhosts = [\"app.example.org\"]\n[policy]\ndefault = \"public\"\n")
            .await;
    for (host, expected) in [
        ("app.example.org", 200),
        ("APP.Example.org:8443", 200),
        ("evil.example.org", 400),
        ("app.example.org.evil.org", 400),
        ("127.0.0.1", 400),
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(status(&app, text.as_bytes()).await, expected, "{host}");
    }
}

/// Paths with two readings, and the allowance that admits each.
const ODD_PATHS: &[(&str, &str)] = &[
    ("/a/../b", ""),
    ("/..", ""),
    ("/../b", ""),
    ("/a/..", ""),
    ("/a/./b", ""),
    ("/.", ""),
    ("/a/%2e%2e/b", ""),
    ("/a/%2E%2e/b", ""),
    ("/a/.%2e/b", ""),
    ("/a/%2e/b", ""),
    ("/a%2eb", ""),
    ("/a/..%2fb", ""),
    ("/a/..%5cb", ""),
    ("/a%2f..%2fb", ""),
    ("/a/..;/b", ""),
    ("/a/..;x=1/b", ""),
    ("/a/.;/b", ""),
    ("/a/%2e%2e;/b", ""),
    ("/a/%252e%252e/b", ""),
    ("/a%252fb", ""),
    ("/a%25b", ""),
    ("/a\\b", ""),
    ("/a\\..\\b", ""),
    ("/a%00b", ""),
    ("/a%0ab", ""),
    ("/a%0d%0ab", ""),
    ("/a%1fb", ""),
    ("/a%7fb", ""),
    ("/a%", ""),
    ("/a%4", ""),
    ("/a%zz", ""),
    ("/a%u002e", ""),
    ("/a%3fb", ""),
    ("/a%23b", ""),
    ("/a%3bb", ""),
    ("/a%c0%afb", ""),
    ("/a%c0%ae%c0%ae/b", ""),
    ("/a%e0%80%afb", ""),
    ("/a\"b", ""),
    ("//", "empty-segment"),
    ("//a", "empty-segment"),
    ("/a//b", "empty-segment"),
    ("/a///b", "empty-segment"),
    ("/a%2fb", "encoded-slash"),
    ("/a%2Fb", "encoded-slash"),
    ("/a%5cb", "encoded-slash"),
    ("/a;b", "semicolon"),
    ("/a;x=1/b", "semicolon"),
    ("/\u{fc}", "non-ascii"),
    ("/a/\u{2024}\u{2024}/b", "non-ascii"),
];

#[tokio::test]
async fn s3_a_path_with_two_readings_never_reaches_the_application() {
    let app = TestApp::with(ALL_PUBLIC).await;
    for (path, _) in ODD_PATHS {
        assert_eq!(target(&app, path.as_bytes()).await, 400, "{path}");
        let behind = format!("/public{path}?q=1");
        assert_eq!(target(&app, behind.as_bytes()).await, 400, "{behind}");
    }
    assert_eq!(target(&app, b"/a\xff\xfe").await, 400);
    assert_eq!(arrived(&app), [""; 0]);
}

#[tokio::test]
async fn s3_an_operator_can_allow_single_exceptions_but_never_dot_segments() {
    for item in ["empty-segment", "encoded-slash", "semicolon", "non-ascii"] {
        let app = TestApp::with(&format!("{ALL_PUBLIC}[paths]\nallow = [\"{item}\"]\n")).await;
        for (path, needs) in ODD_PATHS {
            let expected = if *needs == item { 200 } else { 400 };
            assert_eq!(
                target(&app, path.as_bytes()).await,
                expected,
                "{item}: {path}"
            );
            if expected == 200 {
                assert_eq!(arrived(&app), [*path], "byte for byte");
            }
        }
        assert_eq!(arrived(&app), [""; 0]);
    }
}

#[tokio::test]
async fn s3_an_allowance_for_a_prefix_applies_there_only() {
    let app = TestApp::with(&format!(
        "{ALL_PUBLIC}[[paths.prefix]]\npath = \"/git\"\nallow = [\"encoded-slash\"]\n"
    ))
    .await;
    assert_eq!(target(&app, b"/git/a%2fb").await, 200);
    assert_eq!(target(&app, b"/git%2fb").await, 400);
    assert_eq!(target(&app, b"/gitx/a%2fb").await, 400);
    assert_eq!(target(&app, b"/a%2fb").await, 400);
    assert_eq!(target(&app, b"/git/..%2fb").await, 400);
    assert_eq!(target(&app, b"/git/a%2f..%2f..%2fb").await, 400);
    assert_eq!(arrived(&app), ["/git/a%2fb"]);
}

#[tokio::test]
async fn s4_paths_and_queries_are_forwarded_byte_for_byte() {
    let app = TestApp::with(ALL_PUBLIC).await;
    for good in [
        "/",
        "/a/",
        "/a.b/..c/...",
        "/%41%7e%C3%BC%ff",
        "/a+b,c:d@e!f$g&h'i(j)k*l=m~n_o-p.q",
        "/?",
        "/a?",
        "/a?b=%00%2e%2e/../;#",
        "/a?b=//&c=%zz&%",
        "/a??b",
        "/%20",
        "/[x]|{y}^`",
    ] {
        let got = target(&app, good.as_bytes()).await;
        let cut = good.split('#').next().unwrap();
        match got {
            200 => assert_eq!(arrived(&app), [cut]),
            // The grammar of hyper is stricter in places. The test requires that nothing is changed.
            400 => assert!(
                good.contains('#') || good.contains(['[', '^', '`']),
                "{good}"
            ),
            other => panic!("{good}: {other}"),
        }
    }
}

#[tokio::test]
async fn ambiguous_header_lines_are_refused() {
    let app = TestApp::with(ALL_PUBLIC).await;
    for bad in [
        &b"X-A: 1\r\n folded\r\n"[..],
        b"X-A: 1\r\n\tfolded\r\n",
        b"X-A : 1\r\n",
        b"X-A\t: 1\r\n",
        b" X-A: 1\r\n",
        b": 1\r\n",
        b"X-A\r\n",
        b"X-A: a\0b\r\n",
        b"X-A: a\rb\r\n",
        b"X-A: a\x01b\r\n",
        b"X-A: a\x7fb\r\n",
        b"X\0A: 1\r\n",
        b"X A: 1\r\n",
        b"X(A): 1\r\n",
        b"X\xc3\xbc: 1\r\n",
        b"\x00: 1\r\n",
    ] {
        let bytes = [b"GET /x HTTP/1.1\r\nHost: app\r\n", bad, b"\r\n"].concat();
        let line = String::from_utf8_lossy(bad);
        assert_eq!(status(&app, &bytes).await, 400, "{line:?}");
    }
    for bad in [
        "GET /x HTTP/2.0\r\nHost: app\r\n\r\n",
        "GET /x HTTP/1.2\r\nHost: app\r\n\r\n",
        "GET /x HTTP/0.9\r\nHost: app\r\n\r\n",
        "GET /x http/1.1\r\nHost: app\r\n\r\n",
        "GET /x\r\nHost: app\r\n\r\n",
        "GET  /x HTTP/1.1\r\nHost: app\r\n\r\n",
        "GET\t/x HTTP/1.1\r\nHost: app\r\n\r\n",
        "GET /x HTTP/1.1 \r\nHost: app\r\n\r\n",
        " GET /x HTTP/1.1\r\nHost: app\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\r\n\r\n",
        // A request that only begins like the preface of HTTP/2.
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ] {
        assert_eq!(status(&app, bad.as_bytes()).await, 400, "{bad:?}");
    }
    assert_eq!(arrived(&app), [""; 0]);
}

#[tokio::test]
async fn s10_a_head_has_a_maximum_of_lines_and_bytes() {
    let app = TestApp::with(ALL_PUBLIC).await;
    let head = |lines: usize, width: usize| {
        let mut head = "GET /x HTTP/1.1\r\nHost: app\r\n".to_owned();
        for n in 1..lines {
            write!(head, "X-{n}: {}\r\n", "v".repeat(width)).unwrap();
        }
        head + "\r\n"
    };
    assert_eq!(status(&app, head(100, 8).as_bytes()).await, 200);
    assert_eq!(status(&app, head(101, 8).as_bytes()).await, 431);
    assert_eq!(status(&app, head(2, 60 * 1024).as_bytes()).await, 200);
    assert_eq!(status(&app, head(2, 65 * 1024).as_bytes()).await, 431);
    assert_eq!(status(&app, head(90, 1024).as_bytes()).await, 431);
    assert_eq!(arrived(&app).len(), 2);
    assert_eq!(target(&app, b"/x").await, 200, "others are served on");
}
