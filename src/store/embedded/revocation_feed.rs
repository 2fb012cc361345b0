//! How do subscribers attach to the feed of an embedded store?

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::store::embedded::Embedded;
use crate::store::embedded::feed::FeedRequest;
use crate::store::embedded::jobs::Message;
use crate::store::embedded::keys;
use crate::store::embedded::records::StoredRevocation;
use crate::store::embedded::transaction::Transaction;
use crate::store::{
    FeedPosition, Freshness, RevocationFeed, RevocationSnapshot, RevocationSubscriber, StoreError,
};

impl RevocationFeed for Embedded {
    async fn subscribe(&self, subscriber: Arc<dyn RevocationSubscriber>) -> Result<(), StoreError> {
        self.ask_feed(Some(subscriber)).await.map(|_| ())
    }

    async fn revocations(&self) -> Result<RevocationSnapshot, StoreError> {
        self.ask_feed(None).await
    }

    fn freshness(&self) -> Freshness {
        if self.is_complete.get() {
            Freshness::Current
        } else {
            Freshness::Unknown
        }
    }
}

impl Embedded {
    async fn ask_feed(
        &self,
        subscriber: Option<Arc<dyn RevocationSubscriber>>,
    ) -> Result<RevocationSnapshot, StoreError> {
        let (caller, outcome) = oneshot::channel();
        let request = FeedRequest { subscriber, caller };
        self.send_counted(Message::Feed(request))?;
        self.wait(outcome).await
    }

    /// Makes the feed lose the events of the next commit, and detect that it did.
    #[cfg(test)]
    pub(crate) fn lose_events(&self) {
        assert!(self.send(Message::LoseEvents));
    }
}

impl Transaction<'_> {
    /// Everything in force at this position.
    pub(crate) fn revocation_snapshot(
        &mut self,
        at: FeedPosition,
    ) -> Result<RevocationSnapshot, StoreError> {
        let now = self.now;
        let all: Vec<StoredRevocation> = self.all(keys::revocations())?;
        let revocations = all.into_iter().map(|stored| stored.revocation);
        Ok(RevocationSnapshot {
            at,
            revocations: revocations.filter(|entry| now < entry.until).collect(),
            ended_through: self.over()?.through(),
        })
    }
}
