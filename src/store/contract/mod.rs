//! What do the traits of a store mean? The answer as tests, run against every engine.
//!
//! Every engine passes every case. The naive store passes the sequential cases; it must fail where
//! callers race and in each case of the revocation feed that needs sessions only, or these cases would
//! prove nothing.
//!
//! The numbers C1 to C13 name the promises: exact rotation table, same successor on replay, one
//! winner, linearizable histories, the cap, ends with their log entry, the revocation feed (C8),
//! challenges, unique logins, dropped futures, tenants.

mod accounts;
mod bulk;
pub(super) mod feed;
mod histories;
mod mails;
mod others;
mod recorder;
mod sessions;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::model::revocation::{Revocation, RevocationEffect};
use crate::model::session::{Generation, Session, SessionKey};
use crate::model::user::{PasswordHash, User, UserKey, UserStatus, VerifiedAddresses};
use crate::rules::session::sample;
use crate::store::naive::{Delivery, Naive};
use crate::store::settings::{Engine, Settings};
use crate::store::testing;
use crate::store::{
    AnyStore, Cap, LoginKey, RevocationFeed, RotatePolicy, Rotation, Seen, SessionStore, WhenFull,
};
use crate::types::ids::{SessionId, TenantId, UserId};
use crate::types::login::LoginName;
use crate::types::random::SeededRandom;
use crate::types::role::Roles;
use crate::types::time::{Clock, ManualClock, Timestamp};

const GRACE: RotatePolicy = RotatePolicy {
    grace: Duration::from_secs(30),
    max_ahead: 8,
};
const STRICT: RotatePolicy = RotatePolicy {
    grace: Duration::ZERO,
    max_ahead: 8,
};
const CAP: Cap = Cap {
    max: 50,
    when_full: WhenFull::EndOldest,
};
const SEEN: Seen = Seen { address: None };
const DAY: Duration = Duration::from_secs(86_400);
pub(super) const REVOCATION_LIFE: Duration = Duration::from_secs(930);

/// A store, its clock, and the source of ids.
struct Subject<S> {
    store: Arc<S>,
    clock: Arc<ManualClock>,
    random: SeededRandom,
    /// How often a race is run.
    rounds: u32,
    /// How long to wait for an event that a correct feed delivers in any case.
    patience: Duration,
}

impl<S: SessionStore + RevocationFeed> Subject<S> {
    fn user(&self) -> UserKey {
        UserKey {
            tenant: TenantId::default(),
            user: UserId::generate(self.clock.now(), &self.random),
        }
    }

    /// A session of that user, not stored yet.
    fn draft(&self, owner: &UserKey) -> Session {
        let now = self.clock.now();
        let mut session = sample(now);
        session.key = SessionKey {
            owner: owner.clone(),
            id: SessionId::generate(now, &self.random),
        };
        session
    }

    /// A stored session of that user.
    async fn session(&self, owner: &UserKey) -> Session {
        let session = self.draft(owner);
        self.store.create(session.clone(), CAP, None).await.unwrap();
        session
    }

    async fn rotate(&self, key: &SessionKey, g: u32, policy: RotatePolicy) -> Rotation {
        let presented = Generation(g);
        self.store
            .rotate(key, presented, policy, SEEN)
            .await
            .unwrap()
    }

    /// A stored session at this generation.
    async fn session_at(&self, generation: u32) -> Session {
        let mut session = self.draft(&self.user());
        session.generation = Generation(generation);
        self.store.create(session.clone(), CAP, None).await.unwrap();
        session
    }

    async fn revocation_of(&self, id: SessionId) -> Option<RevocationEffect> {
        let log = self.store.revocations().await.unwrap().revocations;
        let mut found = log.iter().filter(|entry| entry.session == id);
        let entry = found.next().map(|entry| entry.effect);
        assert_eq!(found.next(), None, "one entry a session");
        entry
    }
}

pub(in crate::store) fn account(key: &UserKey, name: &str) -> User {
    User {
        key: key.clone(),
        username: Some(LoginName::username(name).unwrap()),
        email: None,
        mobile: None,
        verified: VerifiedAddresses::NONE,
        name: None,
        roles: Roles::default(),
        password: PasswordHash::new("$argon2id$"),
        status: UserStatus::Enabled,
        created_at: Timestamp::from_secs(1),
        updated_at: Timestamp::from_secs(1),
        version: 0,
    }
}

fn login(name: &str) -> LoginKey {
    LoginKey {
        tenant: TenantId::default(),
        login: LoginName::guess(name).unwrap(),
    }
}

fn sorted(mut log: Vec<Revocation>) -> Vec<SessionId> {
    log.sort_by_key(|entry| entry.session);
    log.iter().map(|entry| entry.session).collect()
}

/// Runs the same call in many tasks at once. Returns their answers.
async fn race<S, T, F>(subject: &Subject<S>, tasks: u32, call: impl Fn(Arc<S>, u32) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let mut running = JoinSet::new();
    for task in 0..tasks {
        running.spawn(call(Arc::clone(&subject.store), task));
    }
    running.join_all().await
}

fn settings(engine: Engine) -> Settings {
    Settings {
        engine,
        deadline: Duration::from_secs(20),
        revocation_life: REVOCATION_LIFE,
        audit_life: DAY * 90,
        lock_wait: Duration::ZERO,
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn subject<S>(store: S, clock: Arc<ManualClock>, rounds: u32) -> Subject<S> {
    Subject {
        store: Arc::new(store),
        clock,
        random: SeededRandom::new(42),
        rounds,
        patience: Duration::from_secs(30),
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_secs(1_000_000)))
}

fn in_memory(case: impl AsyncFnOnce(Subject<AnyStore>)) {
    let clock = clock();
    let (store, _) = testing::memory_with(&settings(Engine::Memory), clock.clone()).unwrap();
    block_on(case(subject(store, clock, 300)));
}

fn on_sled(case: impl AsyncFnOnce(Subject<AnyStore>)) {
    let directory = tempfile::tempdir().unwrap();
    let clock = clock();
    let engine = Engine::Sled {
        path: directory.path().to_owned(),
        cache: 4 << 20,
    };
    let store = AnyStore::open(&settings(engine), clock.clone()).unwrap();
    block_on(case(subject(store, clock, 60)));
}

fn on_naive(case: impl AsyncFnOnce(Subject<Naive>)) {
    on_naive_with(Delivery::Late, case);
}

fn on_naive_with(delivery: Delivery, case: impl AsyncFnOnce(Subject<Naive>)) {
    let clock = clock();
    let store = Naive::new(clock.clone(), delivery);
    let patience = Duration::from_millis(200);
    block_on(case(Subject {
        patience,
        ..subject(store, clock, 60)
    }));
}

macro_rules! every_engine {
    ($($module:ident::$case:ident;)*) => {
        mod memory {
            $(#[test] fn $case() { super::in_memory(super::$module::$case); })*
        }
        mod sled {
            $(#[test] fn $case() { super::on_sled(super::$module::$case); })*
        }
    };
}

macro_rules! every_engine_and_not_the_naive_store {
    ($($case:ident, $delivery:ident, $broken:literal;)*) => {
        mod memory_feed {
            $(#[test] fn $case() {
                super::in_memory(async |s| super::feed::$case(&s).await.unwrap());
            })*
        }
        mod sled_feed {
            $(#[test] fn $case() {
                super::on_sled(async |s| super::feed::$case(&s).await.unwrap());
            })*
        }
        mod naive_feed_fails {
            $(#[test] fn $case() {
                super::on_naive_with(super::Delivery::$delivery, async |s| {
                    let broken = super::feed::$case(&s).await.unwrap_err();
                    assert!(broken.contains($broken), "{broken}");
                });
            })*
        }
    };
}

every_engine_and_not_the_naive_store! {
    nothing_lies_between_the_snapshot_and_the_live_events, Early, "ends are missing";
    events_come_in_the_order_of_the_commits, Late, "came in the order";
    nothing_is_delivered_before_it_is_committed, Early, "is not in the log";
    a_revocation_is_delivered_before_its_write_is_acknowledged, Late, "was acknowledged first";
    a_gap_is_reported_and_followed_by_a_snapshot, Late, "no snapshot came";
    two_subscribers_get_the_same_events, Late, "the first got";
}

every_engine! {
    feed::a_session_turns_stale_before_it_ends;
    feed::the_end_of_all_sessions_is_one_event;
    feed::a_closed_store_ends_its_feed;
    sessions::c1_the_rotation_table_holds;
    sessions::c1_an_expired_session_is_expired_and_then_gone;
    sessions::c2_a_replay_shows_the_same_generation_and_writes_nothing;
    sessions::c6_the_cap_holds_and_each_evicted_session_is_logged_once;
    sessions::c6_a_full_user_is_refused_when_the_cap_says_so;
    sessions::c7_ends_are_logged_before_the_answer_and_counted_once;
    sessions::c12_a_dropped_call_is_applied_wholly_or_not_at_all;
    sessions::c13_equal_ids_of_two_tenants_never_meet;
    sessions::creating_the_same_session_again_gives_the_same_answer;
    sessions::an_ended_session_does_not_come_back;
    sessions::the_list_is_newest_first_and_complete;
    sessions::activity_shows_at_once_and_slides_the_idle_limit;
    sessions::an_operator_finds_and_pages_through_sessions;
    bulk::the_end_of_all_sessions_holds_at_once_and_for_every_way_to_ask;
    bulk::what_all_sessions_left_behind_is_removed_in_any_steps;
    bulk::an_interrupted_end_of_all_sessions_goes_on_where_it_stood;
    bulk::a_session_made_after_the_end_of_all_lives_also_when_the_clock_stands_still;
    accounts::c11_one_of_many_sign_ups_gets_the_login;
    accounts::c11_an_update_from_an_old_version_is_stale;
    accounts::a_changed_login_frees_the_old_one;
    accounts::a_log_in_under_way_cannot_overtake_a_change;
    accounts::an_update_has_its_effect_on_sessions_in_the_same_step;
    accounts::a_session_is_read_with_its_account_or_not_at_all;
    accounts::a_deleted_account_takes_its_logins_and_sessions_along;
    accounts::accounts_are_paged_within_their_tenant;
    others::c10_a_challenge_is_compared_so_often_and_passed_once;
    others::a_challenge_ends_with_its_time_and_is_bounded;
    others::parallel_failures_are_counted_exactly;
    others::an_account_has_one_counter_over_all_of_its_names;
    others::a_login_or_an_unlock_forgets_failures;
    others::a_device_is_known_after_a_login_and_counts_its_own_failures;
    others::the_parameter_sets_of_hashes_are_counted;
    others::the_sweep_removes_what_is_over_and_nothing_younger;
    others::the_audit_log_is_newest_first_for_all_or_one;
    others::the_store_counts_what_it_holds;
    mails::a_mail_is_stored_with_its_act_or_not_at_all;
    mails::a_mail_is_due_at_its_time_and_removed_once;
    mails::the_mails_about_an_account_are_removed_with_it;
    histories::c3_one_of_sixteen_callers_wins;
    histories::c4_random_histories_are_linearizable;
}

#[test]
fn a_full_queue_of_mails_drops_the_mail_and_not_the_act() {
    // On sled ten thousand commits would take long.
    in_memory(mails::a_full_queue_drops_the_mail_and_not_the_act);
}

#[test]
fn c5_the_naive_store_passes_sequential_tests() {
    on_naive(sessions::c1_the_rotation_table_holds);
    on_naive(sessions::c1_an_expired_session_is_expired_and_then_gone);
    on_naive(sessions::c2_a_replay_shows_the_same_generation_and_writes_nothing);
    on_naive(sessions::c7_ends_are_logged_before_the_answer_and_counted_once);
}

#[test]
fn c5_the_naive_store_fails_nine_races_of_ten() {
    on_naive(async |subject| {
        let bad = histories::races_without_one_winner(&subject).await;
        assert!(bad * 10 >= subject.rounds * 9, "only {bad} were bad");
    });
}

#[test]
fn c5_the_naive_store_has_histories_that_no_order_explains() {
    on_naive(async |subject| {
        let bad = histories::impossible_histories(&subject, 7).await;
        assert!(!bad.is_empty());
    });
}
