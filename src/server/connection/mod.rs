//! The life of one client connection: what is spoken on it is found out, hyper reads requests from it,
//! the pipeline answers them, and a watch keeps time.
//!
//! ```text
//! accepted ─→ opening (PROXY header, TLS, which HTTP) ─→ http1 or http2 ─→ the pipeline, per request
//!                └────────── vigil: keeps time from the first moment to the last ──────────┘
//! ```

mod frames;
mod handshakes;
mod http1;
mod http2;
mod occupied;
mod opening;
mod pace;
mod progress;
mod rest;
mod secure;
mod transport;
mod turns;
mod vigil;
mod watched;

use std::future::{Future as _, poll_fn};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;

use crate::server::connection::opening::{HttpVersion, Opened};
use crate::server::connection::vigil::Order;
use crate::server::peer::Peer;
use crate::server::stream::Stream;
use crate::server::worker::{Open, Worker};

pub(super) use handshakes::Handshakes;
pub use occupied::Occupied;
pub use pace::{Paced, TooSlow};
pub use progress::Progress;
pub use vigil::Deadlines;
pub(super) use vigil::Vigil;

/// Serves one connection until it ends, or until its watch cuts it.
pub(super) async fn serve(stream: Stream, address: IpAddr, open: Open) {
    let vigil = Arc::clone(&open.vigil);
    let mut life = Box::pin(live(stream, address, open));
    let mut is_listening = false;
    poll_fn(|task| {
        if !is_listening {
            vigil.listen(task.waker());
            is_listening = true;
        }
        if vigil.is_told(Order::Cut) {
            return Poll::Ready(());
        }
        life.as_mut().poll(task)
    })
    .await;
    vigil.turns.cut();
}

async fn live(stream: Stream, address: IpAddr, open: Open) {
    let _noted = Noted(Arc::clone(&open.worker));
    let Some(opened) = Box::pin(opening::open(stream, address, open)).await else {
        return;
    };
    let Opened {
        transport,
        protocol,
        peer,
    } = opened;
    match protocol {
        HttpVersion::Http1 => http1::serve(transport, peer).await,
        HttpVersion::Http2 => Box::pin(http2::serve(transport, peer)).await,
    }
}

/// Counts a panic that ends the task it lives in.
#[derive(Debug)]
struct Noted(Arc<Worker>);

impl Noted {
    fn new(peer: &Peer) -> Self {
        Self(Arc::clone(&peer.open.worker))
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.pipeline().metrics.panicked();
        }
    }
}
