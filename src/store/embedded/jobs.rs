//! How does a call reach the thread of the store, and its outcome the caller? As a message with a
//! one-shot channel.

use tokio::sync::oneshot;

use crate::store::StoreError;
use crate::store::embedded::feed::FeedRequest;
use crate::store::embedded::transaction::Transaction;

/// A message to the thread.
pub(crate) enum Message {
    /// An operation, to run in a group with others.
    Work(Job),
    /// A request to the revocation feed. Runs after the group in front of it.
    Feed(FeedRequest),
    /// Stop after the group in front of it, release the files and report the outcome.
    Close(oneshot::Sender<Result<(), StoreError>>),
    /// Lose the events of the next commit.
    #[cfg(test)]
    LoseEvents,
}

/// One operation.
pub(crate) struct Job {
    run: Box<dyn FnOnce(&mut Transaction<'_>) -> Done + Send>,
}

/// An operation that has run and waits until its writes are durable.
pub(crate) struct Done {
    succeeded: bool,
    answer: Box<dyn FnOnce(Result<(), StoreError>)>,
}

impl Job {
    /// An operation, and the channel for its outcome.
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
                        // A caller that was dropped needs no answer.
                        let _gone = caller.send(durable.and(outcome));
                    }),
                }
            }),
        }
    }

    /// Runs the operation.
    pub(crate) fn run(self, view: &mut Transaction<'_>) -> Done {
        (self.run)(view)
    }
}

impl Done {
    /// Whether the operation returned an outcome. If not, its writes are discarded.
    pub(crate) fn succeeded(&self) -> bool {
        self.succeeded
    }

    /// Sends the outcome to the caller: that of the operation, or the error of its batch.
    pub(crate) fn answer(self, durable: Result<(), StoreError>) {
        (self.answer)(durable);
    }
}
