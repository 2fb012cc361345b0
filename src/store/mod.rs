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
//! The traits in `traits/` add the promises of each method; `traits/feed.rs` has the most important one: a revocation
//! is delivered before the call that wrote it returns. `contract` tests the logic of all this for every engine,
//! `tests/torture` the durability of the sled engine, and `embedded/tests.rs` deadlines and sizes.
//!
//! To add an engine, add a variant to [`Engine`] in `settings.rs`, which `config/build/store.rs` reads from
//! `store.url`; the compiler then names every match that needs it. Then:
//!
//! - An engine of bytes (ordered keys, atomic batches) implements `Ledger` (`embedded/ledger.rs`) in a folder here
//!   and is opened in `embedded/mod.rs`. It needs no variant of [`AnyStore`].
//! - Any other engine implements the traits in a folder here and becomes a variant of [`AnyStore`] in `any.rs`.
//!
//! Both are listed in `contract/mod.rs`, so that the contract suite runs on them, and in the text of the key
//! (`config/keys/store.rs`).
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
pub use self::traits::mails::{DueMails, MAX_MAILS, MailId, MailStore, Queued, QueuedMail};
pub use self::traits::sessions::{
    Cap, Created, LoginProof, RotatePolicy, Rotation, Route, Scope, Seen, SessionStore, WhenFull,
};

pub(crate) use self::sled::names::is_store_file;

/// The largest record that an engine accepts, in bytes. (sled moves larger values into files of their
/// own, which it never syncs.)
pub const MAX_RECORD: usize = 4096;
