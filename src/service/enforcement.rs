//! How does a revocation take effect in this process? First for new requests, then for open streams.
//!
//! The feed of the store delivers each revocation before the call that wrote it returns. When a
//! log-out is answered, the next request with the access token is therefore refused, and every open
//! stream of the session has been notified.

use std::sync::Arc;

use crate::model::revocation::Revocation;
use crate::service::Service;
use crate::service::error::AuthError;
use crate::service::liveness::Liveness;
use crate::service::streams::Streams;
use crate::store::{FeedEvent, RevocationFeed as _, RevocationSubscriber};
use crate::types::time::Timestamp;

/// Applies the events of the revocation feed.
#[derive(Debug)]
struct Enforcement {
    liveness: Arc<Liveness>,
    streams: Arc<Streams>,
}

impl Enforcement {
    /// The order matters: a stream that is opened in between is checked against `liveness`.
    fn apply(&self, revocations: &[Revocation]) {
        self.liveness.apply(revocations);
        for revocation in revocations {
            self.streams.apply(revocation);
        }
    }

    fn end_through(&self, moment: Timestamp) {
        self.liveness.end_through(moment);
        self.streams.end_through(moment);
    }
}

impl RevocationSubscriber for Enforcement {
    fn deliver(&self, event: &FeedEvent<'_>) {
        match event {
            FeedEvent::Snapshot(snapshot) => {
                if let Some(moment) = snapshot.ended_through {
                    self.end_through(moment);
                }
                self.apply(&snapshot.revocations);
                self.liveness.set_complete(true);
            }
            FeedEvent::Revoked { revocations, .. } => self.apply(revocations),
            FeedEvent::EndedThrough { moment, .. } => self.end_through(*moment),
            FeedEvent::Gap | FeedEvent::Closed => self.liveness.set_complete(false),
        }
    }
}

impl Service {
    /// Subscribes to the revocations of the store, and loads the secret that log-ins need. No request
    /// is authorized before this has succeeded.
    pub async fn follow_revocations(&self) -> Result<(), AuthError> {
        let enforcement = Enforcement {
            liveness: Arc::clone(&self.parts.liveness),
            streams: Arc::clone(&self.parts.streams),
        };
        self.parts.store.subscribe(Arc::new(enforcement)).await?;
        // So that the first log-in takes no longer than the others.
        self.decoy_key().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::revocation::RevocationEffect;
    use crate::model::session::Session;
    use crate::rules::session::sample;
    use crate::service::streams::{OpenStream, Opener, StreamRegistry};
    use crate::store::{FeedPosition, RevocationSnapshot};

    struct Subject {
        enforcement: Enforcement,
        registry: Arc<StreamRegistry>,
        session: Session,
    }

    impl Subject {
        fn new() -> Self {
            let liveness = Arc::new(Liveness::new());
            let streams = Arc::new(Streams::new(Arc::clone(&liveness)));
            Self {
                registry: streams.registry(),
                enforcement: Enforcement { liveness, streams },
                session: sample(Timestamp::from_secs(1_000)),
            }
        }

        fn snapshot(&self, revocations: Vec<Revocation>, ended_through: Option<Timestamp>) {
            let snapshot = RevocationSnapshot {
                at: FeedPosition(1),
                revocations,
                ended_through,
            };
            self.enforcement.deliver(&FeedEvent::Snapshot(&snapshot));
        }

        fn open(&self) -> OpenStream {
            self.registry.open(Opener {
                session: &self.session.key,
                version: None,
                expires_at: Timestamp::MAX,
            })
        }

        fn revocation(&self) -> Revocation {
            Revocation {
                session: self.session.key.id,
                effect: RevocationEffect::Ended,
                until: Timestamp::MAX,
            }
        }

        fn is_admitted(&self) -> bool {
            let liveness = &self.enforcement.liveness;
            liveness.is_complete() && liveness.admits(self.session.key.id, None)
        }
    }

    #[test]
    fn a_live_revocation_refuses_the_next_request_and_ends_open_streams() {
        let subject = Subject::new();
        assert!(!subject.is_admitted(), "nothing is complete yet");
        subject.snapshot(vec![], None);
        let mut stream = subject.open();
        assert!(subject.is_admitted() && !stream.is_over());
        subject.enforcement.deliver(&FeedEvent::Revoked {
            at: FeedPosition(2),
            revocations: &[subject.revocation()],
        });
        assert!(!subject.is_admitted() && stream.is_over());
    }

    #[test]
    fn a_snapshot_after_a_gap_ends_the_streams_of_sessions_that_ended_in_it() {
        for by_moment in [false, true] {
            let subject = Subject::new();
            subject.snapshot(vec![], None);
            let mut stream = subject.open();
            subject.enforcement.deliver(&FeedEvent::Gap);
            assert!(!subject.is_admitted() && !stream.is_over());
            if by_moment {
                subject.snapshot(vec![], Some(subject.session.key.id.made_at()));
            } else {
                subject.snapshot(vec![subject.revocation()], None);
            }
            assert!(subject.enforcement.liveness.is_complete());
            assert!(!subject.is_admitted() && stream.is_over());
        }
    }

    #[test]
    fn a_closed_feed_leaves_nothing_that_could_be_accepted() {
        let subject = Subject::new();
        subject.snapshot(vec![], None);
        subject.enforcement.deliver(&FeedEvent::Closed);
        assert!(!subject.is_admitted());
    }
}
