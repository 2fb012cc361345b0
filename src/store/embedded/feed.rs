//! How does an embedded store deliver revocations? From its thread, with each commit.
//!
//! The thread that commits also owns the subscribers. It reads the records of revocations in the
//! batch that it has committed and delivers them before it answers the callers of that batch. A
//! snapshot is read by the same thread between two batches, so no event can fall between a snapshot
//! and the live events after it.
//!
//! A subscriber that panics has lost an event. That is a gap like any other, and the thread continues. If
//! the thread itself panics, the feed is dropped and thereby closed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use crate::model::revocation::Revocation;
use crate::store::codec;
use crate::store::embedded::keys::{self, META_END_ALL};
use crate::store::embedded::ledger::Batch;
use crate::store::embedded::records::{StoredEndAll, StoredRevocation};
use crate::store::{FeedEvent, FeedPosition, RevocationSnapshot, RevocationSubscriber, StoreError};
use crate::types::time::Timestamp;

/// A request to the thread that owns the feed.
pub(crate) struct FeedRequest {
    /// The subscriber to attach, if any.
    pub(crate) subscriber: Option<Arc<dyn RevocationSubscriber>>,
    /// Receives the snapshot.
    pub(crate) caller: oneshot::Sender<Result<RevocationSnapshot, StoreError>>,
}

/// The subscribers and the position of the feed. Owned by the thread of the store.
#[derive(Default)]
pub(crate) struct Feed {
    subscribers: Vec<Arc<dyn RevocationSubscriber>>,
    /// Events so far.
    position: u128,
    /// Whether every event up to the position was delivered. Read by other threads.
    is_complete: Arc<Completeness>,
    /// Makes the next events disappear, for tests of the gap.
    #[cfg(test)]
    loses_next: bool,
}

/// Whether the subscribers know every revocation of the store.
#[derive(Debug)]
pub(crate) struct Completeness(AtomicBool);

impl Completeness {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Default for Completeness {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl Feed {
    /// The flag that tells other threads whether the feed is complete.
    pub(crate) fn completeness(&self) -> Arc<Completeness> {
        Arc::clone(&self.is_complete)
    }

    /// Whether a gap was reported and no snapshot was delivered since.
    pub(crate) fn has_gap(&self) -> bool {
        !self.is_complete.0.load(Ordering::Relaxed)
    }

    /// Answers a request with the snapshot that was read for it. The subscriber is attached only when
    /// its caller still waits, so that one that repeats the call after a timeout is not attached
    /// twice.
    pub(crate) fn answer(
        &mut self,
        request: FeedRequest,
        read: Result<RevocationSnapshot, StoreError>,
    ) {
        let FeedRequest { subscriber, caller } = request;
        let (Some(subscriber), Ok(snapshot)) = (&subscriber, &read) else {
            // A caller that was dropped needs no answer.
            let _gone = caller.send(read);
            return;
        };
        if !deliver_to(&**subscriber, &FeedEvent::Snapshot(snapshot)) {
            // Dropping the channel is an error for the caller.
            return;
        }
        if caller.send(read).is_ok() {
            self.subscribers.push(Arc::clone(subscriber));
        } else {
            deliver_to(&**subscriber, &FeedEvent::Closed);
        }
    }

    /// Delivers the revocations of a batch that is, or may be, in the log.
    pub(crate) fn publish(&mut self, batch: &Batch) {
        #[cfg(test)]
        if std::mem::take(&mut self.loses_next) {
            self.position += 1;
            return self.report_gap();
        }
        match revocations_in(batch) {
            Ok(revocations) if revocations.is_empty() => {}
            Ok(revocations) => {
                let at = self.next_position();
                let revocations = &revocations;
                self.deliver(&FeedEvent::Revoked { at, revocations });
            }
            Err(error) => {
                tracing::error!(%error, "a revocation could not be delivered");
                self.report_gap();
            }
        }
        match end_of_all_in(batch) {
            Ok(None) => {}
            Ok(Some(moment)) => {
                let at = self.next_position();
                self.deliver(&FeedEvent::EndedThrough { at, moment });
            }
            Err(error) => {
                tracing::error!(%error, "the end of all sessions could not be delivered");
                self.report_gap();
            }
        }
    }

    /// Closes a gap with the snapshot that was read for it.
    pub(crate) fn resume(&mut self, snapshot: &RevocationSnapshot) {
        if self.deliver(&FeedEvent::Snapshot(snapshot)) {
            self.is_complete.0.store(true, Ordering::Release);
        }
    }

    /// The position of the last event.
    pub(crate) fn position(&self) -> FeedPosition {
        FeedPosition(self.position)
    }

    #[cfg(test)]
    pub(crate) fn lose_next(&mut self) {
        self.loses_next = true;
    }

    fn report_gap(&self) {
        self.is_complete.0.store(false, Ordering::Release);
        self.deliver_to_all(&FeedEvent::Gap);
    }

    fn next_position(&mut self) -> FeedPosition {
        self.position += 1;
        FeedPosition(self.position)
    }

    /// Delivers an event to every subscriber. If one of them panics, a gap is reported to all.
    fn deliver(&self, event: &FeedEvent<'_>) -> bool {
        let is_delivered = self.deliver_to_all(event);
        if !is_delivered {
            self.report_gap();
        }
        is_delivered
    }

    /// Returns whether no subscriber panicked.
    fn deliver_to_all(&self, event: &FeedEvent<'_>) -> bool {
        let mut is_delivered = true;
        for subscriber in &self.subscribers {
            is_delivered &= deliver_to(&**subscriber, event);
        }
        is_delivered
    }
}

impl Drop for Feed {
    /// Reports the end of the feed, also when the thread of the store panicked.
    fn drop(&mut self) {
        self.is_complete.0.store(false, Ordering::Release);
        self.deliver_to_all(&FeedEvent::Closed);
    }
}

/// Returns whether the subscriber took the event into account. If not, it panicked.
fn deliver_to(subscriber: &dyn RevocationSubscriber, event: &FeedEvent<'_>) -> bool {
    let delivered = catch_unwind(AssertUnwindSafe(|| subscriber.deliver(event)));
    if delivered.is_err() {
        tracing::error!("a subscriber of revocations panicked; an event is lost");
    }
    delivered.is_ok()
}

/// The revocations that a batch writes.
fn revocations_in(batch: &Batch) -> Result<Vec<Revocation>, StoreError> {
    let mut found = Vec::new();
    for (key, write) in batch.within(&keys::revocations()) {
        if let Some(bytes) = write {
            let stored: StoredRevocation = codec::decode(key, bytes)?;
            found.push(stored.revocation);
        }
    }
    Ok(found)
}

/// The moment of the end of all sessions that a batch writes.
fn end_of_all_in(batch: &Batch) -> Result<Option<Timestamp>, StoreError> {
    let Some(Some(bytes)) = batch.writes.get(META_END_ALL) else {
        return Ok(None);
    };
    let stored: StoredEndAll = codec::decode(META_END_ALL, bytes)?;
    Ok(Some(stored.through))
}
