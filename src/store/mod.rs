//! What must a store promise, and which file holds what?
//!
//! A store keeps accounts, sessions, revocations and counters. `traits` has the operations,
//! `contract` is their meaning as tests: every engine passes it, and a deliberately naive store must
//! fail it. [`AnyStore`] is the one type that the service uses.
//!
//! Each method of the traits is one atomic step with one outcome, like a transaction. A caller never
//! reads, computes and writes back.
//!
//! Promises of every method:
//!
//! 1. The time is that of the store. Callers never compare their own clock with a stored moment.
//! 2. Operations on one user are linearizable. Nothing is promised across users.
//! 3. An acknowledged write is durable: it survives `kill -9` and, on the sled engine, a power cut.
//! 4. Absence is an `Option` or a variant, never an error. A record that does not decode is
//!    [`StoreError::Corrupt`], never "absent".
//! 5. When a future is dropped, the operation is either applied completely or not at all.
//! 6. Sizes are bounded: a record has at most [`MAX_RECORD`] bytes.
//! 7. No method reads all keys, except those that list for an operator or remove expired records;
//!    these work in pages.
//! 8. Every wait has a deadline. A store that cannot answer returns an error instead of blocking.
//!
//! To add an engine: write it in a folder of its own here, add a variant to [`Engine`] in
//! `settings.rs` (`config/build/store.rs` reads it from `store.url`), and add a variant to
//! [`AnyStore`] in `any.rs`. The contract suite runs on each engine that `contract/mod.rs` lists. A
//! byte-level engine implements `Ledger` (`embedded/ledger.rs`) only and needs no new variant of
//! [`AnyStore`].
//!
//! [`Engine`]: settings::Engine

pub mod backup;
pub mod error;
pub mod identity;
pub mod salvage;
pub mod settings;
#[doc(hidden)]
pub mod testing;

mod any;
mod codec;
pub(crate) mod embedded;
mod memory;
mod sled;
mod traits;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod naive;

pub use any::AnyStore;
pub use error::StoreError;

pub use self::traits::accounts::{AccountStore, Effect, LoginKey, UserCreated, UserUpdated};
pub use self::traits::audit::AuditStore;
pub use self::traits::backup::{BackupStore, SnapshotPage, SnapshotStart};
pub use self::traits::bulk::{BulkStore, EndAll};
pub use self::traits::challenges::{Attempt, Challenge, ChallengeId, ChallengeStore, ProofHash};
pub use self::traits::feed::{
    FeedEvent, FeedPosition, Freshness, RevocationFeed, RevocationSnapshot, RevocationSubscriber,
};
pub use self::traits::lifecycle::{Lifecycle, Stats};
pub use self::traits::lockouts::{
    DEVICE_LIFE, Failed, LockPolicy, LockoutStore, MAX_DEVICES, Target,
};
pub use self::traits::sessions::{
    Cap, Created, LoginProof, RotatePolicy, Rotation, Route, Scope, Seen, SessionStore, WhenFull,
};

pub(crate) use self::sled::names::is_store_file;

/// The largest record that an engine accepts, in bytes. (sled moves larger values into files of their
/// own, which it never syncs.)
pub const MAX_RECORD: usize = 4096;
