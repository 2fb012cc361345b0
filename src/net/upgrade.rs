//! How is the connection of a request taken over after it has switched protocols?

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::net::connection::h2_tunnel::H2Tunnel;
use crate::net::stream::read_and_write_through;

/// The protocol of an extended CONNECT (RFC 8441), in the extensions of its request.
pub use h2::ext::Protocol;

/// A client's connection, or HTTP/2 stream, that carries another protocol.
#[derive(Debug)]
pub enum Upgraded {
    /// A connection of HTTP/1.1.
    Http1(TokioIo<hyper::upgrade::Upgraded>),
    /// A stream of HTTP/2.
    Http2(H2Tunnel),
}

read_and_write_through!(Upgraded: Http1, Http2);

/// Becomes the client's connection once the response to its request has been sent.
#[derive(Debug)]
pub struct OnUpgrade(Pending);

#[derive(Debug)]
enum Pending {
    Http1(hyper::upgrade::OnUpgrade),
    Http2(oneshot::Receiver<H2Tunnel>),
}

/// In the extensions of a request over HTTP/2 that may switch protocols. They have to be cloneable, so the
/// first to take the receiver gets it.
#[derive(Debug, Clone)]
pub(crate) struct H2Upgrade(Arc<Mutex<Option<oneshot::Receiver<H2Tunnel>>>>);

impl H2Upgrade {
    pub(crate) fn new(receiver: oneshot::Receiver<H2Tunnel>) -> Self {
        Self(Arc::new(Mutex::new(Some(receiver))))
    }
}

impl OnUpgrade {
    /// Removes from a request the value that it needs to switch protocols.
    pub fn of<B>(request: &mut Request<B>) -> Self {
        let upgrade = request.extensions_mut().remove::<H2Upgrade>();
        let receiver = upgrade.and_then(|upgrade| upgrade.0.lock().take());
        Self(match receiver {
            Some(receiver) => Pending::Http2(receiver),
            None => Pending::Http1(hyper::upgrade::on(request)),
        })
    }

    /// Waits for the connection; `None` when it ended before.
    pub async fn wait(&mut self) -> Option<Upgraded> {
        match &mut self.0 {
            Pending::Http1(pending) => {
                let upgraded = pending.await.ok()?;
                Some(Upgraded::Http1(TokioIo::new(upgraded)))
            }
            Pending::Http2(pending) => pending.await.ok().map(Upgraded::Http2),
        }
    }
}
