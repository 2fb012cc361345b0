//! How does an idle HTTP/1.1 connection release its memory?
//!
//! hyper's state and buffers, 20 KB of them, are dropped after a few seconds without a request, and are
//! built again when the client sends something.

use std::future::poll_fn;
use std::task::Poll;

use tokio::io::AsyncWriteExt as _;

use crate::net::connection::command::ConnectionCommand;
use crate::net::connection::handle::Connection;
use crate::net::connection::transport::Transport;

/// Waits until the client sends something, or closes. Returns `false` when the connection was asked to
/// close before that, and has been closed.
pub(crate) async fn wait(transport: &mut Transport, connection: &Connection) -> bool {
    let state = &connection.registered.state;
    let counted = Counted::new(connection);
    let is_ready = poll_fn(|task| {
        if state.has_command(ConnectionCommand::Close) {
            return Poll::Ready(false);
        }
        // An error occurs again, and is handled, in the next read.
        transport.poll_readable(task).map(|_| true)
    })
    .await;
    drop(counted);
    state.ends_idle();
    if !is_ready && let Err(error) = transport.shutdown().await {
        tracing::debug!(%error, "an idle client connection could not be shut down");
    }
    is_ready
}

/// Counts an idle connection until dropped.
struct Counted<'a>(&'a Connection);

impl<'a> Counted<'a> {
    fn new(connection: &'a Connection) -> Self {
        connection.registered.connections.metrics().rests();
        Self(connection)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.registered.connections.metrics().rested();
    }
}
