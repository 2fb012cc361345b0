//! Which request head does the upstream receive?

use http::header::{CONNECTION, COOKIE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request};
use proptest::prelude::*;

use super::{MANAGED, ann, settings, via};
use crate::proxy::Address;
use crate::proxy::request_head::HeadWriter;
use crate::proxy::sender::Framing;
use crate::proxy::settings::Settings;
use crate::types::header::fold;

fn parts(headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri("/a%2Db/?x=1&y=%zz");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn head_with(settings: &Settings, parts: &Parts) -> String {
    let mut out = b"left over".to_vec();
    let identity = ann();
    HeadWriter::new(settings).write_head(&mut out, parts, Framing::None, Some(&identity), &via());
    String::from_utf8_lossy(&out).into_owned()
}

fn head(headers: &[(&str, &str)]) -> String {
    head_with(&settings(80), &parts(headers))
}

/// The values of all lines whose name an upstream could take for this one.
fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let folded = |name: &str| name.bytes().map(fold).collect::<Vec<_>>();
    (head.split("\r\n").skip(1))
        .filter_map(|line| line.split_once(": "))
        .filter(|(found, _)| folded(found) == folded(name))
        .map(|(_, value)| value)
        .collect()
}

const OURS: &str = "x-user-id: ann\r\nx-user-role: user\r\nx-forwarded-for: 203.0.113.9\r\n\
    x-forwarded-host: app.example.org\r\nx-forwarded-proto: http\r\nx-forwarded-port: 80\r\n\
    x-request-id: request-1\r\n";

#[test]
fn the_target_and_ordinary_headers_pass_byte_for_byte() {
    assert_eq!(
        head(&[("accept", "*/*"), ("x-app", "a"), ("x-app", "b \t\"c\"")]),
        format!(
            "GET /a%2Db/?x=1&y=%zz HTTP/1.1\r\nhost: app.example.org\r\naccept: */*\r\nx-app: a\r\n\
             x-app: b \t\"c\"\r\n{OURS}\r\n"
        )
    );
}

#[test]
fn no_spelling_of_an_identity_header_passes() {
    let forged = [
        "x-user-id",
        "X_User_Id",
        "x.user.id",
        "X-USER_ID",
        "X!User~Id",
        "x#user$id",
        "x%user&id",
        "x'user*id",
        "x+user^id",
        "x`user|id",
        "Remote_User",
        "X.Tenant.Id",
    ];
    for name in forged {
        let head = head(&[(name, "root")]);
        assert!(!head.contains("root"), "{name}");
        assert_eq!(values(&head, "x-user-id"), ["ann"], "{name}");
    }
}

#[test]
fn a_public_route_is_stripped_as_well() {
    let mut out = Vec::new();
    let parts = parts(&[("x-user-id", "root"), ("x_user_role", "admin")]);
    HeadWriter::new(&settings(80)).write_head(&mut out, &parts, Framing::None, None, &via());
    let head = String::from_utf8(out).unwrap();
    assert_eq!(values(&head, "x-user-id"), [""; 0]);
    assert_eq!(values(&head, "x-user-role"), [""; 0]);
}

#[test]
fn connection_cannot_remove_identity_headers() {
    let head = head(&[
        (
            "connection",
            "x-user-id, X-Forwarded-For,host,content-length, close",
        ),
        ("connection", "x-drop, x-request-id"),
        ("x-drop", "1"),
        ("x-keep", "2"),
    ]);
    assert_eq!(values(&head, "x-user-id"), ["ann"]);
    assert_eq!(values(&head, "x-forwarded-for"), ["203.0.113.9"]);
    assert_eq!(values(&head, "x-request-id"), ["request-1"]);
    assert_eq!(values(&head, "host"), ["app.example.org"]);
    assert_eq!(values(&head, "x-drop"), [""; 0]);
    assert_eq!(values(&head, "x-keep"), ["2"]);
    assert_eq!(values(&head, "connection"), [""; 0]);
}

#[test]
fn hop_by_hop_forwarding_and_httpoxy_headers_are_removed() {
    let dropped = [
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
        "proxy",
        "forwarded",
        "x-real-ip",
        "x-original-url",
        "x-rewrite-url",
        "x-forwarded-uri",
        "x-forwarded-prefix",
        "content_length",
        "transfer_encoding",
        "proxy_authorization",
        "authorization",
    ];
    for name in dropped {
        assert!(!head(&[(name, "secret")]).contains("secret"), "{name}");
    }
}

#[test]
fn authorization_is_forwarded_only_when_configured() {
    let mut settings = settings(80);
    settings.pass_authorization = true;
    let parts = parts(&[
        ("authorization", "Basic abc"),
        ("proxy-authorization", "secret"),
    ]);
    let head = head_with(&settings, &parts);
    assert_eq!(values(&head, "authorization"), ["Basic abc"]);
    assert!(!head.contains("secret"));
}

#[test]
fn sidegate_cookies_are_removed_from_every_cookie_header() {
    let head = head(&[
        ("cookie", "a=1; sidegate_access=t"),
        ("cookie", "sidegate_refresh=u"),
        ("cookie", "b=2"),
    ]);
    assert_eq!(values(&head, "cookie"), ["a=1", "b=2"]);
}

#[test]
fn the_host_is_that_of_the_client_or_of_the_upstream() {
    let mut settings = settings(8081);
    settings.preserve_host = false;
    for (upstream, host) in [
        (settings.upstream.clone(), "127.0.0.1:8081"),
        (
            Address::Tcp {
                host: "::1".to_owned(),
                port: 80,
            },
            "[::1]",
        ),
        (
            Address::Tcp {
                host: "app".to_owned(),
                port: 80,
            },
            "app",
        ),
        (Address::Unix("/run/app.sock".into()), "localhost"),
    ] {
        settings.upstream = upstream;
        let head = head_with(&settings, &parts(&[("host", "evil")]));
        assert_eq!(values(&head, "host"), [host]);
        assert_eq!(values(&head, "x-forwarded-host"), ["app.example.org"]);
    }
}

#[test]
fn the_framing_is_rewritten() {
    for (framing, line) in [
        (Framing::Length(7), "content-length: 7\r\n\r\n"),
        (Framing::Chunked, "transfer-encoding: chunked\r\n\r\n"),
    ] {
        let mut out = Vec::new();
        let parts = parts(&[
            ("content-length", "99"),
            ("transfer-encoding", "chunked, x"),
        ]);
        HeadWriter::new(&settings(80)).write_head(&mut out, &parts, framing, None, &via());
        let head = String::from_utf8(out).unwrap();
        assert!(head.ends_with(line), "{head}");
        assert!(!head.contains("99") && !head.contains(", x"));
    }
}

/// Names similar to the managed ones, and arbitrary ones.
fn any_name() -> impl Strategy<Value = String> {
    let forged = (
        0..MANAGED.len(),
        proptest::collection::vec("[!#$%&'*+.^_`|~-]", 3),
    )
        .prop_map(|(at, marks)| {
            let mut marks = marks.into_iter();
            MANAGED[at]
                .split('-')
                .fold(String::new(), |name, part| match name.as_str() {
                    "" => part.to_owned(),
                    _ => name + &marks.next().unwrap() + part,
                })
        });
    prop_oneof![
        forged,
        "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,24}",
        Just("connection".to_owned())
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_headers_make_a_head_with_another_identity(
        lines in proptest::collection::vec(
            (any_name(), proptest::collection::vec(any::<u8>(), 0..40)), 0..12),
        named in proptest::collection::vec(any_name(), 0..4),
    ) {
        let mut parts = parts(&[]);
        parts.method = Method::POST;
        for (name, value) in &lines {
            // The server side refuses such names before.
            if let Ok(value) = HeaderValue::from_bytes(value) {
                parts.headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
            }
        }
        let named = HeaderValue::from_str(&named.join(", ")).unwrap();
        parts.headers.append(CONNECTION, named);
        parts.headers.append(COOKIE, HeaderValue::from_static("sidegate_access=token-of-ours"));
        let mut out = Vec::new();
        let identity = ann();
        let writer = HeadWriter::new(&settings(80));
        writer.write_head(&mut out, &parts, Framing::None, Some(&identity), &via());
        let head = String::from_utf8_lossy(&out).into_owned();
        prop_assert_eq!(values(&head, "x-user-id"), ["ann"]);
        prop_assert_eq!(values(&head, "x-user-role"), ["user"]);
        prop_assert!(values(&head, "x-tenant-id").is_empty());
        prop_assert!(values(&head, "remote-user").is_empty());
        prop_assert_eq!(values(&head, "host").len(), 1);
        prop_assert!(!head.contains("token-of-ours"));
        // One empty line, at the end, and no other line end than those of the writer.
        prop_assert_eq!(head.find("\r\n\r\n"), Some(head.len() - 4));
        prop_assert_eq!(head.matches(['\r', '\n']).count(), head.matches("\r\n").count() * 2);
    }
}
