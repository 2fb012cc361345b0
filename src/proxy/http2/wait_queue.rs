//! How many requests wait for a stream, and for how long?

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use crate::proxy::error::UpstreamError;
use crate::proxy::semaphore::MAX_WAITING;

/// The number of requests that wait for a stream, at most [`MAX_WAITING`].
#[derive(Debug)]
pub(super) struct WaitQueue {
    waiting: AtomicUsize,
    limit: Duration,
}

impl WaitQueue {
    /// A queue in which a request waits for `limit` at most.
    pub(super) const fn new(limit: Duration) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            limit,
        }
    }

    /// Waits for the result of the future.
    ///
    /// # Errors
    ///
    /// `Overloaded` when the queue is full, or the future is not ready in time.
    pub(super) async fn wait<F: Future>(&self, future: F) -> Result<F::Output, UpstreamError> {
        let _entry = Entry::new(&self.waiting)?;
        let ended = timeout(self.limit, future).await;
        ended.map_err(|_| UpstreamError::overloaded())
    }
}

/// One waiting request, counted until it is dropped.
struct Entry<'a>(&'a AtomicUsize);

impl<'a> Entry<'a> {
    fn new(waiting: &'a AtomicUsize) -> Result<Self, UpstreamError> {
        let entry = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            return Err(UpstreamError::overloaded());
        }
        Ok(entry)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
