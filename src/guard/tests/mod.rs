//! The decision about a request, for every kind of rule and credential.

mod assertion;
mod cache;
mod credentials;

use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE};

use super::*;
use crate::guard::settings::Preset;
use crate::model::revocation::Revocation;
use crate::model::session::{EndReason, Session};
use crate::model::user::{AccountVersion, PasswordHash, User, UserStatus, VerifiedAddresses};
use crate::policy::settings::{Rule, Settings as Policy, Storage};
use crate::rules::session::sample;
use crate::store::testing::{self, Faults};
use crate::store::{AccountStore as _, AnyStore, Cap, Effect, Scope, SessionStore as _, WhenFull};
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
    store: Arc<AnyStore>,
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
        liveness.set_complete(true);
        let rules = Arc::new(rules(Access::User));
        let guard_settings = Settings {
            access_cookie: COOKIE_NAME.to_owned(),
            headers: Preset::Named("native".to_owned()),
            assertion: None,
            cache_bytes: 1 << 20,
        };
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(NOW));
        let (store, faults) = testing::memory(Arc::clone(&clock));
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

    fn authorize_at(&self, path: &str, headers: &HeaderMap, now: Timestamp) -> Decision {
        let none = Allowances::default();
        let path = CleanPath::parse(path, &none).unwrap();
        self.guard.authorize(&Method::GET, headers, "h", &path, now)
    }

    fn decide(&self, decision: Decision) -> Result<Permit, Denial> {
        match decision {
            Decision::Allow(permit) => Ok(permit),
            Decision::Deny(denial) => Err(denial),
            Decision::Unseen(unseen) => self.runtime.block_on(self.guard.first_sight(unseen)),
        }
    }

    fn reads(&self) -> u64 {
        self.events.so_far(Event::FirstSightAlive)
    }

    /// The user that passed, or the reason of the denial.
    fn ask(&self, path: &str, headers: &HeaderMap) -> Result<Option<String>, Reason> {
        match self.decide(self.authorize_at(path, headers, NOW)) {
            Ok(permit) => Ok(permit.identity().map(|i| i.username.clone())),
            Err(denial) => Err(denial.reason()),
        }
    }

    fn revoke(&self, effect: Revoked) {
        self.liveness.apply(&[Revocation {
            session: self.session.key.id,
            effect,
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
fn while_revocations_may_be_missing_no_token_is_accepted_also_a_known_one() {
    let gate = Gate::new();
    let token = bearer(&gate.token());
    let ann = Ok(Some("ann".to_owned()));
    assert_eq!(gate.ask("/a", &token), ann);
    gate.liveness.set_complete(false);
    assert_eq!(gate.ask("/a", &token), Err(Reason::Unavailable));
    assert_eq!(gate.ask("/public/a", &token), Ok(None));
    gate.liveness.set_complete(true);
    assert_eq!(gate.ask("/a", &token), ann);
}

#[test]
fn an_ended_session_is_refused_by_the_next_request_cached_or_not() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    assert!(gate.ask("/a", &headers).is_ok());
    assert_eq!(gate.guard.cache_size().0, 1);
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
fn an_end_from_another_thread_applies_to_the_next_request() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    assert!(gate.ask("/a", &headers).is_ok());
    std::thread::scope(|scope| {
        scope.spawn(|| gate.revoke(Revoked::Ended)).join().unwrap();
    });
    assert_eq!(gate.ask("/a", &headers), Err(Reason::Ended));
}

#[test]
fn changed_claims_require_a_refresh_and_later_tokens_pass() {
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
fn a_session_that_ends_during_the_check_of_its_token_is_refused() {
    let gate = Gate::new();
    let headers = bearer(&gate.token());
    let Decision::Unseen(unseen) = gate.authorize_at("/a", &headers, NOW) else {
        panic!("nobody has seen it");
    };
    gate.revoke(Revoked::Ended);
    let denied = gate.runtime.block_on(gate.guard.first_sight(unseen));
    assert_eq!(denied.unwrap_err().reason(), Reason::Ended);
    assert_eq!(gate.guard.cache_size().0, 0);
}

#[test]
fn a_guard_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Guard>();
}
