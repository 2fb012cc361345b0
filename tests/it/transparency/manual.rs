//! Which headers may differ, according to the manual?

/// Added to requests.
pub(super) const INTO_REQUESTS: &[&str] = &[
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

/// Removed from requests: they belong to one connection, or are answered by Sidegate.
pub(super) const FROM_REQUESTS: &[&str] = &[
    "connection",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
];

/// Added to answers that lack them.
pub(super) const INTO_ANSWERS: &[&str] = &["date"];

/// Removed from answers.
pub(super) const FROM_ANSWERS: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "trailer",
    "upgrade",
];

/// Rewritten for a body without a length.
pub(super) const ANEW: &[&str] = &["content-length", "transfer-encoding"];

/// Interim answers that are not forwarded.
pub(super) const INTERIM: &[&str] = &["100", "102", "103"];

/// Rewritten in answers with a session; tested in `headers/caching.rs`.
const ANEW_FOR_A_CALLER: &[&str] = &["cache-control"];

/// Removed from answers with a session.
const FROM_A_CALLERS: &[&str] = &[
    "cdn-cache-control",
    "surrogate-control",
    "edge-control",
    "x-accel-expires",
    "x-reverse-proxy-ttl",
];

/// Added to anonymous answers on an optional route.
const FOR_STRANGERS: &[&str] = &["vary"];

#[test]
fn the_manual_names_every_difference() {
    let manual = include_str!("../../../docs/headers.md");
    let (_, part) = manual
        .split_once("## What differs")
        .expect("the manual's part");
    let part = part.split("\n## ").next().unwrap_or_default();
    let rows: Vec<Vec<&str>> = part
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains('`'))
        .map(|line| line.split('`').skip(1).step_by(2).collect())
        .collect();
    let expected = [
        INTO_REQUESTS,
        FROM_REQUESTS,
        INTO_ANSWERS,
        FROM_ANSWERS,
        ANEW,
        INTERIM,
        ANEW_FOR_A_CALLER,
        FROM_A_CALLERS,
        FOR_STRANGERS,
    ];
    assert_eq!(rows, expected);
}
