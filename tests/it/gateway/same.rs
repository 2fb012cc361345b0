//! A check and the request itself get the same decision.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::original::{OriginalRequest, identity, seen, trusting};
use crate::support::harness::TestApp;

/// Any request of any caller: the decision of `/verify` is that of the proxy.
#[tokio::test]
async fn s6_a_check_and_the_request_itself_get_the_same_decision() {
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
        let held = OriginalRequest {
            method: method.to_owned(),
            host: host.to_owned(),
            target,
            credential: (!token.is_empty())
                .then(|| ("Authorization".to_owned(), format!("Bearer {token}"))),
        };
        agree(&app, &held).await;
    }
}

async fn agree(app: &TestApp, held: &OriginalRequest) {
    let direct = held.direct().send(app.address).await;
    let expected = match direct.status {
        status @ (200 | 401 | 403) => status,
        400 | 405 | 414 => 403,
        other => panic!("{held:?}: {other} {}", direct.text()),
    };
    for request in held.every_way() {
        if request.target != "/auth/verify" && expected == 403 && direct.status != 403 {
            // Such a request of Envoy may be refused before it is recognised as a check.
            let status = request.send(app.address).await.status;
            assert!(matches!(status, 400 | 403 | 405), "{held:?}: {status}");
            continue;
        }
        let check = request.send(app.address).await;
        let case = format!("{request:?}: {} but {}", check.text(), direct.text());
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
