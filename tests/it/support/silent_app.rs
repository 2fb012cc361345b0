//! How does a test keep a request open? An application that reads the request and never completes its
//! answer.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::support::scripted::{head, serve};
use crate::support::wait::until;

/// One second is required, the rest allows for a busy machine. The application and the client would wait
/// longer.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// An application that sends `before` when a request arrives and then reads until its connection ends.
pub(crate) struct SilentApp {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<AtomicUsize>,
    pub(crate) bytes: Arc<AtomicUsize>,
    pub(crate) ended: Arc<AtomicUsize>,
}

impl SilentApp {
    pub(crate) fn start(before: &'static [u8]) -> Self {
        let counters = <[Arc<AtomicUsize>; 3]>::default();
        let [requests, bytes, ended] = counters.clone();
        let address = serve(move |mut stream| {
            if head(&mut stream).is_none() {
                return;
            }
            drop(stream.write_all(before));
            counters[0].fetch_add(1, Ordering::SeqCst);
            let mut portion = [0; 1024];
            while let Ok(count @ 1..) = stream.read(&mut portion) {
                counters[1].fetch_add(count, Ordering::SeqCst);
            }
            counters[2].fetch_add(1, Ordering::SeqCst);
        });
        Self {
            address,
            requests,
            bytes,
            ended,
        }
    }

    pub(crate) async fn has_request(&self) {
        until(|| (self.requests.load(Ordering::SeqCst) == 1).then_some(())).await;
    }

    pub(crate) async fn has_read(&self, bytes: usize) {
        until(|| (self.bytes.load(Ordering::SeqCst) >= bytes).then_some(())).await;
    }

    pub(crate) async fn ended_soon(&self, since: Instant) {
        until(|| (self.ended.load(Ordering::SeqCst) == 1).then_some(())).await;
        assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    }
}
