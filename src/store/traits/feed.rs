//! How does a process learn that a session has ended? Through the revocation feed of its store.
//!
//! A session can be ended by any process that uses the store. The feed therefore delivers every
//! revocation to every subscriber, whichever process wrote it:
//!
//! 1. first a [`RevocationSnapshot`]: everything in force at one position of the log;
//! 2. then live events, in the order in which they were committed, without a hole;
//! 3. after a [`FeedEvent::Gap`], a new snapshot, and live events again;
//! 4. [`FeedEvent::Closed`] at the end.
//!
//! An engine inside the process delivers from its commit. An engine with a shared store delivers from
//! a task that reads the log of revocations; it reports a gap when the log no longer reaches back to
//! its last position, or when the store was replaced or restored, and it states by [`Freshness`] how
//! old its knowledge is.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::model::revocation::Revocation;
use crate::store::StoreError;
use crate::types::time::Timestamp;

/// Delivers revocations.
///
/// The promises, which the contract suite checks for every engine:
///
/// - No hole: what was committed before the subscription is in the first snapshot, all else is delivered live.
///   There is no gap between the two.
/// - Order: events are delivered in the order of their commits, so those of one session as well.
/// - Nothing is delivered before it is committed. If the outcome of a commit is unknown
///   ([`StoreError::Indeterminate`]), its revocations are delivered: a revocation that may be in the
///   log is in force.
/// - A revocation that this process writes is delivered to its own subscribers before the call that
///   wrote it returns, and also when the future of that call was dropped.
/// - A loss of events is reported as a gap and followed by a new snapshot, without a call by the
///   subscriber.
pub trait RevocationFeed: Send + Sync + 'static {
    /// Attaches a subscriber for as long as the store is open. The first snapshot has been delivered
    /// when this returns `Ok`. After an error the subscriber is not attached.
    fn subscribe(
        &self,
        subscriber: Arc<dyn RevocationSubscriber>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Everything in force now, for a caller that needs no live events. Contains every revocation
    /// that was acknowledged before the call.
    fn revocations(&self) -> impl Future<Output = Result<RevocationSnapshot, StoreError>> + Send;

    /// How complete the knowledge of the subscribers is. Reads memory only.
    fn freshness(&self) -> Freshness;
}

/// Receives the events of a [`RevocationFeed`].
pub trait RevocationSubscriber: Send + Sync {
    /// Takes one event into account before it returns. Called by one thread at a time. It must not
    /// wait for anything, because a write may not be acknowledged until this returns, and it must not
    /// call the store. If it panics, the event is lost, which is a gap for all subscribers.
    fn deliver(&self, event: &FeedEvent<'_>);
}

/// One event of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedEvent<'a> {
    /// Everything in force at a position. It completes what earlier events have delivered, and it
    /// revokes none of them.
    Snapshot(&'a RevocationSnapshot),
    /// These revocations were committed together.
    Revoked {
        /// The position of this event.
        at: FeedPosition,
        /// One for each session.
        revocations: &'a [Revocation],
    },
    /// All sessions made up to a moment have ended.
    EndedThrough {
        /// The position of this event.
        at: FeedPosition,
        /// The moment.
        moment: Timestamp,
    },
    /// Events may be missing. What was delivered stays in force. Until the next snapshot, it is
    /// unknown which other sessions have ended.
    Gap,
    /// The store is closed, or can deliver nothing more. No event follows.
    Closed,
}

/// Everything in force at one position of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationSnapshot {
    /// Contains the events up to and including this position.
    pub at: FeedPosition,
    /// The revocations that can still matter. An entry is dropped only after its `until`.
    pub revocations: Vec<Revocation>,
    /// The moment up to which all sessions have ended, if there is one.
    pub ended_through: Option<Timestamp>,
}

/// A position in a feed. Later events have greater positions; the distance between two positions has
/// no meaning. An engine chooses the numbers: a counter, or the id of a log entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct FeedPosition(pub u128);

/// Up to which moment the subscribers of a feed know every revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Up to now: every revocation is delivered before its write is acknowledged. Always so for an
    /// engine inside the process.
    Current,
    /// Every revocation that was acknowledged before this moment of the monotonic clock
    /// ([`Clock::monotonic`](crate::types::time::Clock::monotonic)), by any process, was delivered.
    /// An engine with a shared store moves it with each heartbeat that it reads in the log. The
    /// moment is taken before the read, so no clock of another machine is involved.
    Through(Duration),
    /// Unknown: there was no complete snapshot since the last gap, or the store is closed.
    Unknown,
}
