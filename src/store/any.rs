//! Which type does the service use for its store, whatever the engine? [`AnyStore`].
//!
//! A call is a `match` over the engines and a static call: no boxed future, no `dyn`. To add an
//! engine, add a variant to [`AnyStore`], one line to the macro `on_engine`, and one arm each to
//! [`AnyStore::open`] and [`AnyStore::open_tied`].

use std::sync::Arc;

use crate::model::audit::AuditRecord;
use crate::model::lockout::Standing;
use crate::model::revocation::Revocation;
use crate::model::session::{EndReason, Generation, Session, SessionKey};
use crate::model::user::{HashCosts, User, UserKey};
use crate::store::embedded::Embedded;
use crate::store::identity::Ties;
use crate::store::settings::{Engine, Settings};
use crate::store::{
    AccountStore, Attempt, AuditStore, BackupStore, BulkStore, Cap, Challenge, ChallengeId,
    ChallengeStore, Created, DueMails, Effect, EndAll, Failed, Freshness, Lifecycle, LockPolicy,
    LockoutStore, LoginKey, LoginProof, MailStore, ProofHash, Queued, QueuedMail, RevocationFeed,
    RevocationSnapshot, RevocationSubscriber, RotatePolicy, Rotation, Route, Scope, Seen,
    SessionStore, SnapshotPage, SnapshotStart, Stats, StoreError, Target, UserCreated, UserUpdated,
};
use crate::types::ids::{DeviceId, SessionId, TenantId, UserId};
use crate::types::time::{Clock, Timestamp};

/// A store of any engine.
#[derive(Debug)]
pub enum AnyStore {
    /// In memory or in sled, inside the process.
    Embedded(Embedded),
}

/// Evaluates an expression on the engine of a store.
macro_rules! on_engine {
    ($store:expr, $engine:ident => $call:expr) => {
        match $store {
            AnyStore::Embedded($engine) => $call,
        }
    };
}
pub(in crate::store) use on_engine;

/// Implements a trait by a call of the same method on the engine.
macro_rules! forward {
    ($trait:ident { $($rest:tt)* }) => {
        impl $trait for AnyStore {
            forward! { @methods $($rest)* }
        }
    };
    (@methods) => {};
    (@methods async $name:ident($($arg:ident: $type:ty),*) -> $output:ty; $($rest:tt)*) => {
        async fn $name(&self, $($arg: $type),*) -> Result<$output, StoreError> {
            on_engine!(self, engine => engine.$name($($arg),*).await)
        }
        forward! { @methods $($rest)* }
    };
    (@methods now $name:ident() -> $output:ty; $($rest:tt)*) => {
        fn $name(&self) -> $output {
            on_engine!(self, engine => engine.$name())
        }
        forward! { @methods $($rest)* }
    };
}

impl AnyStore {
    /// Opens the configured engine without keys that belong to it, and creates the store if there is
    /// none. See [`open_tied`](Self::open_tied).
    pub fn open(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        match settings.engine {
            Engine::Memory | Engine::Sled { .. } => {
                Embedded::open(settings, clock).map(Self::Embedded)
            }
        }
    }

    /// Opens the configured engine. Blocks, because an engine with files reads every record.
    ///
    /// # Errors
    ///
    /// - [`StoreError::Damaged`]: the store does not hold what was acknowledged.
    /// - [`StoreError::Config`]: the place cannot be used as it is, and an operator must decide.
    /// - [`StoreError::Unavailable`]: another attempt may succeed, as on a full disk.
    ///
    /// The text names the next step.
    pub fn open_tied(
        settings: &Settings,
        ties: &Ties,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        match settings.engine {
            Engine::Memory | Engine::Sled { .. } => {
                Embedded::open_tied(settings, ties, clock).map(Self::Embedded)
            }
        }
    }
}

forward! { SessionStore {
    async create(session: Session, cap: Cap, proof: Option<LoginProof>) -> Created;
    async rotate(key: &SessionKey, presented: Generation, policy: RotatePolicy, seen: Seen) -> Rotation;
    async session(key: &SessionKey) -> Option<Session>;
    async session_by_route(route: Route, id: SessionId) -> Option<Session>;
    async sessions(user: &UserKey) -> Vec<Session>;
    async touch(key: &SessionKey, seen: Seen) -> ();
    async end(scope: &Scope, why: EndReason) -> Vec<Revocation>;
    async find_session(id: SessionId) -> Option<SessionKey>;
    async all_sessions(after: Option<SessionKey>, limit: usize) -> Vec<Session>;
} }

forward! { BulkStore {
    async end_all(why: EndReason) -> EndAll;
    async clear_ended(limit: usize) -> Option<EndAll>;
} }

forward! { RevocationFeed {
    async subscribe(subscriber: Arc<dyn RevocationSubscriber>) -> ();
    async revocations() -> RevocationSnapshot;
    now freshness() -> Freshness;
} }

forward! { AccountStore {
    async create_user(user: User) -> UserCreated;
    async user_by_login(login: &LoginKey) -> Option<User>;
    async user(key: &UserKey) -> Option<User>;
    async session_with_user(key: &SessionKey) -> Option<(Session, User)>;
    async update_user(user: User, effect: Effect) -> UserUpdated;
    async delete_user(key: &UserKey) -> Option<Vec<Revocation>>;
    now hash_costs() -> Arc<HashCosts>;
    async decoy_key(fresh: [u8; 32]) -> [u8; 32];
    async users(tenant: &TenantId, after: Option<UserId>, limit: usize) -> Vec<User>;
} }

forward! { LockoutStore {
    async standing(target: &Target, device: Option<DeviceId>) -> Standing;
    async count_failure(target: &Target, device: Option<DeviceId>, policy: LockPolicy) -> Failed;
    async unlock(target: &Target) -> bool;
} }

forward! { ChallengeStore {
    async put_challenge(challenge: Challenge) -> ();
    async attempt(id: ChallengeId, proof: ProofHash) -> Attempt;
} }

forward! { MailStore {
    async update_user_with_mail(user: User, effect: Effect, mail: QueuedMail) -> (UserUpdated, Queued);
    async due_mails(limit: usize) -> DueMails;
    async postpone_mail(mail: &QueuedMail, due_at: Timestamp) -> bool;
    async remove_mail(mail: &QueuedMail) -> bool;
} }

forward! { BackupStore {
    async snapshot_begin() -> SnapshotStart;
    async snapshot_page(id: u64) -> SnapshotPage;
    async snapshot_end(id: u64) -> ();
} }

forward! { AuditStore {
    async old_audit(limit: usize) -> Vec<(u64, AuditRecord)>;
    async audit(user: Option<&UserKey>, limit: usize) -> Vec<AuditRecord>;
    async forget_audit(places: Vec<(Timestamp, u64)>) -> ();
} }

forward! { Lifecycle {
    async sweep(limit: usize) -> usize;
    async check() -> ();
    now is_lost() -> bool;
    now stats() -> Stats;
    async close() -> ();
} }
