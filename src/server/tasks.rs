//! The one place that starts tasks, so that whoever looks for them finds them all.

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
