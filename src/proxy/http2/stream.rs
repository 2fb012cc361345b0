//! The reservation of one stream on an HTTP/2 connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use tokio::sync::Notify;

use crate::proxy::error::UpstreamError;
use crate::proxy::http2::status::ConnectionStatus;
use crate::proxy::pool::Pool;
use crate::proxy::upstream::Upstream;

/// One stream of a connection; released when dropped.
#[derive(Debug)]
pub(super) struct ReservedStream {
    pool: Arc<Pool>,
    sender: SendRequest<Bytes>,
    pub(super) status: Arc<ConnectionStatus>,
    released: Arc<Notify>,
    /// Whether the connection served another request before.
    pub(super) reused: bool,
}

impl ReservedStream {
    /// Reserves a stream. `released` is notified when it is dropped.
    pub(super) fn new(
        pool: &Arc<Pool>,
        sender: &SendRequest<Bytes>,
        status: &Arc<ConnectionStatus>,
        released: &Arc<Notify>,
    ) -> Self {
        let reused = status.reserve();
        if reused {
            let counters = &pool.upstream.counters;
            counters.reused.fetch_add(1, Ordering::Relaxed);
        }
        Self {
            pool: Arc::clone(pool),
            sender: sender.clone(),
            status: Arc::clone(status),
            released: Arc::clone(released),
            reused,
        }
    }

    pub(super) fn upstream(&self) -> &Upstream {
        &self.pool.upstream
    }

    /// Opens the stream with the head of the request.
    ///
    /// # Errors
    ///
    /// When the connection takes no more streams; it is not used again then.
    pub(super) async fn open(
        &mut self,
        head: Request<()>,
        empty: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), UpstreamError> {
        let opened = match self.sender.clone().ready().await {
            Ok(mut sender) => sender.send_request(head, empty),
            Err(error) => Err(error),
        };
        opened.map_err(|error| {
            self.status.close();
            UpstreamError::of_http2(error)
        })
    }
}

impl Drop for ReservedStream {
    fn drop(&mut self) {
        self.status.release();
        self.released.notify_one();
    }
}
