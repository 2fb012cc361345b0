//! The real service, guard and store on disk, with a clock and random numbers of the test.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sidegate::audit::AuditLog;
use sidegate::guard::settings::{Preset, Settings as GuardSettings};
use sidegate::guard::{Guard, Identity};
use sidegate::limits::{self, Limits, Quota};
use sidegate::policy::RouteTable;
use sidegate::policy::settings::{Access, Settings as PolicySettings};
use sidegate::rules::names::Reserved;
use sidegate::rules::session::Limits as Lives;
use sidegate::service::audit::Audit;
use sidegate::service::first_sight::FirstSights;
use sidegate::service::liveness::Liveness;
use sidegate::service::password::PasswordPool;
use sidegate::service::streams::Streams;
use sidegate::service::{Parts, Service, Settings, SignupMode};
use sidegate::store::backup::{
    self, Descent, Header, KeyNames, Sessions, Target, Trailer, Writer, split_page,
};
use sidegate::store::settings::{Engine, Settings as StoreSettings};
use sidegate::store::testing;
use sidegate::store::{Cap, Lifecycle as _, LockPolicy, RotatePolicy, WhenFull};
use sidegate::telemetry::metrics::Events;
use sidegate::tokens::Verifier;
use sidegate::tokens::issue::Issuer;
use sidegate::tokens::keys::Keys;
use sidegate::tokens::settings::{Algorithm, Settings as TokenSettings};
use sidegate::types::login::LoginKind;
use sidegate::types::random::{Random, SeededRandom};
use sidegate::types::role::Roles;
use sidegate::types::time::{Change, Clock, ManualReadings, TimeLine, Timestamp};

use super::model;

use crate::support::wait::released;

const ACCESS_TTL: Duration = Duration::from_secs(900);

/// The start time of every history.
const BIRTH: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Keys are made once for all histories: making them is slow, and they do not affect the result.
pub(super) fn keys(directory: &Path) -> Arc<Keys> {
    let settings = tokens(directory);
    let (keys, _) = Keys::open(&settings, BIRTH, &SeededRandom::new(0)).unwrap();
    Arc::new(keys)
}

/// A backup in memory.
pub(super) struct Backup {
    bytes: Vec<u8>,
    trailer: Trailer,
    descent: Descent,
}

/// The system under test.
pub(super) struct World {
    /// The clocks of the machine.
    pub(super) readings: ManualReadings,
    /// The time of the process.
    pub(super) clock: Arc<TimeLine<ManualReadings>>,
    random: Arc<SeededRandom>,
    directory: tempfile::TempDir,
    keys: Arc<Keys>,
    pub(super) service: Service,
    guard: Guard,
}

impl World {
    pub(super) async fn new(seed: u64, keys: &Arc<Keys>) -> Self {
        let readings = ManualReadings::new(BIRTH);
        let clock = Arc::new(TimeLine::new(readings.clone()));
        let random = Arc::new(SeededRandom::new(seed));
        let directory = tempfile::tempdir().unwrap();
        let (service, guard) = build(&clock, &random, directory.path(), keys).await;
        Self {
            readings,
            clock,
            random,
            directory,
            keys: Arc::clone(keys),
            service,
            guard,
        }
    }

    /// The process exits and another one starts on the same directory.
    pub(super) async fn restart(&mut self) {
        // A serving process checks its store every two seconds.
        self.service.store().check().await.unwrap();
        self.service.store().close().await.unwrap();
        released(&self.directory.path().join("store")).await;
        self.clock = Arc::new(TimeLine::new(self.readings.clone()));
        let parts = build(&self.clock, &self.random, self.directory.path(), &self.keys).await;
        (self.service, self.guard) = parts;
    }

    /// A backup of the current store.
    pub(super) async fn save(&self) -> Backup {
        let begun = self.service.backup_begin().await.unwrap();
        let header = Header {
            format: Header::FORMAT,
            program: String::new(),
            created_at: begun.at,
            store: Some(begun.store.to_string()),
            commit: begun.commit,
            keys: KeyNames::default(),
            with_keys: false,
        };
        let mut writer = Writer::begin(Vec::new(), &header, None).unwrap();
        loop {
            let page = self.service.backup_next(begun.id).await.unwrap();
            for (key, value) in split_page(&page.bytes).unwrap() {
                writer.record(key, value).unwrap();
            }
            if page.is_last {
                break;
            }
        }
        let (bytes, trailer) = writer.finish().unwrap();
        Backup {
            bytes,
            trailer,
            descent: Descent {
                store: begun.store,
                after: begun.commit,
            },
        }
    }

    /// The process exits, and another one starts on a restored store.
    pub(super) async fn restore(&mut self, backup: &Backup, sessions: Sessions) {
        let place = self.directory.path().join("store");
        self.service.store().close().await.unwrap();
        released(&place).await;
        self.clock = Arc::new(TimeLine::new(self.readings.clone()));
        let clock: Arc<dyn Clock> = self.clock.clone();
        let (bytes, trailer) = (backup.bytes.as_slice(), &backup.trailer);
        let target = Target::take(&place).unwrap();
        let mut silent = |_| {};
        let built = backup::restore(
            bytes,
            trailer,
            &target,
            backup.descent,
            sessions,
            &clock,
            &mut silent,
        );
        let built = built.await.unwrap();
        target.place(&built, clock.now()).unwrap();
        drop((built, target));
        released(&place).await;
        self.clock = Arc::new(TimeLine::new(self.readings.clone()));
        let parts = build(&self.clock, &self.random, self.directory.path(), &self.keys).await;
        (self.service, self.guard) = parts;
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Advances both clocks, which the process compares. Returns whether time caught up with the wall
    /// clock; otherwise it advanced with the monotonic clock.
    pub(super) fn pass(&self, seconds: u64) -> bool {
        let before = self.now();
        // The process compares them each second; of a long time the last minute is enough.
        let last = seconds.min(60);
        self.readings.advance(Duration::from_secs(seconds - last));
        let mut changes = self.clock.look().to_vec();
        for _ in 0..last {
            self.readings.advance(Duration::from_secs(1));
            changes.extend(self.clock.look());
        }
        let mut found = changes.into_iter().flatten();
        let adopted = found.any(|change| matches!(change, Change::Adopted { .. }));
        let (ran, passed) = (self.now().since(before), Duration::from_secs(seconds));
        if !adopted {
            // Slewing is half a per cent.
            let off = ran.abs_diff(passed);
            assert!(off <= passed / 200, "{ran:?} in {passed:?}");
        }
        adopted
    }

    /// Whether a request with this access token passes the guard.
    pub(super) async fn passes(&self, token: &str) -> bool {
        self.caller(token).await.is_some()
    }

    /// The identity with which a request with this access token passes the guard.
    pub(super) async fn caller(&self, token: &str) -> Option<Arc<Identity>> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        self.guard
            .identify(&headers, self.now())
            .await
            .ok()
            .flatten()
    }
}

async fn build(
    clock: &Arc<TimeLine<ManualReadings>>,
    random: &Arc<SeededRandom>,
    directory: &Path,
    keys: &Arc<Keys>,
) -> (Service, Guard) {
    let clock: Arc<dyn Clock> = Arc::<TimeLine<ManualReadings>>::clone(clock);
    let random: Arc<dyn Random> = Arc::<SeededRandom>::clone(random);
    let tokens = tokens(directory);
    // Durability has its own test, with power cuts; here it would only take time.
    let store = testing::open_without_fsync(&store(directory), Arc::clone(&clock)).unwrap();
    let liveness = Arc::new(Liveness::new());
    let audit = Audit::new(AuditLog::in_memory(), false);
    let cheap = sidegate::crypto::settings::Settings {
        memory_kib: 8,
        iterations: 1,
        parallelism: 1,
        max_concurrent: 1,
    };
    let (store, events) = (Arc::new(store), Arc::new(Events::default()));
    let first_sights = Arc::new(FirstSights::new(
        Arc::clone(&store),
        Arc::clone(&clock),
        Arc::clone(&events),
        settings().rotation.max_ahead,
    ));
    let service = Service::new(Parts {
        store,
        passwords: Arc::new(PasswordPool::start(cheap, Arc::clone(&random)).unwrap()),
        decoy_key: Arc::default(),
        issuer: Arc::new(Issuer::new(
            Arc::clone(keys),
            tokens.clone(),
            Arc::clone(&random),
        )),
        keys: Arc::clone(keys),
        streams: Arc::new(Streams::new(Arc::clone(&liveness))),
        liveness: Arc::clone(&liveness),
        limits: Arc::new(Limits::new(&limits(), &clock)),
        audit: Arc::new(audit),
        first_sights: Arc::clone(&first_sights),
        renewals: Arc::default(),
        events,
        places: Arc::default(),
        settings: settings(),
        clock,
        random: Arc::clone(&random),
    });
    service.follow_revocations().await.unwrap();
    let rules = PolicySettings {
        rules: Vec::new(),
        default: Access::User,
        storage: sidegate::policy::settings::Storage::Private,
    };
    let guard = Guard::new(
        &GuardSettings {
            access_cookie: "sidegate_access".to_owned(),
            headers: Preset::Named("native".to_owned()),
            assertion: None,
            cache_bytes: 1 << 20,
        },
        Arc::new(Verifier::new(Arc::clone(keys), &tokens)),
        liveness,
        first_sights,
        Arc::new(RouteTable::new(rules).unwrap()),
        &*random,
    );
    (service, guard.unwrap())
}

fn tokens(directory: &Path) -> TokenSettings {
    TokenSettings {
        issuer: "simulation".to_owned(),
        audience: Vec::new(),
        algorithm: Algorithm::EdDSA,
        keys_dir: directory.join("keys"),
        secret: None,
        access_ttl: ACCESS_TTL,
        leeway: model::LEEWAY,
    }
}

fn store(directory: &Path) -> StoreSettings {
    StoreSettings {
        engine: Engine::Sled {
            path: directory.join("store"),
            cache: 1 << 20,
        },
        deadline: Duration::from_secs(30),
        revocation_life: ACCESS_TTL + Duration::from_secs(30),
        audit_life: Duration::from_secs(86_400),
        lock_wait: Duration::ZERO,
    }
}

fn settings() -> Settings {
    Settings {
        signup: SignupMode::Open,
        reserved: Reserved::default(),
        signup_roles: Roles::default(),
        password_min_chars: 8,
        identifiers: vec![LoginKind::Username],
        lock: LockPolicy {
            max_failures: model::MAX_FAILURES,
            lock_for: model::LOCK,
        },
        sessions: Lives {
            lifetime: model::LIFETIME,
            idle: model::IDLE,
            remembered: model::REMEMBERED,
        },
        cap: Cap {
            max: u32::try_from(model::CAP).unwrap(),
            when_full: WhenFull::EndOldest,
        },
        rotation: RotatePolicy {
            grace: model::GRACE,
            max_ahead: 0,
        },
        mail: None,
        access_ttl: ACCESS_TTL,
    }
}

/// So large that it never limits anything.
fn limits() -> limits::Settings {
    let much = Quota {
        count: 1_000_000.try_into().unwrap(),
        period: Duration::from_secs(1),
    };
    limits::Settings {
        login: much,
        signup: much,
        refresh: much,
        lists: much,
    }
}
