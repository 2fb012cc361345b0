//! What an idle connection costs: hyper's state and its buffers, 20 KB of them, are dropped after a few
//! seconds without a request and built again when the client sends something.

use std::future::poll_fn;
use std::task::Poll;

use tokio::io::AsyncWriteExt as _;

use crate::server::connection::transport::Transport;
use crate::server::connection::vigil::Order;
use crate::server::peer::Peer;

/// Waits until the client sends something, or closes; `false` when the connection was asked to close
/// before that, and has been closed.
pub(super) async fn rest(transport: &mut Transport, peer: &Peer) -> bool {
    let vigil = &peer.open.vigil;
    let counted = Counted::new(peer);
    let is_ready = poll_fn(|task| {
        if vigil.is_told(Order::Leave) {
            return Poll::Ready(false);
        }
        // An error is found again and handled by the next read.
        transport.poll_readable(task).map(|_| true)
    })
    .await;
    drop(counted);
    vigil.ends_rest();
    if !is_ready && let Err(error) = transport.shutdown().await {
        tracing::debug!(%error, "an idle client connection could not be closed in order");
    }
    is_ready
}

/// Counts a resting connection for as long as it lives.
struct Counted<'a>(&'a Peer);

impl<'a> Counted<'a> {
    fn new(peer: &'a Peer) -> Self {
        peer.open.worker.pipeline().metrics.rests();
        Self(peer)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.open.worker.pipeline().metrics.rested();
    }
}
