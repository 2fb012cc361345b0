//! When is a cached token accepted, and when is the store read?

use super::*;

#[test]
fn a_cached_token_expires_and_is_removed() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    assert!(gate.ask("/a", &headers).is_ok());
    let late = NOW.plus(TTL).plus(Duration::from_secs(5));
    let reason = |decision| gate.decide(decision).unwrap_err().reason();
    assert_eq!(
        reason(gate.authorize_at("/a", &headers, late)),
        Reason::Expired
    );
    assert_eq!(gate.guard.cache_size(), (0, 0));
    assert_eq!(
        reason(gate.authorize_at("/a", &headers, late)),
        Reason::Expired
    );
    let early = NOW.minus(Duration::from_secs(60));
    assert!(gate.ask("/a", &headers).is_ok());
    assert_eq!(
        reason(gate.authorize_at("/a", &headers, early)),
        Reason::Invalid
    );
}

#[test]
fn cached_tokens_of_a_removed_key_are_refused() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    assert!(gate.ask("/a", &headers).is_ok());
    gate.keys
        .rotate(NOW, Duration::ZERO, &*gate.random)
        .unwrap();
    assert!(gate.ask("/a", &headers).is_ok());
    let retired = NOW.plus(Duration::from_secs(3600));
    gate.keys.reload(retired, &*gate.random).unwrap();
    assert_eq!(gate.ask("/a", &headers), Err(Reason::Invalid));
}

#[test]
fn a_guard_with_other_rules_keeps_the_token_cache() {
    let mut gate = Gate::new();
    let headers = bearer(&gate.token());
    assert!(gate.ask("/a", &headers).is_ok());
    assert_eq!(gate.guard.cache_size().0, 1);
    let before = gate.guard.with_rules(Arc::new(rules(Access::Deny)));
    let before = std::mem::replace(&mut gate.guard, before);
    assert_eq!(gate.guard.cache_size(), before.cache_size());
    assert_eq!(gate.ask("/a", &headers), Err(Reason::Forbidden));
    gate.guard = before;
    assert!(gate.ask("/a", &headers).is_ok());
}

#[test]
fn a_token_is_checked_against_the_store_once() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    let unseen = gate.authorize_at("/a", &headers, NOW);
    assert!(matches!(unseen, Decision::Unseen(_)), "{unseen:?}");
    assert!(gate.decide(unseen).is_ok());
    // The store could not answer, and is not asked.
    gate.faults.fail_reads(true);
    for _ in 0..3 {
        let known = gate.authorize_at("/a", &headers, NOW);
        assert!(matches!(known, Decision::Allow(_)), "{known:?}");
    }
    assert_eq!(gate.reads(), 1);
}

#[test]
fn a_valid_signature_for_a_session_missing_in_the_store_is_refused() {
    let gate = Gate::new();
    gate.token();
    let user = user_of(&gate.session, "ann");
    let never = gate.unstored_token(&sample(NOW.plus(TTL)), &user);
    let mut foreign = gate.session.clone();
    foreign.key.owner.tenant = "acme".parse().unwrap();
    let foreign = gate.unstored_token(&foreign, &user);
    for token in [never, foreign] {
        for path in ["/a", "/maybe/a", "/admin/a"] {
            assert_eq!(
                gate.ask(path, &bearer(&token)),
                Err(Reason::Ended),
                "{path}"
            );
        }
        assert_eq!(gate.ask("/public/a", &bearer(&token)), Ok(None));
    }
    assert_eq!(gate.guard.cache_size().0, 0);
}

#[test]
fn without_a_store_only_cached_tokens_pass() {
    let gate = Gate::new();
    let (seen, unseen) = (bearer(&gate.token()), bearer(&gate.token()));
    assert!(gate.ask("/a", &seen).is_ok());
    gate.faults.fail_reads(true);
    assert!(gate.ask("/a", &seen).is_ok());
    for path in ["/a", "/maybe/a", "/admin/a"] {
        assert_eq!(gate.ask(path, &unseen), Err(Reason::Unavailable), "{path}");
    }
    gate.faults.fail_reads(false);
    assert!(gate.ask("/a", &unseen).is_ok());
}

#[test]
fn an_end_known_only_to_the_store_is_found_at_the_first_use() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    let scope = Scope::One(gate.session.key.clone());
    let ended = gate.store.end(&scope, EndReason::LoggedOut);
    gate.runtime.block_on(ended).unwrap();
    assert_eq!(gate.ask("/a", &headers), Err(Reason::Ended));
}

#[test]
fn a_token_evicted_from_the_cache_still_passes() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    assert!(gate.ask("/a", &headers).is_ok());
    *gate.guard.cache() = TokenCache::new(0, &*gate.random);
    for _ in 0..2 {
        assert!(gate.ask("/a", &headers).is_ok());
    }
    // A comparison by one worker applies to the others.
    assert_eq!(gate.reads(), 1);
}
