//! The store inside the process: one implementation of every trait over a [`ledger`] of bytes.
//!
//! ```text
//!  callers ──Job──▶ queue (bounded) ──▶ committer thread ──one durable batch──▶ ledger
//!     ▲                                    │ runs each job serially             memory | sled
//!     └───────────── answers ◀─────────────┘ on top of the group's writes
//! ```
//!
//! Because one thread runs every operation from its first read to its last write, each of them is
//! atomic and the whole is linearizable; because that thread makes a whole group durable at once,
//! a hundred concurrent callers pay for one disk write. `keys` is the layout on disk.

mod account_record;
mod accounts;
mod audit;
mod bulk;
mod challenges;
pub(crate) mod commits;
mod committer;
mod devices;
pub(crate) mod digest;
pub(crate) mod founding;
#[cfg(test)]
mod golden;
pub(crate) mod keys;
pub(crate) mod ledger;
mod lockouts;
mod numbers;
#[cfg(test)]
mod reached;
pub(crate) mod records;
mod revocations;
pub(crate) mod salvage;
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
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::crypto::digest::sha256;
use crate::model::revocation::Revocation;
use crate::store::StoreError;
use crate::store::codec;
use crate::store::embedded::commits::Commit;
use crate::store::embedded::committer::{Committer, EndAllListener, Job, Listener, Message};
use crate::store::embedded::founding::settle;
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

/// How far the time that is written may be behind: a health check every two seconds writes it, if
/// nothing else does.
const MARK_EVERY: Duration = Duration::from_secs(5);

/// The store inside the process. Dropping it without [`close`](crate::store::Lifecycle::close)
/// loses nothing that was acknowledged; the files are released a moment later.
pub struct Embedded {
    /// `None` once closing has begun.
    queue: Mutex<Option<Sender<Message>>>,
    numbers: Arc<Numbers>,
    listener: Arc<OnceLock<Listener>>,
    end_all_listener: Arc<OnceLock<EndAllListener>>,
    clock: Arc<dyn Clock>,
    deadline: Duration,
    id: StoreId,
}

impl Embedded {
    /// Opens the configured engine without keys that belong to it; the store is founded where there is
    /// none. See [`open_tied`](Self::open_tied).
    pub fn open(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let ties = Ties::none(derived_id(settings, &*clock));
        Self::open_tied(settings, &ties, clock)
    }

    /// Opens the configured engine. Reads every record and blocks meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] when the store does not hold what was acknowledged;
    ///
    /// [`StoreError::Config`] when the place cannot be used as it is and somebody has to look;
    /// [`StoreError::Unavailable`] when another try may succeed, as on a full disk. The text says
    /// what to do.
    pub fn open_tied(
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

    /// Which store this is. In memory it means nothing.
    pub const fn id(&self) -> StoreId {
        self.id
    }

    /// Whether the files of the store are gone, or others are in their place. Noticed within a second;
    /// only a restart helps.
    pub fn is_lost(&self) -> bool {
        self.numbers.is_lost()
    }

    /// The number of the last commit that was acknowledged, counted from the founding of the store.
    pub fn last_commit(&self) -> u64 {
        self.numbers.last_commit()
    }

    /// A store in memory with ordinary settings, and the switch that makes it fail. For tests.
    ///
    /// # Panics
    ///
    /// When the system gives no thread.
    pub fn memory(clock: Arc<dyn Clock>) -> (Self, Faults) {
        let settings = Settings {
            engine: Engine::Memory,
            deadline: Duration::from_secs(2),
            revocation_life: Duration::from_secs(15 * 60 + 30),
            audit_life: Duration::from_secs(90 * 86_400),
            lock_wait: Duration::ZERO,
        };
        #[expect(
            clippy::expect_used,
            reason = "an empty map can be opened; only a thread could be missing"
        )]
        Self::memory_with(&settings, clock).expect("a store in memory opens")
    }

    /// A store in memory with the given settings, and the switch that makes it fail.
    pub fn memory_with(
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Faults), StoreError> {
        let (ledger, faults) = Memory::new();
        let ties = Ties::none(derived_id(settings, &*clock));
        let store = Self::start(settings, Box::new(ledger), &ties, None, clock)?;
        Ok((store, faults))
    }

    /// Calls `hear` with every revocation that is, or may be, durable, before its caller is answered;
    /// also when that caller has gone away, or has stopped waiting, and would never tell anybody.
    /// It runs on the store's thread and must not wait for anything. The first listener stays;
    /// `false` when there is one already.
    pub fn on_revocation(&self, hear: impl Fn(Revocation) + Send + Sync + 'static) -> bool {
        self.listener.set(Listener(Box::new(hear))).is_ok()
    }

    /// Like [`Self::on_revocation`], for the end of all sessions: `hear` gets the moment up to which
    /// every session is over.
    pub fn on_end_all(&self, hear: impl Fn(Timestamp) + Send + Sync + 'static) -> bool {
        self.end_all_listener
            .set(EndAllListener(Box::new(hear)))
            .is_ok()
    }

    /// A store on disk whose commits are not made durable. It exists so that the torture test can
    /// show that it would notice.
    #[doc(hidden)]
    pub fn open_without_fsync(
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

    /// A store on disk that is not compared with what was acknowledged. It exists so that the damage
    /// test can show that it would notice.
    #[doc(hidden)]
    pub fn open_unproved(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
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
        let listener = Arc::new(OnceLock::new());
        let end_all_listener = Arc::new(OnceLock::new());
        let id = settle(ledger.as_mut(), ties, place)?;
        upgrade::accounts(ledger.as_mut())?;
        if let Some(bytes) = ledger.get(META_COMMIT)? {
            let last: Commit = codec::decode(META_COMMIT, &bytes)?;
            numbers.commit(last.number);
        }
        resume_time(ledger.as_mut(), &*clock)?;
        if let Some(bytes) = ledger.get(META_TOTALS)? {
            numbers.totals(META_TOTALS, &bytes);
        }
        if let Some(bytes) = ledger.get(META_COSTS)? {
            numbers.costs(META_COSTS, &bytes);
        }
        numbers.disk(ledger.disk_bytes());
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
            listener: Arc::clone(&listener),
            end_all_listener: Arc::clone(&end_all_listener),
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
            listener,
            end_all_listener,
            clock,
            deadline: settings.deadline,
            id,
        })
    }

    /// Has the committer run an operation and waits for its outcome, at most for the deadline.
    /// Dropping the future leaves the operation wholly applied or not at all.
    async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (caller, outcome) = oneshot::channel();
        self.numbers.enter()?;
        if !self.send(Message::Work(Job::new(operation, caller))) {
            self.numbers.taken(1);
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        }
        self.wait(outcome).await
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
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_ref().is_some_and(|q| q.send(message).is_ok())
    }
}

/// Time goes on from where the store has been, whatever the wall clock says: what had expired or was
/// refused does not come back.
fn resume_time(ledger: &mut dyn Ledger, clock: &dyn Clock) -> Result<(), StoreError> {
    let Some(bytes) = ledger.get(META_CLOCK)? else {
        return Ok(());
    };
    let mark: Timestamp = codec::decode(META_CLOCK, &bytes)?;
    match clock.resume(mark) {
        Resumed::Behind(by) if by > MARK_EVERY => {
            // A process that was killed had come further than what it wrote last.
            clock.resume(mark.plus(MARK_EVERY));
            let by = humantime::format_duration(Duration::from_secs(by.as_secs()));
            let (wall, time) = (clock.wall(), clock.now());
            tracing::warn!(
                %by, %wall, %time,
                "the wall clock is behind the time that this store has reached: time goes on from \
                 there, so nothing that has ended or expired comes back; log-ins work"
            );
        }
        Resumed::After(by) => {
            let by = humantime::format_duration(Duration::from_secs(by.as_secs()));
            tracing::info!(
                %by,
                "the store was last written that long ago; nothing that has expired since is removed \
                 until the wall clock has been stable for 30 s"
            );
        }
        Resumed::Behind(_) | Resumed::Agrees => {}
    }
    Ok(())
}

/// An id for a store that nothing else has to know.
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
