//! TLS on an accepted connection: the handshake, what it agreed on, and who it says the client is.
//!
//! A handshake has `handshake_timeout`, which the connection's watch keeps; nothing that comes prolongs
//! it. A handshake costs a thousand times what a request costs, so they wait for
//! each other (`handshakes`): a flood of them waits, not everybody else.

use std::future::{Future as _, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::task::Poll;

use http::HeaderValue;
use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::server::connection::opening::HttpVersion;
use crate::server::connection::transport::Replayed;
use crate::server::connection::vigil::State;
use crate::server::stream::Stream;
use crate::server::worker::Open;
use crate::tls::{self, Door};

/// What a client is told that does not speak TLS.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
    content-length: 21\r\nconnection: close\r\n\r\nthis port speaks TLS\n";

/// The first byte of a TLS handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;

/// A connection with TLS.
#[derive(Debug)]
pub(super) struct Secured {
    pub(super) stream: Box<TlsStream<Replayed<Stream>>>,
    pub(super) protocol: HttpVersion,
    /// The subject of the client's certificate.
    pub(super) subject: Option<HeaderValue>,
}

/// A handshake that counts as come to nothing unless it stands, whatever ended it.
struct Attempt<'a> {
    door: &'a Door,
    stands: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.stands {
            self.door.turns_away();
        }
    }
}

/// Agrees on TLS with a client; `None` when it speaks something else.
pub(super) async fn shake(
    mut stream: Replayed<Stream>,
    door: &Door,
    open: &Open,
    client: IpAddr,
) -> io::Result<Option<Secured>> {
    let worker = &open.worker;
    open.vigil.enter(State::Shaking, worker.tick());
    let mut attempt = Attempt {
        door,
        stands: false,
    };
    while stream.seen().is_empty() {
        if !stream.more().await? {
            return Ok(None);
        }
    }
    match stream.seen().first() {
        Some(&HANDSHAKE) => {}
        Some(byte) if byte.is_ascii_uppercase() => {
            stream.write_all(PLAIN).await?;
            stream.shutdown().await?;
            return Ok(None);
        }
        _ => return Ok(None),
    }
    // It reads the whole of the client's first message; nothing is reckoned yet.
    let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let mut handshake = pin!(begun.into_stream(door.config()));
    let group = worker.group_of(client);
    let place = worker.entrance().handshakes.pass(group).await;
    let first = poll_fn(|task| Poll::Ready(handshake.as_mut().poll(task))).await;
    if first.is_pending() {
        // Whoever is ready goes first; then the next handshake may.
        tokio::task::yield_now().await;
    }
    drop(place);
    let stream = match first {
        Poll::Ready(done) => done?,
        Poll::Pending => handshake.await?,
    };
    attempt.stands = true;
    let (_, session) = stream.get_ref();
    let protocol = match session.alpn_protocol() {
        Some(b"h2") => HttpVersion::Http2,
        _ => HttpVersion::Http1,
    };
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    let subject = certificate
        .and_then(|certificate| tls::subject(certificate))
        .and_then(|subject| HeaderValue::try_from(subject).ok());
    open.vigil.enter(State::New, worker.tick());
    Ok(Some(Secured {
        stream: Box::new(stream),
        protocol,
        subject,
    }))
}
