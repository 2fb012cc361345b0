//! Where are tasks started? Only here, so that all of them are found by one search.

use std::future::Future;

use tokio::task::JoinHandle;

/// Starts a task on this thread's runtime.
#[expect(clippy::disallowed_methods, reason = "the one place that starts tasks")]
pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}
