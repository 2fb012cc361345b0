//! The one thread that owns the ledger. It takes what is queued, runs it serially, makes all of it
//! durable with one write, and only then answers everybody.
//!
//! What must always be true: no answer that tells of a write leaves before that write is durable,
//! and when a batch fails, nobody whose operation wrote in it, or read what it wrote, hears of
//! success.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::model::revocation::Revocation;
use crate::store::StoreError;
use crate::store::codec;
use crate::store::embedded::commits::{Commit, seal};
use crate::store::embedded::keys::{self, META_CLOCK, META_COSTS, META_END_ALL, META_TOTALS};
use crate::store::embedded::ledger::{Batch, Ledger};
use crate::store::embedded::numbers::Numbers;
use crate::store::embedded::records::{StoredEndAll, StoredRevocation};
use crate::store::embedded::snapshot::Snapshots;
use crate::store::embedded::touches::Touches;
use crate::store::embedded::transaction::{Lives, Transaction};
use crate::types::time::{Clock, Timestamp};

/// The most operations of one group.
const GROUP: usize = 256;

/// How often the ledger is given a moment while nothing else comes.
const TICK: Duration = Duration::from_millis(500);

/// How long noted activity waits for a group to ride along with.
const TOUCH_DELAY: Duration = Duration::from_secs(5);

/// The most noted activity that one group carries.
const RIDERS: usize = 256;

/// What the thread is told.
pub(crate) enum Message {
    /// Run this.
    Work(Job),
    /// Stop, release the files, and say so.
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// One operation on its way to the thread.
pub(crate) struct Job {
    run: Box<dyn FnOnce(&mut Transaction<'_>) -> Done + Send>,
}

/// An operation that has run and waits for its writes to be durable.
struct Done {
    succeeded: bool,
    answer: Box<dyn FnOnce(Result<(), StoreError>)>,
}

impl Job {
    /// An operation and where its outcome goes.
    pub(crate) fn new<T: Send + 'static>(
        operation: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
        caller: oneshot::Sender<Result<T, StoreError>>,
    ) -> Self {
        Self {
            run: Box::new(move |view| {
                let outcome = operation(view);
                Done {
                    succeeded: outcome.is_ok(),
                    answer: Box::new(move |durable| {
                        // A caller who has gone away does not want the answer.
                        let _gone = caller.send(durable.and(outcome));
                    }),
                }
            }),
        }
    }
}

/// Hears of every revocation that is, or may be, durable, before anybody is answered.
pub(crate) struct Listener(pub(crate) Box<dyn Fn(Revocation) + Send + Sync>);

/// Gets the moment up to which all sessions are over, once that is durable and before anybody is
/// answered.
pub(crate) struct EndAllListener(pub(crate) Box<dyn Fn(Timestamp) + Send + Sync>);

/// The thread's belongings.
pub(crate) struct Committer {
    /// Where everything is stored.
    pub(crate) ledger: Box<dyn Ledger>,
    /// What is queued.
    pub(crate) queue: Receiver<Message>,
    /// The store's time.
    pub(crate) clock: Arc<dyn Clock>,
    /// How long things are kept.
    pub(crate) lives: Lives,
    /// What others may know.
    pub(crate) numbers: Arc<Numbers>,
    /// Who wants to hear of revocations.
    pub(crate) listener: Arc<OnceLock<Listener>>,
    /// Who wants to hear of the end of all sessions.
    pub(crate) end_all_listener: Arc<OnceLock<EndAllListener>>,
    /// Activity that is not written yet.
    pub(crate) touches: Touches,
    /// The time that the ledger holds as reached, if this process has written it.
    pub(crate) reached: Option<Timestamp>,
    /// For how long nothing has come.
    pub(crate) idle: Duration,
    /// The store as it stood when a backup was begun.
    pub(crate) snapshots: Snapshots,
    /// When the ledger was last given a moment.
    pub(crate) ticked: Duration,
}

impl Committer {
    /// Works until it is told to close or nobody can tell it anything any more.
    pub(crate) fn serve(mut self) {
        loop {
            match self.queue.recv_timeout(TICK) {
                Ok(message) => {
                    self.idle = Duration::ZERO;
                    let (jobs, close) = self.gather(message);
                    self.numbers.taken(jobs.len());
                    self.run_group(jobs);
                    if self.clock.monotonic().saturating_sub(self.ticked) >= TICK {
                        self.tick();
                    }
                    if let Some(caller) = close {
                        let closed = self.close();
                        // With the ledger goes its lock: whoever hears the answer may open again.
                        drop(self);
                        let _gone = caller.send(closed);
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.tick();
                    self.idle += TICK;
                    if self.idle >= TOUCH_DELAY {
                        self.idle = Duration::ZERO;
                        self.run_group(Vec::new());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    if let Err(error) = self.close() {
                        tracing::error!(%error, "the store did not close cleanly");
                    }
                    return;
                }
            }
        }
    }

    fn tick(&mut self) {
        self.ticked = self.clock.monotonic();
        self.ledger.tick();
        if self.ledger.is_lost() {
            self.numbers.lose();
        }
    }

    /// Takes what is queued behind the first message, without waiting for more.
    fn gather(
        &self,
        first: Message,
    ) -> (Vec<Job>, Option<oneshot::Sender<Result<(), StoreError>>>) {
        let mut jobs = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Work(job) => jobs.push(job),
                Message::Close(caller) => return (jobs, Some(caller)),
            }
            next = if jobs.len() < GROUP {
                self.queue.try_recv().ok()
            } else {
                None
            };
        }
        (jobs, None)
    }

    fn run_group(&mut self, jobs: Vec<Job>) {
        let operations = jobs.len();
        self.snapshots.set_now(self.clock.monotonic());
        let idle = jobs.is_empty();
        let mut group = Batch::default();
        let mut waiting = Vec::with_capacity(operations);
        for job in jobs {
            if let Some((done, depends)) = self.run(job, &mut group) {
                waiting.push((done, depends));
            }
        }
        if idle || !group.is_empty() || self.touches_are_due() {
            self.carry_touches(&mut group);
        }
        let durable = if group.is_empty() {
            Ok(())
        } else {
            self.keep_time(&mut group);
            self.commit(&mut group, operations)
        };
        for (done, depends) in waiting {
            (done.answer)(if depends { durable.clone() } else { Ok(()) });
        }
    }

    /// Runs one operation on top of its group. Says also whether its outcome hangs on the batch.
    fn run(&mut self, job: Job, group: &mut Batch) -> Option<(Done, bool)> {
        let mut view = self.view(group);
        // An operation that panics loses its own writes and its answer; the store goes on.
        let done = catch_unwind(AssertUnwindSafe(|| (job.run)(&mut view)));
        let (writes, saw_group) = view.finish();
        let Ok(done) = done else {
            tracing::error!("a store operation panicked; nothing of it is applied");
            return None;
        };
        let wrote = done.succeeded && !writes.is_empty();
        if wrote {
            group.absorb(writes);
        }
        Some((done, wrote || saw_group))
    }

    fn view<'a>(&'a mut self, group: &'a Batch) -> Transaction<'a> {
        Transaction::new(
            self.ledger.as_mut(),
            group,
            &mut self.touches,
            &mut self.snapshots,
            self.clock.now(),
            self.lives,
        )
    }

    fn touches_are_due(&self) -> bool {
        self.touches
            .waiting_since()
            .is_some_and(|since| self.clock.now().since(since) >= TOUCH_DELAY)
    }

    fn carry_touches(&mut self, group: &mut Batch) {
        for session in self.touches.some(RIDERS) {
            let mut view = self.view(group);
            let written = view.write_touch(&session);
            let (writes, _) = view.finish();
            match written {
                Ok(()) => group.absorb(writes),
                Err(error) => tracing::warn!(%error, "noted activity could not be written"),
            }
            self.touches.settle(&session);
        }
    }

    /// Writes the time along, so that no record is younger than what the store has reached, and what
    /// has expired by then stays expired.
    fn keep_time(&mut self, group: &mut Batch) {
        let now = self.clock.now();
        match codec::encode(META_CLOCK, &now) {
            Ok(bytes) => {
                group.writes.insert(META_CLOCK.to_vec(), Some(bytes));
                self.reached = Some(now);
            }
            Err(error) => tracing::error!(%error, "the time could not be noted"),
        }
    }

    fn commit(&mut self, group: &mut Batch, operations: usize) -> Result<(), StoreError> {
        self.numbers.commit_begins(self.clock.monotonic());
        let sealed = seal(self.ledger.as_mut(), group, Commit::default());
        // With the record of the commit itself: a snapshot shows the number of its own.
        self.snapshots.keep(self.ledger.as_mut(), group);
        let outcome = sealed.and_then(|commit| self.ledger.commit(group, &commit).map(|()| commit));
        self.numbers
            .commit_ends(self.clock.monotonic(), operations, outcome.is_ok());
        if let Err(error) = &outcome {
            tracing::error!(%error, operations, "a batch could not be made durable");
            if self.ledger.is_lost() {
                self.numbers.lose();
            }
        }
        // A batch that may be in the log counts here as one that is: when the call is repeated the session
        // is found ended already, and there is no revocation left to report.
        if matches!(outcome, Ok(_) | Err(StoreError::Indeterminate)) {
            self.tell_revocations(group);
            self.report_end_of_all(group);
        }
        if let Ok(commit) = &outcome {
            self.numbers.commit(commit.number);
            self.numbers.disk(self.ledger.disk_bytes());
            if let Some(Some(bytes)) = group.writes.get(META_TOTALS) {
                self.numbers.totals(META_TOTALS, bytes);
            }
            if let Some(Some(bytes)) = group.writes.get(META_COSTS) {
                self.numbers.costs(META_COSTS, bytes);
            }
        }
        outcome.map(|_| ())
    }

    /// Whether or not its caller still listens, a revocation holds from here on.
    fn tell_revocations(&self, group: &Batch) {
        let Some(Listener(hear)) = self.listener.get() else {
            return;
        };
        for (key, write) in group.within(&keys::revocations()) {
            let Some(bytes) = write else { continue };
            if let Ok(stored) = codec::decode::<StoredRevocation>(key, bytes) {
                hear(stored.revocation);
            }
        }
    }

    /// Whether or not its caller still listens, the end of all sessions holds from here on.
    fn report_end_of_all(&self, group: &Batch) {
        let (Some(EndAllListener(hear)), Some(Some(bytes))) =
            (self.end_all_listener.get(), group.writes.get(META_END_ALL))
        else {
            return;
        };
        if let Ok(stored) = codec::decode::<StoredEndAll>(META_END_ALL, bytes) {
            hear(stored.through);
        }
    }

    /// Writes what is noted and releases the files.
    fn close(&mut self) -> Result<(), StoreError> {
        while self.touches.waiting_since().is_some() {
            self.run_group(Vec::new());
        }
        if self.reached.is_some_and(|at| at < self.clock.now()) {
            let mut last = Batch::default();
            self.keep_time(&mut last);
            // That it could not be written is in the log; what was acknowledged is written.
            drop(self.commit(&mut last, 0));
        }
        self.ledger.close()
    }
}
