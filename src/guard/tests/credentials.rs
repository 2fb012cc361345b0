//! Which credential of a request decides, and for which access level?

use super::*;

#[test]
fn each_access_level_requires_its_credentials() {
    let gate = Gate::new();
    let (none, good, bad) = (HeaderMap::new(), bearer(&gate.token()), bearer("x.y.z"));
    let ann = Ok(Some("ann".to_owned()));
    // path, without a token, with a good one, with a bad one
    let table = [
        ("/public/a", Ok(None), Ok(None), Ok(None)),
        ("/maybe/a", Ok(None), ann.clone(), Err(Reason::Invalid)),
        (
            "/a",
            Err(Reason::Missing),
            ann.clone(),
            Err(Reason::Invalid),
        ),
        ("/staff/a", Err(Reason::Missing), ann, Err(Reason::Invalid)),
        (
            "/admin/a",
            Err(Reason::Missing),
            Err(Reason::MissingRole),
            Err(Reason::Invalid),
        ),
        (
            "/never/a",
            Err(Reason::Forbidden),
            Err(Reason::Forbidden),
            Err(Reason::Forbidden),
        ),
    ];
    for (path, without, with_good, with_bad) in table {
        assert_eq!(gate.ask(path, &none), without, "{path}");
        for _ in 0..2 {
            assert_eq!(gate.ask(path, &good), with_good, "{path}");
        }
        assert_eq!(gate.ask(path, &bad), with_bad, "{path}");
    }
}

#[test]
fn a_token_is_read_from_the_header_or_the_cookie_and_two_are_refused() {
    let gate = Gate::new();
    let other = sample(NOW.plus(Duration::from_secs(1)));
    let (token, other) = (gate.token(), gate.token_of(&other, "bob"));
    assert_eq!(gate.ask("/a", &cookie(&token)), Ok(Some("ann".to_owned())));
    let mut both = bearer(&token);
    both.extend(cookie(&token));
    assert_eq!(gate.ask("/a", &both), Ok(Some("ann".to_owned())));
    let mut differ = bearer(&token);
    differ.extend(cookie(&other));
    assert_eq!(gate.ask("/a", &differ), Err(Reason::TwoCredentials));
    assert_eq!(gate.ask("/public/a", &differ), Ok(None));
    let mut basic = HeaderMap::new();
    basic.insert(AUTHORIZATION, "Basic YTpi".parse().unwrap());
    assert_eq!(gate.ask("/a", &basic), Err(Reason::Missing));
}

#[test]
fn of_several_copies_of_the_cookie_the_one_that_verifies_is_used() {
    let gate = Gate::new();
    let other = sample(NOW.plus(Duration::from_secs(1)));
    let (token, other) = (gate.token(), gate.token_of(&other, "bob"));
    let again = gate.token();
    let cookies = |values: &[&str]| {
        let pairs: Vec<_> = values
            .iter()
            .map(|v| format!("{COOKIE_NAME}={v}"))
            .collect();
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, pairs.join("; ").parse().unwrap());
        headers
    };
    let ann = Ok(Some("ann".to_owned()));
    for values in [
        &["x", &token][..],
        &[&token, "x"],
        &["", &token],
        &[&token, &again],
        &["x", "y", "z", &token],
    ] {
        for path in ["/a", "/maybe/a", "/staff/a"] {
            assert_eq!(gate.ask(path, &cookies(values)), ann, "{values:?}");
        }
    }
    let two = cookies(&[&token, "x", &other]);
    assert_eq!(gate.ask("/a", &two), Err(Reason::TwoCredentials));
    let everybody = gate.runtime.block_on(gate.guard.everybody(&two, NOW));
    assert_eq!(everybody.map(|all| all.len()), Ok(2));
    let late = NOW.plus(TTL).plus(Duration::from_secs(5));
    let decision = gate.authorize_at("/a", &cookies(&["x", &token, "y"]), late);
    let Decision::Deny(denial) = decision else {
        panic!("it is over")
    };
    assert_eq!(denial.reason(), Reason::Expired, "a refresh helps");
    let bad = cookies(&["x", "y"]);
    assert_eq!(gate.ask("/a", &bad), Err(Reason::Invalid));
}

#[test]
fn a_bearer_token_must_be_valid_and_match_the_session_of_the_cookie() {
    let gate = Gate::new();
    let (token, again) = (gate.token(), gate.token());
    let mut both = bearer(&token);
    both.extend(cookie(&again));
    assert_eq!(gate.ask("/a", &both), Ok(Some("ann".to_owned())));
    let mut beside = bearer(&token);
    beside.extend(cookie("x"));
    assert_eq!(gate.ask("/a", &beside), Ok(Some("ann".to_owned())));
    let mut bad = bearer("x.y.z");
    bad.extend(cookie(&token));
    assert_eq!(gate.ask("/a", &bad), Err(Reason::Invalid));
}

#[test]
fn the_auth_routes_receive_the_identity() {
    let gate = Gate::new();
    let identify = |headers: &HeaderMap| gate.runtime.block_on(gate.guard.identify(headers, NOW));
    assert!(identify(&HeaderMap::new()).unwrap().is_none());
    let found = identify(&cookie(&gate.token())).unwrap();
    let identity = found.unwrap();
    assert_eq!(identity.session, gate.session.key);
    assert_eq!(identity.expires_at, NOW.plus(TTL));
    assert_eq!(identity.method, "password");
    let bad = identify(&bearer("x")).unwrap_err();
    assert_eq!((bad.reason(), bad.detail()), (Reason::Invalid, "malformed"));
}

#[test]
fn s14_two_callers_are_never_mixed_up() {
    let gate = Gate::new();
    let names: Vec<_> = (0..40).map(|n| format!("user{n}")).collect();
    let tokens: Vec<_> = names
        .iter()
        .zip(0..)
        .map(|(name, n)| {
            let mut session = sample(NOW.plus(Duration::from_secs(n)));
            session.created_at = NOW;
            bearer(&gate.token_of(&session, name))
        })
        .collect();
    for _ in 0..3 {
        for (name, headers) in names.iter().zip(&tokens) {
            assert_eq!(gate.ask("/a", headers), Ok(Some(name.clone())));
        }
    }
}

#[test]
fn a_missing_role_is_reported_only_for_a_live_session() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    assert_eq!(gate.ask("/admin/a", &headers), Err(Reason::MissingRole));
}
