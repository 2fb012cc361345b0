//! The store: what is remembered, and the promises every engine keeps.
//!
//! The traits are cut like transactions, not like tables: each method is one atomic step with one
//! outcome, so that no caller ever reads, thinks and writes back. `contract` is their meaning in
//! executable form; every engine passes it, and a deliberately naive one must fail it.
//!
//! Promises that hold for every method:
//!
//! 1. Time is the store's. Callers never compare their own clock with a stored moment.
//! 2. Operations on one user are linearizable; nothing is promised across users.
//! 3. An answer means durable: what was acknowledged survives `kill -9` and, on the sled engine, a
//!    power cut.
//! 4. Absence is an `Option` or a variant, never an error. A record that does not decode is
//!    [`StoreError::Corrupt`], never "absent".
//! 5. A dropped future leaves the operation either wholly applied or not at all.
//! 6. Sizes are bounded: a record is at most [`MAX_RECORD`] bytes.
//! 7. No method walks all keys, save those that list for an operator or sweep, which are paged.
//! 8. Every wait has a deadline; a store that cannot answer says so instead of hanging.

pub mod backup;
pub mod error;
pub mod identity;
pub mod salvage;
pub mod settings;

mod codec;
pub(crate) mod embedded;
mod memory;
mod sled;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod naive;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::crypto::digest::sha256;
use crate::model::audit::AuditRecord;
use crate::model::lockout::{Lockout, Standing};
use crate::model::revocation::Revocation;
use crate::model::session::{EndReason, Generation, Session, SessionKey};
use crate::model::user::{HashCosts, User, UserKey};
use crate::types::ids::{DeviceId, SessionId, StoreId, TenantId, UserId};
use crate::types::login::{LoginKind, LoginName};
use crate::types::time::Timestamp;

pub use embedded::Embedded;
pub use error::StoreError;
pub use memory::Faults;

pub(crate) use self::sled::is_ours as is_store_file;

/// The largest record an engine accepts, in bytes (sled moves larger values into files of their
/// own that it never syncs).
pub const MAX_RECORD: usize = 4096;

/// How long a device is known after the last log-in from it.
pub const DEVICE_LIFE: Duration = Duration::from_secs(400 * 86_400);

/// The most devices that are known of one account; those that were never shown again go first.
pub const MAX_DEVICES: usize = 64;

/// Sessions: made, rotated, listed, ended.
pub trait SessionStore: Send + Sync + 'static {
    /// Stores a new session, makes room under the cap, forgets the account's failures and remembers
    /// the session's device, in one step; refused when the account is no longer the one that `proof` was checked against, so
    /// that a password change or a closed account cannot be overtaken by a log-in under way. The
    /// same session id again gives the same answer and changes nothing.
    fn create(
        &self,
        session: Session,
        cap: Cap,
        proof: Option<LoginProof>,
    ) -> impl Future<Output = Result<Created, StoreError>> + Send;

    /// Presents a refresh generation: `rules::rotation` decides, and the outcome is applied in the
    /// same atomic step, including the revocation of a reused session. The caller has checked the
    /// token's MAC before.
    fn rotate(
        &self,
        key: &SessionKey,
        presented: Generation,
        policy: RotatePolicy,
        seen: Seen,
    ) -> impl Future<Output = Result<Rotation, StoreError>> + Send;

    /// The session, unless it ended or its time ran out.
    fn session(
        &self,
        key: &SessionKey,
    ) -> impl Future<Output = Result<Option<Session>, StoreError>> + Send;

    /// Finds a session by the parts a refresh token carries.
    fn session_by_route(
        &self,
        route: Route,
        id: SessionId,
    ) -> impl Future<Output = Result<Option<Session>, StoreError>> + Send;

    /// The live sessions of one user, newest first. Sees every create and end acknowledged before
    /// the call.
    fn sessions(
        &self,
        user: &UserKey,
    ) -> impl Future<Output = Result<Vec<Session>, StoreError>> + Send;

    /// Notes activity. Monotonic and best effort: it may be merged or dropped and never brings an
    /// ended session back.
    fn touch(
        &self,
        key: &SessionKey,
        seen: Seen,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends sessions and logs their revocation, in one step. Idempotent: what is already over is
    /// not counted again.
    fn end(
        &self,
        scope: &Scope,
        why: EndReason,
    ) -> impl Future<Output = Result<Vec<Revocation>, StoreError>> + Send;

    /// Finds whose session this is; for the operator, who has only the id.
    fn find_session(
        &self,
        id: SessionId,
    ) -> impl Future<Output = Result<Option<SessionKey>, StoreError>> + Send;

    /// Up to `limit` live sessions of all users after `after`, in key order; for the operator.
    fn all_sessions(
        &self,
        after: Option<SessionKey>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Session>, StoreError>> + Send;
}

/// Ending every session at once, whatever their number.
///
/// A session's id is a UUIDv7, so it tells when the session was made. One stored moment therefore
/// ends all sessions made up to it, in one commit. Their records are removed afterwards, in steps
/// of bounded size that can be interrupted and continued.
pub trait BulkStore: Send + Sync + 'static {
    /// Ends every session that exists, durably and before the answer.
    fn end_all(&self, why: EndReason) -> impl Future<Output = Result<EndAll, StoreError>> + Send;

    /// Removes up to `limit` records that the last [`end_all`](Self::end_all) made worthless.
    /// `None` when there has never been one.
    fn clear_ended(
        &self,
        limit: usize,
    ) -> impl Future<Output = Result<Option<EndAll>, StoreError>> + Send;

    /// The moment up to which every session is over, if there is one.
    fn ended_through(&self) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send;
}

/// The whole store at one commit, read while writes go on.
pub trait BackupStore: Send + Sync + 'static {
    /// Begins. One at a time; one that nobody has continued for a minute is forgotten.
    fn snapshot_begin(&self) -> impl Future<Output = Result<SnapshotStart, StoreError>> + Send;

    /// The next page, which may be empty without being the last. With the last one the snapshot ends.
    fn snapshot_page(
        &self,
        id: u64,
    ) -> impl Future<Output = Result<SnapshotPage, StoreError>> + Send;

    /// Gives the snapshot up.
    fn snapshot_end(&self, id: u64) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A snapshot that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotStart {
    /// Its name.
    pub id: u64,
    /// When it was begun.
    pub at: Timestamp,
    /// Which store it is of.
    pub store: StoreId,
    /// The number of the last commit it holds.
    pub commit: u64,
    /// How many sessions it holds.
    pub sessions: u64,
    /// How many accounts it holds.
    pub users: u64,
}

/// Some records of a snapshot, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPage {
    /// The records, to be read by [`backup::split_page`].
    pub bytes: Vec<u8>,
    /// Whether it is the last page.
    pub is_last: bool,
}

/// How far an end of all sessions has come. All of them are over from the beginning; what is
/// counted is the removal of their records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndAll {
    /// Sessions made up to this moment are over.
    pub through: Timestamp,
    /// How many sessions there were when it began; expired ones that were not swept yet included.
    pub found: u64,
    /// How many records have been looked at so far.
    pub seen: u64,
    /// How many live sessions were among them.
    pub ended: u64,
    /// How many of those this step added.
    pub added: u64,
    /// Whether none is left.
    pub is_complete: bool,
}

/// The revocation log.
pub trait RevocationLog: Send + Sync + 'static {
    /// Every revocation that can still matter. Complete: an entry is dropped only after its
    /// `until`.
    fn revocations(&self) -> impl Future<Output = Result<Vec<Revocation>, StoreError>> + Send;
}

/// Accounts.
pub trait AccountStore: Send + Sync + 'static {
    /// Stores a new account if none of its logins is taken in its tenant.
    fn create_user(
        &self,
        user: User,
    ) -> impl Future<Output = Result<UserCreated, StoreError>> + Send;

    /// Finds an account by one of its logins.
    fn user_by_login(
        &self,
        login: &LoginKey,
    ) -> impl Future<Output = Result<Option<User>, StoreError>> + Send;

    /// The account.
    fn user(&self, key: &UserKey) -> impl Future<Output = Result<Option<User>, StoreError>> + Send;

    /// A session and its account, read in one step. `None` when the session ended or its time ran
    /// out, or when the account is gone.
    fn session_with_user(
        &self,
        key: &SessionKey,
    ) -> impl Future<Output = Result<Option<(Session, User)>, StoreError>> + Send;

    /// Replaces the account if its stored version is still `user.version`, and applies the effect
    /// on its sessions in the same step. The stored version becomes one higher.
    fn update_user(
        &self,
        user: User,
        effect: Effect,
    ) -> impl Future<Output = Result<UserUpdated, StoreError>> + Send;

    /// Deletes the account, its logins and its sessions. `None` when there was no such account.
    fn delete_user(
        &self,
        key: &UserKey,
    ) -> impl Future<Output = Result<Option<Vec<Revocation>>, StoreError>> + Send;

    /// How many accounts there are with each parameter set of password hashes, as far as it is
    /// durable. Waits for nothing.
    fn hash_costs(&self) -> Arc<HashCosts>;

    /// The secret under which names without an account choose a parameter set. The first call founds
    /// it with `fresh`; every later one gets the same.
    fn decoy_key(
        &self,
        fresh: [u8; 32],
    ) -> impl Future<Output = Result<[u8; 32], StoreError>> + Send;

    /// Up to `limit` accounts of a tenant after `after`, by id; for the operator.
    fn users(
        &self,
        tenant: &TenantId,
        after: Option<UserId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<User>, StoreError>> + Send;
}

/// Failed attempts at a password: one counter an account over all of its names and every way in, and
/// one a canonical name that no account has. Which of the two a name means is decided in the same
/// atomic step.
///
/// A device that an account was logged in from is known for [`DEVICE_LIFE`]; its failures are counted
/// for the account and for the device.
pub trait LockoutStore: Send + Sync + 'static {
    /// What stands against one more try.
    fn standing(
        &self,
        target: &Target,
        device: Option<DeviceId>,
    ) -> impl Future<Output = Result<Standing, StoreError>> + Send;

    /// Counts one failure (`rules::lockout` decides what it leads to) and returns the state before
    /// and after it.
    fn count_failure(
        &self,
        target: &Target,
        device: Option<DeviceId>,
        policy: LockPolicy,
    ) -> impl Future<Output = Result<Failed, StoreError>> + Send;

    /// Forgets all failures. `true` when there were any.
    fn unlock(&self, target: &Target) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// Short-lived questions with a secret answer: one-time codes, unlock links.
pub trait ChallengeStore: Send + Sync + 'static {
    /// Stores a challenge.
    fn put_challenge(
        &self,
        challenge: Challenge,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Takes one attempt off and compares, in one step. Success consumes the challenge: exactly one
    /// caller ever gets [`Attempt::Passed`].
    fn attempt(
        &self,
        id: ChallengeId,
        proof: ProofHash,
    ) -> impl Future<Output = Result<Attempt, StoreError>> + Send;
}

/// Audit records, as earlier versions kept them here. They are carried over to files.
pub trait AuditStore: Send + Sync + 'static {
    /// Up to `limit` records with their numbers, oldest first.
    fn old_audit(
        &self,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(u64, AuditRecord)>, StoreError>> + Send;

    /// Removes the records of these moments and numbers. Those that are gone already do not matter.
    fn forget_audit(
        &self,
        places: Vec<(Timestamp, u64)>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Appends records. Nothing does any more but tests, which need stores with such records.
    fn append_audit(
        &self,
        records: Vec<AuditRecord>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The newest `limit` records, newest first, of one user or of all.
    fn audit(
        &self,
        user: Option<&UserKey>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<AuditRecord>, StoreError>> + Send;
}

/// Upkeep and health.
pub trait Lifecycle: Send + Sync + 'static {
    /// Removes up to `limit` expired records of every kind (sessions, challenges, counters, old
    /// revocations and audit lines). Returns how many were due, those included that turn out to
    /// live on because they were used; fewer than `limit` means done.
    fn sweep(&self, limit: usize) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// Whether the store can commit right now.
    fn check(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Numbers for the metrics page.
    fn stats(&self) -> Stats;

    /// Stops taking work, commits what was taken, releases the files.
    fn close(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// One login name in one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LoginKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The canonical name.
    pub login: LoginName,
}

/// Whose password was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// That of whichever account has this name, if any.
    Login(LoginKey),
    /// That of this account.
    Account(UserKey),
}

/// A counted failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// The counter of the account or name before it.
    pub before: Lockout,
    /// The same counter after it.
    pub after: Lockout,
}

/// The first 16 bytes of SHA-256 over tenant and user: finds a user's sessions without naming the
/// user in the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route(pub [u8; 16]);

impl Route {
    /// The route of a user.
    pub fn of(user: &UserKey) -> Self {
        let hash = sha256(&[user.tenant.as_str().as_bytes(), user.user.as_bytes()]);
        let mut route = [0; 16];
        for (to, from) in route.iter_mut().zip(hash) {
            *to = from;
        }
        Self(route)
    }
}

/// How many sessions one user may hold, and what gives when there are more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    /// The most sessions of one user.
    pub max: u32,
    /// What happens to the one too many.
    pub when_full: WhenFull,
}

/// What happens when a user's sessions are at the cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest session ends.
    EndOldest,
    /// The log-in is refused.
    Refuse,
}

/// What a log-in was checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginProof {
    /// The account's version whose password was shown.
    pub version: u32,
}

/// What became of a new session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It is stored; these had to make room.
    Stored {
        /// The revocations of the evicted sessions.
        evicted: Vec<Revocation>,
    },
    /// The user has too many sessions and the cap says to refuse.
    Full,
    /// The account changed or went since the proof was checked: check again.
    AccountChanged,
    /// All sessions were ended after this one's id was made: make it again with a newer id.
    Overtaken,
}

/// The numbers that the rotation rule needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotatePolicy {
    /// How long after a rotation the one-before generation gets the same answer again; zero = not
    /// at all.
    pub grace: Duration,
    /// How far ahead of the store a generation may be after a failover lost writes.
    pub max_ahead: u32,
}

/// From where and as what a session was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// The client address.
    pub address: Option<IpAddr>,
}

/// What came of presenting a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// It was the current one; the session stands at the next.
    Rotated(Session),
    /// It was the one before, within the grace: the session as it stands, nothing written.
    Replayed(Session),
    /// It was ahead of the store, which had lost writes; the session stands one after it.
    Ahead {
        /// The session after the step.
        session: Session,
        /// How many generations the store had lost.
        lost: u32,
    },
    /// It had been used up: the session is over.
    Reused(Revocation),
    /// The session's time had run out.
    Expired,
    /// There is no such session.
    Gone,
}

/// Which sessions to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One session.
    One(SessionKey),
    /// All of a user's.
    AllOf(UserKey),
    /// All of a user's but one.
    AllExcept(UserKey, SessionId),
}

impl Scope {
    /// Whose sessions it is about.
    pub fn owner(&self) -> &UserKey {
        match self {
            Self::One(key) => &key.owner,
            Self::AllOf(owner) | Self::AllExcept(owner, _) => owner,
        }
    }
}

/// What a change of an account does to its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Their access tokens must be refreshed before they pass again.
    StaleClaims,
    /// All end.
    EndAll(EndReason),
    /// All end but this one.
    EndOthers(SessionId, EndReason),
}

/// What became of a new account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserCreated {
    /// It is stored.
    Stored,
    /// Another account has this login.
    LoginTaken(LoginKind),
}

/// What became of a changed account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserUpdated {
    /// It is stored, and these revocations took effect with it.
    Stored(Vec<Revocation>),
    /// Somebody else changed it first: read it again.
    Stale,
    /// Another account has this login.
    LoginTaken(LoginKind),
    /// There is no such account.
    Gone,
}

/// The numbers that the lock-out rule needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockPolicy {
    /// Failures that lead to a lock; zero = never lock.
    pub max_failures: u32,
    /// How long a lock holds, and how long a failure is remembered.
    pub lock_for: Duration,
}

/// Names one challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChallengeId(pub [u8; 16]);

/// SHA-256 of the expected answer, bound to the challenge's purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofHash(pub [u8; 32]);

/// A question waiting for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Its name.
    pub id: ChallengeId,
    /// The hash the answer must have.
    pub proof: ProofHash,
    /// Attempts left.
    pub attempts: u32,
    /// When it is void.
    pub expires_at: Timestamp,
    /// What the asker wants back on success, at most 2 KiB.
    pub payload: Vec<u8>,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// Right: here is the payload, and the challenge is gone.
    Passed(Vec<u8>),
    /// Wrong; so many attempts are left.
    Wrong {
        /// Attempts left.
        left: u32,
    },
    /// There is no such challenge (any more).
    Gone,
}

/// Numbers for the metrics page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Live sessions, expired ones included until they are swept.
    pub sessions: u64,
    /// Accounts.
    pub users: u64,
    /// Bytes on disk; zero for engines without.
    pub disk_bytes: u64,
    /// Commits so far.
    pub commits: u64,
    /// Operations in those commits.
    pub operations: u64,
    /// Milliseconds that the slowest recent commit took.
    pub slowest_commit_millis: u64,
}
