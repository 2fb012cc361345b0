//! How does a connection to the upstream switch to WebSocket or another configured protocol (RFC 9110, 7.8)?
//!
//! Three things always hold: nothing but the head of the handshake is sent before the upstream's 101; a 101
//! switches to the requested protocol or is a fault; the connection of a refused handshake is closed, so no
//! byte that follows can be read as a request.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::guard::Permit;
use crate::proxy::body::Body;
use crate::proxy::connection::Connection;
use crate::proxy::error::UpstreamError;
use crate::proxy::exchange::Exchange;
use crate::proxy::pool::{Pool, PoolPermit};
use crate::proxy::protocol::Protocol;
use crate::proxy::semaphore::{FairSemaphore, SemaphorePermit};
use crate::proxy::sender::Sender;
use crate::proxy::settings::Settings;
use crate::proxy::via::Via;
use crate::types::share::Claimant;

/// The answer to a handshake.
#[derive(Debug)]
pub enum Handshake<B> {
    /// The upstream switched; the head of its answer, and the connection.
    Switched(Response<()>, Box<Switched>),
    /// The upstream sent an ordinary answer.
    Declined(Box<Response<Body<B>>>),
}

/// Inserts the handshake's own lines before the end of a head.
fn write_upgrade(head: &mut Vec<u8>, protocol: &Protocol) {
    head.truncate(head.len().saturating_sub(b"\r\n".len()));
    head.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
    head.extend_from_slice(protocol.as_str().as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
}

/// The protocols that connections can switch to, and the limit of those that have switched.
#[derive(Debug)]
pub(super) struct Upgrades {
    pool: Arc<Pool>,
    protocols: Vec<Protocol>,
    permits: Arc<FairSemaphore>,
}

impl Upgrades {
    /// Without protocols where the upstream cannot switch: such a request is answered as an ordinary one.
    pub(super) fn new(settings: &Settings, pool: &Arc<Pool>) -> Self {
        let names = settings.upgrades.iter();
        let names = names.filter(|_| settings.upstream.can_switch());
        Self {
            pool: Arc::clone(pool),
            protocols: names.map(|name| Protocol::new(name)).collect(),
            permits: Arc::new(FairSemaphore::new(settings.max_upgraded, Duration::ZERO)),
        }
    }

    /// Counts connections that are open already, so that a reload grants no client a second share.
    pub(super) fn continue_from(&mut self, before: &Self) {
        let own = std::mem::replace(&mut self.permits, Arc::clone(&before.permits));
        self.permits.resize(own.capacity());
    }

    /// The first of the offered protocols that is configured.
    pub(super) fn protocol<'a>(
        &self,
        offered: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Protocol> {
        let known = |name: &'a [u8]| {
            let mut protocols = self.protocols.iter();
            protocols.find(|p| p.as_str().as_bytes().eq_ignore_ascii_case(name))
        };
        offered.into_iter().find_map(known).cloned()
    }

    /// See [`Proxy::upgrade`](crate::proxy::Proxy::upgrade).
    pub(super) async fn send<B>(
        &self,
        who: Claimant,
        permit: Permit,
        request: Request<B>,
        via: &Via,
        protocol: Protocol,
    ) -> Result<Handshake<B>, UpstreamError>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let switched = SemaphorePermit::try_acquire(&self.permits, who)?;
        let (parts, body) = request.into_parts();
        let sender = Sender::new(body, &parts);
        let slot = PoolPermit::acquire(&self.pool, who).await?;
        // A handshake uses its connection up in any case, and a pooled one could be stale.
        let mut lease = slot.fresh().await?;
        let head = &mut lease.connection.output;
        let writer = &self.pool.upstream.head;
        writer.write_head(head, &parts, sender.framing(), permit.identity(), via);
        write_upgrade(head, &protocol);
        let mut headers = HeaderMap::new();
        let mut exchange = Exchange::new(lease, sender, parts.method).asking_for(protocol);
        let status = poll_fn(|cx| exchange.poll_head(cx, &mut headers)).await?;
        if status != StatusCode::SWITCHING_PROTOCOLS {
            permit.limit_storage(&mut headers);
        }
        let lease = exchange.take_switched(status);
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(match lease {
            Some(lease) => {
                let switched = Switched {
                    connection: lease.detach(),
                    _permit: switched,
                };
                Handshake::Switched(response, Box::new(switched))
            }
            None => Handshake::Declined(Box::new(response.map(|()| Body::new(Box::new(exchange))))),
        })
    }
}

/// A connection to the upstream that has switched protocols: bytes in both directions, beginning with those
/// that came after the 101. Dropping it closes it.
#[derive(Debug)]
pub struct Switched {
    connection: Box<Connection>,
    _permit: SemaphorePermit,
}

impl AsyncRead for Switched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let connection = &mut *self.get_mut().connection;
        if connection.input.is_empty() {
            return Pin::new(&mut connection.stream).poll_read(cx, buf);
        }
        let count = connection.input.len().min(buf.remaining());
        buf.put_slice(connection.input.get(..count).unwrap_or_default());
        connection.input.advance(count);
        if connection.input.is_empty() {
            connection.input = bytes::BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Switched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().connection.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection.stream).poll_shutdown(cx)
    }
}
