//! Switching protocols (RFC 9110, 7.8): a WebSocket's handshake, or that of another protocol which
//! the settings name.
//!
//! What always holds: nothing but the head of the handshake is sent before the upstream's 101; a 101
//! switches to the protocol that was asked for or is a fault; a refused handshake ends its connection
//! to the upstream, so no byte that follows can be taken for a request.

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
use crate::proxy::error::UpstreamError;
use crate::proxy::exchange::Exchange;
use crate::proxy::places::{Place, Places, overloaded};
use crate::proxy::pool::{Connection, Slot};
use crate::proxy::sender::Sender;
use crate::proxy::settings::Settings;
use crate::proxy::{Body, Proxy, Via, claimant};
use crate::types::share::Claimant;

/// The name of a protocol to switch to, lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol(Arc<str>);

impl Protocol {
    /// WebSocket (RFC 6455).
    pub const WEBSOCKET: &'static str = "websocket";

    pub(super) fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a WebSocket.
    pub fn is_websocket(&self) -> bool {
        self.as_str() == Self::WEBSOCKET
    }
}

/// What became of a handshake.
#[derive(Debug)]
pub enum Handshake<B> {
    /// The upstream switched; the head of its answer, and the connection.
    Switched(Response<()>, Box<Switched>),
    /// The upstream answered as if it had not been asked to.
    Declined(Box<Response<Body<B>>>),
}

impl Proxy {
    /// The protocol a request may switch to, of those that it offers in `Upgrade`.
    pub fn protocol<'a>(&self, offered: impl IntoIterator<Item = &'a [u8]>) -> Option<Protocol> {
        let known = |name: &'a [u8]| {
            let mut protocols = self.core.upgrades.protocols.iter();
            protocols.find(|p| p.as_str().as_bytes().eq_ignore_ascii_case(name))
        };
        offered.into_iter().find_map(known).cloned()
    }

    /// Sends a handshake and waits for the head of the answer. The request must have no body.
    ///
    /// # Errors
    ///
    /// As [`Proxy::forward`]; `Overloaded` also when too many connections have switched.
    pub async fn upgrade<B>(
        &self,
        permit: Permit,
        request: Request<B>,
        via: &Via,
        protocol: Protocol,
    ) -> Result<Handshake<B>, UpstreamError>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let who = claimant(&permit, via);
        let place = self.core.upgrades.enter(who)?;
        let (parts, body) = request.into_parts();
        let sender = Sender::new(body, &parts);
        let slot = Slot::take(&self.core, who).await?;
        // It is used up either way, so a pooled one would be wasted and could be stale.
        let mut lease = slot.fresh().await?;
        let head = &mut lease.connection.output;
        (self.core.outbound).write_head(head, &parts, sender.framing(), permit.identity(), via);
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
                let connection = lease.detach();
                let switched = Switched {
                    connection,
                    _place: place,
                };
                Handshake::Switched(response, Box::new(switched))
            }
            None => Handshake::Declined(Box::new(response.map(|()| Body::new(Box::new(exchange))))),
        })
    }

    /// How long a connection that has switched may be silent in both directions; none = for ever.
    pub fn stream_idle(&self) -> Option<Duration> {
        self.core.limits.stream
    }
}

/// Puts the handshake's own lines before the end of a head.
fn write_upgrade(head: &mut Vec<u8>, protocol: &Protocol) {
    head.truncate(head.len().saturating_sub(b"\r\n".len()));
    head.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
    head.extend_from_slice(protocol.as_str().as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
}

/// What a worker knows about switching.
#[derive(Debug)]
pub(super) struct Upgrades {
    protocols: Vec<Protocol>,
    places: Arc<Places>,
}

impl Upgrades {
    /// None are known where there is nothing to switch: the request is then answered as it is.
    pub(super) fn new(settings: &Settings) -> Self {
        let names = settings.upgrades.iter();
        let names = names.filter(|_| settings.upstream.can_switch());
        Self {
            protocols: names.map(|name| Protocol::new(name)).collect(),
            places: Arc::new(Places::new(settings.max_upgraded, Duration::ZERO)),
        }
    }

    /// Counts what is open already, so that a reload gives nobody a second share.
    pub(super) fn count_on(&mut self, before: &Self) {
        let own = std::mem::replace(&mut self.places, Arc::clone(&before.places));
        self.places.resize(own.capacity());
    }

    fn enter(&self, who: Claimant) -> Result<Place, UpstreamError> {
        let booked = self.places.try_take(who).ok_or_else(overloaded)?;
        Ok(Place::new(&self.places, booked))
    }
}

/// A connection to the upstream that has switched protocols: bytes both ways, beginning with what
/// stood behind the 101. Dropping it closes it.
#[derive(Debug)]
pub struct Switched {
    connection: Box<Connection>,
    _place: Place,
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
