//! Which headers of a gateway's question name the original request, and which are refused?

use http::HeaderName;
use proptest::prelude::*;

use super::*;
use crate::gateway::host::Hosts;
use crate::types::path::Allowances;

fn admission() -> Admission {
    Admission {
        paths: Allowances::default(),
        hosts: Hosts::default(),
        methods: vec![Method::GET, Method::POST, Method::DELETE],
    }
}

fn headers(said: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in said {
        let name = HeaderName::try_from(*name).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// The original request of a check with this method, this target below our route and these headers, as text.
fn read(method: &str, below: &str, said: &[(&str, &str)]) -> Result<String, BadRequest> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let own = admission()
        .hosts
        .host_of(HeaderValue::from_static("own:80"))
        .unwrap();
    let headers = headers(said);
    let check = Check {
        method: &method,
        host: &own,
        below,
        headers: &headers,
    };
    let Original {
        method,
        host,
        target,
    } = check.original(&admission())?;
    Ok(format!("{method} {} {target}", host.name.as_str()))
}

const TRAEFIK: [(&str, &str); 3] = [
    ("x-forwarded-method", "POST"),
    ("x-forwarded-host", "App.example.org:8443"),
    ("x-forwarded-uri", "/orders/7?x=1"),
];
const NGINX: [(&str, &str); 2] = [
    ("x-original-method", "POST"),
    ("x-original-uri", "/orders/7?x=1"),
];
const INGRESS: [(&str, &str); 2] = [
    ("x-original-method", "POST"),
    ("x-original-url", "https://app.example.org/orders/7?x=1"),
];

fn unclear(why: Unclear) -> Result<String, BadRequest> {
    Err(BadRequest::Original(why))
}

#[test]
fn the_headers_of_each_gateway_are_parsed() {
    let app = || Ok("POST app.example.org /orders/7?x=1".to_owned());
    let own = || Ok("POST own /orders/7?x=1".to_owned());
    assert_eq!(read("GET", "", &TRAEFIK), app());
    assert_eq!(read("GET", "", &NGINX), own());
    assert_eq!(read("GET", "", &INGRESS), app());
    assert_eq!(read("POST", "/orders/7?x=1", &[]), own());
}

#[test]
fn repeated_information_must_be_equal() {
    let both = [&TRAEFIK[..], &INGRESS].concat();
    assert!(read("GET", "", &both).is_ok());
    for (name, other) in [
        ("x-original-method", "GET"),
        ("x-original-uri", "/public"),
        ("x-original-uri", "/orders/7?x=2"),
        ("x-original-uri", "/orders/7?x=1"), // its host is the check's own
        ("x-original-url", "http://other/orders/7?x=1"),
    ] {
        let told = [&TRAEFIK[..], &[(name, other)]].concat();
        assert_eq!(
            read("GET", "", &told),
            unclear(Unclear::Disagree),
            "{name}: {other}"
        );
    }
    for told in [&TRAEFIK[..], &NGINX, &INGRESS] {
        assert_eq!(read("POST", "/public", told), unclear(Unclear::Disagree));
        let other_host = [told, &[("x-forwarded-host", "other")]].concat();
        assert!(read("GET", "", &other_host).is_err(), "{other_host:?}");
    }
    let envoy = [("x-forwarded-method", "GET")];
    assert_eq!(read("POST", "/orders", &envoy), unclear(Unclear::Disagree));
}

#[test]
fn one_header_twice_is_refused_even_with_the_same_value() {
    for (name, value) in TRAEFIK.iter().chain(&INGRESS).chain(&NGINX) {
        let twice = [(*name, *value), (*name, *value)];
        assert_eq!(read("GET", "/a", &twice), unclear(Unclear::Twice), "{name}");
    }
}

#[test]
fn an_incomplete_original_request_is_refused() {
    assert_eq!(read("GET", "", &[]), unclear(Unclear::Missing));
    for whole in [&TRAEFIK[..], &NGINX, &INGRESS] {
        for left_out in 0..whole.len() {
            let mut part = whole.to_vec();
            part.remove(left_out);
            assert_eq!(
                read("POST", "", &part),
                unclear(Unclear::Incomplete),
                "{part:?}"
            );
        }
    }
    // The gateway names only the target, and the client adds a method of its choice.
    for (target, method) in [
        (NGINX[1], TRAEFIK[0]),
        (INGRESS[1], TRAEFIK[0]),
        (TRAEFIK[2], NGINX[0]),
    ] {
        let mixed = [target, method, TRAEFIK[1]];
        assert!(read("GET", "", &mixed).is_err(), "{mixed:?}");
    }
    let envoy = [("x-forwarded-method", "POST")];
    assert_eq!(read("POST", "/a", &envoy), unclear(Unclear::Incomplete));
    let host_alone = [("x-forwarded-host", "app")];
    assert_eq!(read("GET", "", &host_alone), unclear(Unclear::Missing));
}

#[test]
fn every_header_value_must_have_its_form() {
    for (name, value) in [
        ("x-forwarded-host", "a, b"),
        ("x-forwarded-host", "a/b"),
        ("x-forwarded-host", ""),
        ("x-original-url", "/orders"),
        ("x-original-url", "ftp://app/orders"),
        ("x-original-url", "http://app"),
        ("x-original-url", "http:///orders"),
        ("x-original-url", "http://a@b/orders"),
        ("x-original-url", "http://app?/orders"),
        ("x-original-method", "post"),
        ("x-original-method", "TRACE"),
        ("x-original-method", ""),
        ("x-original-method", "GET, POST"),
    ] {
        let mut told: Vec<_> = INGRESS.into_iter().filter(|(n, _)| *n != name).collect();
        told.push((name, value));
        assert!(read("GET", "", &told).is_err(), "{name}: {value}");
    }
}

#[test]
fn only_configured_hosts_can_be_checked() {
    let admission = Admission {
        hosts: Hosts::new(vec!["app.example.org".to_owned()]),
        ..admission()
    };
    let own = admission
        .hosts
        .host_of(HeaderValue::from_static("app.example.org"));
    let headers = headers(&[
        TRAEFIK[0],
        TRAEFIK[2],
        ("x-forwarded-host", "evil.example.org"),
    ]);
    let check = Check {
        method: &Method::GET,
        host: &own.unwrap(),
        below: "",
        headers: &headers,
    };
    assert_eq!(check.original(&admission).unwrap_err(), BadRequest::Host);
}

proptest! {
    /// For any headers: the result is the value in each header that was read.
    #[test]
    fn without_headers_there_is_no_original_request(
        below in prop_oneof![Just(String::new()), "/[a-c]?"],
        said in proptest::collection::vec(
            (
                prop::sample::select(vec![
                    "x-forwarded-method", "x-forwarded-uri", "x-forwarded-host",
                    "x-original-method", "x-original-uri", "x-original-url",
                ]),
                prop_oneof![
                    Just("GET".to_owned()), Just("POST".to_owned()), Just("own".to_owned()),
                    "/[a-c]?", "http://(own|a)/[a-c]?", "[ -~]{0,8}",
                ],
            ),
            0..5,
        ),
    ) {
        let told: Vec<(&str, &str)> = said.iter().map(|(n, v)| (*n, v.trim())).collect();
        if let Ok(read) = read("GET", &below, &told) {
            let mut parts = read.splitn(3, ' ');
            let (method, host) = (parts.next().unwrap(), parts.next().unwrap());
            let target = parts.next().unwrap();
            for (name, value) in &told {
                match *name {
                    "x-forwarded-method" | "x-original-method" => prop_assert_eq!(*value, method),
                    "x-forwarded-uri" | "x-original-uri" => prop_assert_eq!(*value, target),
                    "x-forwarded-host" => prop_assert!(value.starts_with(host)),
                    _ => prop_assert!(value.ends_with(target) && value.contains(host)),
                }
            }
            prop_assert!(below.is_empty() || (method == "GET" && target == below));
        }
    }
}
