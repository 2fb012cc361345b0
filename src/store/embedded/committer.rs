//! How is a group of operations made durable at once? By the one thread that owns the ledger.
//!
//! The thread takes the queued operations, runs them one after the other, makes the writes of all of
//! them durable as one batch, delivers revocations, and only then answers the callers.
//!
//! Invariants: no answer that reports a write is sent before the write is durable. When a batch fails,
//! no caller whose operation wrote in it, or read its writes, gets a success. A revocation is delivered
//! before any caller of its batch is answered.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::store::codec;
use crate::store::embedded::commits::{Commit, seal};
use crate::store::embedded::feed::{Feed, FeedRequest};
use crate::store::embedded::jobs::{Done, Job, Message};
use crate::store::embedded::keys::{META_CLOCK, META_COSTS, META_TOTALS};
use crate::store::embedded::ledger::{Batch, Ledger};
use crate::store::embedded::numbers::Numbers;
use crate::store::embedded::snapshot::Snapshots;
use crate::store::embedded::touches::Touches;
use crate::store::embedded::transaction::{Lives, Transaction};
use crate::store::{RevocationSnapshot, StoreError};
use crate::types::time::{Clock, Timestamp};

/// The largest number of operations in one group.
const GROUP: usize = 256;

/// How often [`Ledger::tick`] is called while the queue is empty.
const TICK: Duration = Duration::from_millis(500);

/// How long recorded activity waits for a group to be written with.
const TOUCH_DELAY: Duration = Duration::from_secs(5);

/// The largest number of records of activity in one group.
const RIDERS: usize = 256;

/// The state of the thread.
pub(crate) struct Committer {
    /// The ledger that contains all records.
    pub(crate) ledger: Box<dyn Ledger>,
    /// The queue of messages.
    pub(crate) queue: Receiver<Message>,
    /// The clock of the store.
    pub(crate) clock: Arc<dyn Clock>,
    /// How long records are kept.
    pub(crate) lives: Lives,
    /// Numbers that other threads read.
    pub(crate) numbers: Arc<Numbers>,
    /// The subscribers of the revocation feed.
    pub(crate) feed: Feed,
    /// Activity that is not yet written.
    pub(crate) touches: Touches,
    /// The time in the ledger, if this process has written it.
    pub(crate) reached: Option<Timestamp>,
    /// How long the queue has been empty.
    pub(crate) idle: Duration,
    /// The snapshot for a backup, if one is being read.
    pub(crate) snapshots: Snapshots,
    /// When [`Ledger::tick`] was last called, on the monotonic clock.
    pub(crate) ticked: Duration,
}

impl Committer {
    /// Runs until a message closes the store or all senders are dropped.
    pub(crate) fn serve(mut self) {
        loop {
            match self.queue.recv_timeout(TICK) {
                Ok(message) => {
                    self.idle = Duration::ZERO;
                    let (jobs, next) = self.gather(message);
                    self.numbers.taken(jobs.len());
                    self.run_group(jobs);
                    if self.clock.monotonic().saturating_sub(self.ticked) >= TICK {
                        self.tick();
                    }
                    match next {
                        None | Some(Message::Work(_)) => {}
                        Some(Message::Feed(request)) => self.answer_feed(request),
                        #[cfg(test)]
                        Some(Message::LoseEvents) => self.feed.lose_next(),
                        Some(Message::Close(caller)) => {
                            let closed = self.close();
                            // Dropping the ledger releases its lock: a caller that receives the answer may open
                            // the store again. Dropping the feed reports its end.
                            drop(self);
                            let _gone = caller.send(closed);
                            return;
                        }
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
        self.close_gap();
    }

    /// Takes the operations that are queued, without waiting for more. Ends at a message of another
    /// kind, which is returned.
    fn gather(&self, first: Message) -> (Vec<Job>, Option<Message>) {
        let mut jobs = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Work(job) => jobs.push(job),
                other => return (jobs, Some(other)),
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
            done.answer(if depends { durable.clone() } else { Ok(()) });
        }
    }

    /// Runs one operation on top of the writes of its group. Also returns whether its outcome depends
    /// on the batch.
    fn run(&mut self, job: Job, group: &mut Batch) -> Option<(Done, bool)> {
        let mut view = self.view(group);
        // An operation that panics loses its own writes and its answer. The store continues.
        let done = catch_unwind(AssertUnwindSafe(|| job.run(&mut view)));
        let (writes, saw_group) = view.finish();
        let Ok(done) = done else {
            tracing::error!("a store operation panicked; nothing of it is applied");
            return None;
        };
        let wrote = done.succeeded() && !writes.is_empty();
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
                Err(error) => tracing::warn!(%error, "recorded activity could not be written"),
            }
            self.touches.settle(&session);
        }
    }

    /// Adds the time to the batch. No record is then younger than the time that the store has
    /// reached, and a record that has expired by then stays expired.
    fn keep_time(&mut self, group: &mut Batch) {
        let now = self.clock.now();
        match codec::encode(META_CLOCK, &now) {
            Ok(bytes) => {
                group.writes.insert(META_CLOCK.to_vec(), Some(bytes));
                self.reached = Some(now);
            }
            Err(error) => tracing::error!(%error, "the time could not be stored"),
        }
    }

    fn commit(&mut self, group: &mut Batch, operations: usize) -> Result<(), StoreError> {
        self.numbers.commit_begins(self.clock.monotonic());
        let sealed = seal(self.ledger.as_mut(), group, Commit::default());
        // Includes the record of the commit itself: a snapshot shows the number of its own commit.
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
        // A batch that may be in the log counts as one that is: a repeated call finds the session
        // ended, and there is no revocation left to deliver.
        if matches!(outcome, Ok(_) | Err(StoreError::Indeterminate)) {
            self.feed.publish(group);
            self.close_gap();
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

    fn answer_feed(&mut self, request: FeedRequest) {
        self.numbers.taken(1);
        let read = self.revocation_snapshot();
        self.feed.answer(request, read);
    }

    /// Reads everything in force. Called between two batches.
    fn revocation_snapshot(&mut self) -> Result<RevocationSnapshot, StoreError> {
        let at = self.feed.position();
        self.view(&Batch::default()).revocation_snapshot(at)
    }

    /// Delivers a snapshot if a gap was reported. Repeated until it succeeds.
    fn close_gap(&mut self) {
        if !self.feed.has_gap() {
            return;
        }
        match self.revocation_snapshot() {
            Ok(snapshot) => self.feed.resume(&snapshot),
            Err(error) => tracing::error!(%error, "the revocations in force cannot be read"),
        }
    }

    /// Writes the recorded activity and releases the files.
    fn close(&mut self) -> Result<(), StoreError> {
        while self.touches.waiting_since().is_some() {
            self.run_group(Vec::new());
        }
        if self.reached.is_some_and(|at| at < self.clock.now()) {
            let mut last = Batch::default();
            self.keep_time(&mut last);
            // A failure is in the log. Everything that was acknowledged is written.
            drop(self.commit(&mut last, 0));
        }
        self.ledger.close()
    }
}
