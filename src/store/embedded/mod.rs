//! How does the store inside the process work? One thread runs all operations on a [`ledger`] of bytes.
//!
//! ```text
//!  callers ──Job──▶ queue (bounded) ──▶ committer thread ──one durable batch──▶ ledger
//!     ▲                                    │ runs each job serially             memory | sled
//!     └───────────── answers ◀─────────────┘ on top of the group's writes
//! ```
//!
//! One thread runs every operation from its first read to its last write, so each operation is atomic
//! and the whole is linearizable. The thread makes a whole group durable at once, so a hundred
//! concurrent callers cost one disk write. `keys` has the layout on disk.

mod account_record;
mod accounts;
mod audit;
mod backup;
mod bulk;
mod challenges;
pub(crate) mod commits;
mod committer;
mod devices;
pub(crate) mod digest;
mod feed;
pub(crate) mod founding;
#[cfg(test)]
mod golden;
mod jobs;
pub(crate) mod keys;
pub(crate) mod ledger;
mod lockouts;
mod mails;
mod numbers;
#[cfg(test)]
mod reached;
pub(crate) mod records;
mod revocation_feed;
mod revocations;
pub(crate) mod salvage;
mod session_ends;
mod sessions;
mod snapshot;
#[cfg(test)]
mod tests;
mod touches;
mod transaction;
mod upgrade;
mod upkeep;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::crypto::digest::sha256;
use crate::store::StoreError;
use crate::store::codec;
use crate::store::embedded::commits::Commit;
use crate::store::embedded::committer::Committer;
use crate::store::embedded::feed::{Completeness, Feed};
use crate::store::embedded::founding::settle;
use crate::store::embedded::jobs::{Job, Message};
use crate::store::embedded::keys::{META_CLOCK, META_COMMIT, META_COSTS, META_TOTALS};
use crate::store::embedded::ledger::Ledger;
use crate::store::embedded::numbers::Numbers;
use crate::store::embedded::snapshot::Snapshots;
use crate::store::embedded::touches::Touches;
use crate::store::embedded::transaction::{Lives, Transaction};
use crate::store::identity::Ties;
use crate::store::memory::{Faults, Memory};
use crate::store::settings::{Engine, Settings};
use crate::store::sled::{Detector, Durability, Sled, holds_a_store};
use crate::types::ids::StoreId;
use crate::types::time::{Clock, Resumed, Timestamp};

/// The largest difference between the time and the stored time. A health check stores it every two
/// seconds if no other write does.
const MARK_EVERY: Duration = Duration::from_secs(5);

/// The store inside the process. If it is dropped without [`close`](crate::store::Lifecycle::close),
/// everything acknowledged is kept, and the files are released a moment later.
pub struct Embedded {
    /// `None` once closing has begun.
    queue: Mutex<Option<Sender<Message>>>,
    numbers: Arc<Numbers>,
    is_complete: Arc<Completeness>,
    clock: Arc<dyn Clock>,
    deadline: Duration,
    id: StoreId,
}

impl Embedded {
    /// Opens the configured engine without keys that belong to it. Creates the store if there is none.
    /// See [`open_tied`](Self::open_tied).
    pub(crate) fn open(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let ties = Ties::none(derived_id(settings, &*clock));
        Self::open_tied(settings, &ties, clock)
    }

    /// Opens the configured engine. Blocks, because every record is read. The errors are those of
    /// [`AnyStore::open_tied`](crate::store::AnyStore::open_tied).
    pub(crate) fn open_tied(
        settings: &Settings,
        ties: &Ties,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        match &settings.engine {
            Engine::Memory => Ok(Self::memory_with(settings, clock)?.0),
            Engine::Sled { path, cache } => Self::open_sled(
                settings,
                path,
                *cache,
                Durability::Synced,
                Detector::On,
                ties,
                clock,
            ),
        }
    }

    /// The id of the store. It has no meaning for a store in memory.
    pub(crate) const fn id(&self) -> StoreId {
        self.id
    }

    /// The number of the last acknowledged commit, counted from the creation of the store.
    pub(crate) fn last_commit(&self) -> u64 {
        self.numbers.last_commit()
    }

    /// A store in memory with the given settings, and the switch that makes it fail.
    pub(crate) fn memory_with(
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Faults), StoreError> {
        let (ledger, faults) = Memory::new();
        let ties = Ties::none(derived_id(settings, &*clock));
        let store = Self::start(settings, Box::new(ledger), &ties, None, clock)?;
        Ok((store, faults))
    }

    /// A store on disk whose commits are not made durable. See [`testing`](crate::store::testing).
    pub(crate) fn open_without_fsync(
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        match &settings.engine {
            Engine::Memory => Self::open(settings, clock),
            Engine::Sled { path, cache } => {
                let ties = Ties::none(derived_id(settings, &*clock));
                Self::open_sled(
                    settings,
                    path,
                    *cache,
                    Durability::PageCache,
                    Detector::On,
                    &ties,
                    clock,
                )
            }
        }
    }

    /// A store on disk that is not compared with what was acknowledged. See
    /// [`testing`](crate::store::testing).
    pub(crate) fn open_unproved(
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        match &settings.engine {
            Engine::Memory => Self::open(settings, clock),
            Engine::Sled { path, cache } => {
                let ties = Ties::none(derived_id(settings, &*clock));
                let (durability, detector) = (Durability::PageCache, Detector::Off);
                Self::open_sled(settings, path, *cache, durability, detector, &ties, clock)
            }
        }
    }

    fn open_sled(
        settings: &Settings,
        path: &Path,
        cache: u64,
        durability: Durability,
        detector: Detector,
        ties: &Ties,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        ties.admit(path, holds_a_store(path)?)?;
        let ledger = Sled::open(path, cache, durability, detector, Arc::clone(&clock))?;
        Self::start(settings, Box::new(ledger), ties, Some(path), clock)
    }

    fn start(
        settings: &Settings,
        mut ledger: Box<dyn Ledger>,
        ties: &Ties,
        place: Option<&Path>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let numbers = Arc::new(Numbers::default());
        let feed = Feed::default();
        let is_complete = feed.completeness();
        let id = settle(ledger.as_mut(), ties, place)?;
        upgrade::accounts(ledger.as_mut())?;
        load_numbers(ledger.as_mut(), &numbers)?;
        resume_time(ledger.as_mut(), &*clock)?;
        let (sender, queue) = channel();
        let committer = Committer {
            ledger,
            queue,
            clock: Arc::clone(&clock),
            lives: Lives {
                revocation: settings.revocation_life,
                audit: settings.audit_life,
            },
            numbers: Arc::clone(&numbers),
            feed,
            touches: Touches::default(),
            reached: None,
            idle: Duration::ZERO,
            snapshots: Snapshots::default(),
            ticked: Duration::ZERO,
        };
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || committer.serve())
            .map_err(|e| StoreError::Unavailable(format!("no thread for the store: {e}")))?;
        Ok(Self {
            queue: Mutex::new(Some(sender)),
            numbers,
            is_complete,
            clock,
            deadline: settings.deadline,
            id,
        })
    }

    /// Runs an operation on the thread of the store and waits for its outcome, at most until the
    /// deadline. If the future is dropped, the operation is applied completely or not at all.
    async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (caller, outcome) = oneshot::channel();
        self.send_counted(Message::Work(Job::new(operation, caller)))?;
        self.wait(outcome).await
    }

    /// Sends a message that takes a place in the bounded queue.
    fn send_counted(&self, message: Message) -> Result<(), StoreError> {
        self.numbers.enter()?;
        if self.send(message) {
            return Ok(());
        }
        self.numbers.taken(1);
        Err(StoreError::Unavailable("the store is closed".to_owned()))
    }

    async fn wait<T>(
        &self,
        outcome: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.deadline, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(StoreError::Indeterminate),
        }
    }

    fn send(&self, message: Message) -> bool {
        let queue = self.queue.lock();
        queue.as_ref().is_some_and(|q| q.send(message).is_ok())
    }
}

/// Reads the numbers that a commit updates.
fn load_numbers(ledger: &mut dyn Ledger, numbers: &Numbers) -> Result<(), StoreError> {
    if let Some(bytes) = ledger.get(META_COMMIT)? {
        let last: Commit = codec::decode(META_COMMIT, &bytes)?;
        numbers.commit(last.number);
    }
    if let Some(bytes) = ledger.get(META_TOTALS)? {
        numbers.totals(META_TOTALS, &bytes);
    }
    if let Some(bytes) = ledger.get(META_COSTS)? {
        numbers.costs(META_COSTS, &bytes);
    }
    numbers.disk(ledger.disk_bytes());
    Ok(())
}

/// Time continues from the time that the store has reached, whatever the wall clock reads. Records that
/// have expired stay expired.
fn resume_time(ledger: &mut dyn Ledger, clock: &dyn Clock) -> Result<(), StoreError> {
    let Some(bytes) = ledger.get(META_CLOCK)? else {
        return Ok(());
    };
    let mark: Timestamp = codec::decode(META_CLOCK, &bytes)?;
    match clock.resume(mark) {
        Resumed::Behind(by) if by > MARK_EVERY => {
            // A killed process had reached a later time than it wrote last.
            clock.resume(mark.plus(MARK_EVERY));
            let by = humantime::format_duration(Duration::from_secs(by.as_secs()));
            let (wall, time) = (clock.wall(), clock.now());
            tracing::warn!(
                %by, %wall, %time,
                "the wall clock is behind the time that this store has reached: time continues from \
                 there, so nothing that has ended or expired comes back; log-ins work"
            );
        }
        Resumed::After(by) => {
            let by = humantime::format_duration(Duration::from_secs(by.as_secs()));
            tracing::info!(
                %by,
                "the wall clock is this far after the last write of the store: records that have expired \
                 since are not removed until it has been stable for 30 s"
            );
        }
        Resumed::Behind(_) | Resumed::Agrees => {}
    }
    Ok(())
}

/// An id for a store that no key directory has to name.
fn derived_id(settings: &Settings, clock: &dyn Clock) -> StoreId {
    let engine = settings.engine.to_string();
    let hash = sha256(&[engine.as_bytes(), &clock.now().as_millis().to_be_bytes()]);
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(hash) {
        *to = from;
    }
    StoreId::from_bytes(id)
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded")
            .field("numbers", &self.numbers)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
