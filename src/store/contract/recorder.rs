//! Which events does a subscriber of the revocation feed receive?

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::model::revocation::Revocation;
use crate::store::contract::Subject;
use crate::store::{
    FeedEvent, FeedPosition, RevocationFeed, RevocationSnapshot, RevocationSubscriber,
};
use crate::types::ids::SessionId;
use crate::types::time::Timestamp;

/// An event, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Delivered {
    Snapshot(RevocationSnapshot),
    Revoked(FeedPosition, Vec<Revocation>),
    EndedThrough(FeedPosition, Timestamp),
    Gap,
    Closed,
}

/// A subscriber that records all events.
#[derive(Debug)]
pub(super) struct Recorder {
    events: Mutex<Vec<Delivered>>,
    ended: UnboundedSender<SessionId>,
}

impl RevocationSubscriber for Recorder {
    fn deliver(&self, event: &FeedEvent<'_>) {
        let event = match *event {
            FeedEvent::Snapshot(snapshot) => Delivered::Snapshot(snapshot.clone()),
            FeedEvent::Revoked { at, revocations } => {
                for revocation in revocations {
                    self.ended.send(revocation.session).ok();
                }
                Delivered::Revoked(at, revocations.to_vec())
            }
            FeedEvent::EndedThrough { at, moment } => Delivered::EndedThrough(at, moment),
            FeedEvent::Gap => Delivered::Gap,
            FeedEvent::Closed => Delivered::Closed,
        };
        self.events.lock().push(event);
    }
}

impl Recorder {
    pub(super) fn new() -> (Arc<Self>, UnboundedReceiver<SessionId>) {
        let (ended, receiver) = unbounded_channel();
        let events = Mutex::default();
        (Arc::new(Self { events, ended }), receiver)
    }

    pub(super) async fn subscribed<S: RevocationFeed>(s: &Subject<S>) -> Arc<Self> {
        let (recorder, _) = Self::new();
        s.store.subscribe(recorder.clone()).await.unwrap();
        recorder
    }

    pub(super) fn events(&self) -> Vec<Delivered> {
        self.events.lock().clone()
    }

    /// The sessions of all events, in order of delivery. Those of a snapshot come first.
    pub(super) fn sessions(&self) -> Vec<SessionId> {
        let mut found = Vec::new();
        for event in self.events() {
            match event {
                Delivered::Snapshot(snapshot) => found.extend(ids(&snapshot.revocations)),
                Delivered::Revoked(_, revocations) => found.extend(ids(&revocations)),
                Delivered::EndedThrough(..) | Delivered::Gap | Delivered::Closed => {}
            }
        }
        found
    }

    /// Whether it begins with a snapshot, and the positions of later events are greater.
    pub(super) fn positions(&self) -> Result<(), String> {
        let mut last = None;
        for event in self.events() {
            let at = match (&event, last) {
                (Delivered::Snapshot(snapshot), _) => snapshot.at,
                (_, None) => return Err(format!("{event:?} came before the snapshot")),
                (Delivered::Revoked(at, _) | Delivered::EndedThrough(at, _), Some(last))
                    if *at > last =>
                {
                    *at
                }
                (Delivered::Gap | Delivered::Closed, Some(last)) => last,
                (_, Some(last)) => return Err(format!("{event:?} came after {last:?}")),
            };
            if last.is_some_and(|last| at < last) {
                return Err(format!("{event:?} is older than {last:?}"));
            }
            last = Some(at);
        }
        Ok(())
    }
}

/// The sessions of some revocations.
pub(super) fn ids(revocations: &[Revocation]) -> impl Iterator<Item = SessionId> {
    revocations.iter().map(|revocation| revocation.session)
}
