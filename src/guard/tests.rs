use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE};

use super::*;
use crate::guard::settings::Preset;
use crate::model::revocation::Revocation;
use crate::model::session::{EndReason, Session};
use crate::model::user::{AccountVersion, PasswordHash, User, UserStatus, VerifiedAddresses};
use crate::policy::settings::{Rule, Settings as Policy, Storage};
use crate::rules::session::sample;
use crate::store::{
    AccountStore as _, Cap, Effect, Embedded, Faults, Scope, SessionStore as _, WhenFull,
};
use crate::telemetry::metrics::{Event, Events};
use crate::tokens::settings::{Algorithm, Settings as TokenSettings};
use crate::tokens::{Issuer, Keys};
use crate::types::login::LoginName;
use crate::types::path::Allowances;
use crate::types::random::SeededRandom;
use crate::types::role::Roles;
use crate::types::time::{Clock, ManualClock};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const TTL: Duration = Duration::from_secs(900);
const COOKIE_NAME: &str = "sidegate_access";

struct Gate {
    guard: Guard,
    issuer: Issuer,
    keys: Arc<Keys>,
    liveness: Arc<Liveness>,
    random: Arc<SeededRandom>,
    store: Arc<Embedded>,
    faults: Faults,
    events: Arc<Events>,
    runtime: tokio::runtime::Runtime,
    session: Session,
    _directory: tempfile::TempDir,
}

impl Gate {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = TokenSettings {
            issuer: "sidegate".to_owned(),
            audience: Vec::new(),
            algorithm: Algorithm::EdDSA,
            keys_dir: directory.path().to_owned(),
            secret: None,
            access_ttl: TTL,
            leeway: Duration::from_secs(5),
        };
        let random = Arc::new(SeededRandom::new(3));
        let keys = Arc::new(Keys::open(&settings, NOW, &*random).unwrap().0);
        let liveness = Arc::new(Liveness::new());
        let rules = Arc::new(rules(Access::User));
        let guard_settings = Settings {
            access_cookie: COOKIE_NAME.to_owned(),
            headers: Preset::Named("native".to_owned()),
            cache_bytes: 1 << 20,
        };
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(NOW));
        let (store, faults) = Embedded::memory(Arc::clone(&clock));
        let (store, events) = (Arc::new(store), Arc::new(Events::default()));
        let sights = FirstSights::new(Arc::clone(&store), clock, Arc::clone(&events), 1);
        let guard = Guard::new(
            &guard_settings,
            Arc::new(Verifier::new(Arc::clone(&keys), &settings)),
            Arc::clone(&liveness),
            Arc::new(sights),
            rules,
            &*random,
        );
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        Self {
            store,
            faults,
            events,
            runtime: runtime.enable_time().build().unwrap(),
            guard: guard.unwrap(),
            issuer: Issuer::new(Arc::clone(&keys), settings, random.clone()),
            keys,
            liveness,
            random,
            session: sample(NOW),
            _directory: directory,
        }
    }

    /// A token of a session that is in the store.
    fn token_of(&self, session: &Session, username: &str) -> String {
        let user = user_of(session, username);
        let cap = Cap {
            max: 100,
            when_full: WhenFull::EndOldest,
        };
        self.runtime.block_on(async {
            self.store.create_user(user.clone()).await.unwrap();
            let created = self.store.create(session.clone(), cap, None).await;
            created.unwrap();
        });
        self.unstored_token(session, &user)
    }

    fn unstored_token(&self, session: &Session, user: &User) -> String {
        let user = user.clone();
        let issued = self.issuer.issue(session, &user, NOW).unwrap();
        issued.0.expose().to_owned()
    }

    fn token(&self) -> String {
        self.token_of(&self.session, "ann")
    }

    fn judge_at(&self, path: &str, headers: &HeaderMap, now: Timestamp) -> Verdict {
        let none = Allowances::default();
        let path = CleanPath::parse(path, &none).unwrap();
        self.guard.judge(&Method::GET, headers, "h", &path, now)
    }

    fn decide(&self, verdict: Verdict) -> Result<Permit, Denial> {
        match verdict {
            Verdict::Allow(permit) => Ok(permit),
            Verdict::Deny(denial) => Err(denial),
            Verdict::Unseen(unseen) => self.runtime.block_on(self.guard.first_sight(unseen)),
        }
    }

    fn reads(&self) -> u64 {
        self.events.so_far(Event::FirstSightAlive)
    }

    /// Who passed, or the reason why not.
    fn ask(&self, path: &str, headers: &HeaderMap) -> Result<Option<String>, Reason> {
        match self.decide(self.judge_at(path, headers, NOW)) {
            Ok(permit) => Ok(permit.identity().map(|i| i.username.clone())),
            Err(denial) => Err(denial.reason()),
        }
    }

    fn revoke(&self, verdict: Revoked) {
        self.liveness.apply(&[Revocation {
            session: self.session.key.id,
            verdict,
            until: Timestamp::MAX,
        }]);
    }
}

fn user_of(session: &Session, username: &str) -> User {
    User {
        key: session.key.owner.clone(),
        username: Some(LoginName::username(username).unwrap()),
        email: None,
        mobile: None,
        verified: VerifiedAddresses::ALL,
        name: None,
        roles: Roles::new(["user".parse().unwrap()]).unwrap(),
        password: PasswordHash::new("x"),
        status: UserStatus::Enabled,
        created_at: NOW,
        updated_at: NOW,
        version: 1,
    }
}

fn rules(default: Access) -> RouteTable {
    let rule = |path: &str, access, roles: &[&str]| Rule {
        path: path.to_owned(),
        methods: Vec::new(),
        host: String::new(),
        access,
        roles: roles.iter().map(|r| r.parse().unwrap()).collect(),
        storage: Storage::Private,
    };
    let rules = vec![
        rule("/public/**", Access::Public, &[]),
        rule("/maybe/**", Access::Optional, &[]),
        rule("/admin/**", Access::User, &["admin", "root"]),
        rule("/staff/**", Access::User, &["user"]),
        rule("/never/**", Access::Deny, &[]),
    ];
    let storage = Storage::Private;
    RouteTable::new(Policy {
        rules,
        default,
        storage,
    })
    .unwrap()
}

fn bearer(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    headers
}

fn cookie(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, format!("{COOKIE_NAME}={token}").parse().unwrap());
    headers
}

#[test]
fn each_access_asks_for_what_it_says() {
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
fn a_token_is_taken_from_the_header_or_the_cookie_and_two_refuse() {
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
fn of_several_copies_of_the_cookie_the_one_that_verifies_counts() {
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
    let verdict = gate.judge_at("/a", &cookies(&["x", &token, "y"]), late);
    let Verdict::Deny(denial) = verdict else {
        panic!("it is over")
    };
    assert_eq!(denial.reason(), Reason::Expired, "a refresh helps");
    let bad = cookies(&["x", "y"]);
    assert_eq!(gate.ask("/a", &bad), Err(Reason::Invalid));
}

#[test]
fn a_bearer_token_has_to_be_good_and_of_the_cookies_session() {
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
fn an_ended_session_is_refused_by_the_next_judgement_cached_or_not() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    assert!(gate.ask("/a", &headers).is_ok());
    assert_eq!(gate.guard.cached().0, 1);
    gate.revoke(Revoked::Ended);
    for _ in 0..3 {
        assert_eq!(gate.ask("/a", &headers), Err(Reason::Ended));
    }
    // A token of the same session that this guard has never seen.
    let again = bearer(&gate.token());
    assert_eq!(gate.ask("/a", &again), Err(Reason::Ended));
    assert_eq!(gate.ask("/maybe/a", &again), Err(Reason::Ended));
    let other = bearer(&gate.token_of(&sample(NOW.plus(TTL)), "bob"));
    assert_eq!(gate.ask("/a", &other), Ok(Some("bob".to_owned())));
}

#[test]
fn an_end_from_another_thread_is_seen_by_the_next_judgement() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    assert!(gate.ask("/a", &headers).is_ok());
    std::thread::scope(|scope| {
        scope.spawn(|| gate.revoke(Revoked::Ended)).join().unwrap();
    });
    assert_eq!(gate.ask("/a", &headers), Err(Reason::Ended));
}

#[test]
fn changed_claims_ask_for_a_refresh_and_what_is_issued_afterwards_passes() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    assert!(gate.ask("/a", &headers).is_ok());
    let mut user = user_of(&gate.session, "ann");
    let changed = gate.store.update_user(user.clone(), Effect::StaleClaims);
    gate.runtime.block_on(changed).unwrap();
    gate.revoke(Revoked::Stale(AccountVersion(2)));
    assert_eq!(gate.ask("/a", &headers), Err(Reason::Stale));
    // Of the same generation: a lost reply is repeated, or a browser renewed on the way.
    user.version = 2;
    let refreshed = bearer(&gate.unstored_token(&gate.session, &user));
    for _ in 0..2 {
        assert_eq!(gate.ask("/a", &refreshed), Ok(Some("ann".to_owned())));
    }
}

#[test]
fn a_remembered_token_expires_and_is_forgotten() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    assert!(gate.ask("/a", &headers).is_ok());
    let late = NOW.plus(TTL).plus(Duration::from_secs(5));
    let reason = |verdict| gate.decide(verdict).unwrap_err().reason();
    assert_eq!(reason(gate.judge_at("/a", &headers, late)), Reason::Expired);
    assert_eq!(gate.guard.cached(), (0, 0));
    assert_eq!(reason(gate.judge_at("/a", &headers, late)), Reason::Expired);
    let early = NOW.minus(Duration::from_secs(60));
    assert!(gate.ask("/a", &headers).is_ok());
    assert_eq!(
        reason(gate.judge_at("/a", &headers, early)),
        Reason::Invalid
    );
}

#[test]
fn a_key_that_is_gone_is_not_believed_from_memory() {
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
fn a_guard_with_other_rules_knows_the_tokens_of_the_one_before() {
    let mut gate = Gate::new();
    let headers = bearer(&gate.token());
    assert!(gate.ask("/a", &headers).is_ok());
    assert_eq!(gate.guard.cached().0, 1);
    let before = gate.guard.with_rules(Arc::new(rules(Access::Deny)));
    let before = std::mem::replace(&mut gate.guard, before);
    assert_eq!(gate.guard.cached(), before.cached());
    assert_eq!(gate.ask("/a", &headers), Err(Reason::Forbidden));
    gate.guard = before;
    assert!(gate.ask("/a", &headers).is_ok());
}

#[test]
fn our_own_routes_learn_who_is_calling() {
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
fn a_token_is_compared_with_the_store_once_and_then_never_again() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    let unseen = gate.judge_at("/a", &headers, NOW);
    assert!(matches!(unseen, Verdict::Unseen(_)), "{unseen:?}");
    assert!(gate.decide(unseen).is_ok());
    // The store could not answer, and is not asked.
    gate.faults.fail_reads(true);
    for _ in 0..3 {
        let known = gate.judge_at("/a", &headers, NOW);
        assert!(matches!(known, Verdict::Allow(_)), "{known:?}");
    }
    assert_eq!(gate.reads(), 1);
}

#[test]
fn a_good_signature_over_a_session_that_is_not_in_the_store_opens_nothing() {
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
    assert_eq!(gate.guard.cached().0, 0);
}

#[test]
fn a_store_without_an_answer_lets_nobody_in_who_was_not_seen_before() {
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
fn a_session_that_ends_while_its_token_is_compared_does_not_pass() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    let Verdict::Unseen(unseen) = gate.judge_at("/a", &headers, NOW) else {
        panic!("nobody has seen it");
    };
    gate.revoke(Revoked::Ended);
    let denied = gate.runtime.block_on(gate.guard.first_sight(unseen));
    assert_eq!(denied.unwrap_err().reason(), Reason::Ended);
    assert_eq!(gate.guard.cached().0, 0);
}

#[test]
fn an_end_that_only_the_store_knows_is_seen_at_first_sight() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    let scope = Scope::One(gate.session.key.clone());
    let ended = gate.store.end(&scope, EndReason::LoggedOut);
    gate.runtime.block_on(ended).unwrap();
    assert_eq!(gate.ask("/a", &headers), Err(Reason::Ended));
}

#[test]
fn a_missing_role_is_told_only_of_a_session_that_lives() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    assert_eq!(gate.ask("/admin/a", &headers), Err(Reason::MissingRole));
}

#[test]
fn a_token_that_falls_out_of_the_cache_goes_on() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    assert!(gate.ask("/a", &headers).is_ok());
    *gate.guard.cache() = TokenCache::new(0, &*gate.random);
    for _ in 0..2 {
        assert!(gate.ask("/a", &headers).is_ok());
    }
    // What was compared for one worker holds for the others.
    assert_eq!(gate.reads(), 1);
}

#[test]
fn a_guard_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Guard>();
}
