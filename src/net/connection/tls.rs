//! How is TLS established on an accepted connection?
//!
//! A handshake costs a thousand times as much as a request, so handshakes wait for each other in
//! `handshake_queue`: a flood of them delays itself and not the other connections.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use http::HeaderValue;
use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::net::connection::handshake_queue::Pass;
use crate::net::connection::state::State;
use crate::net::connection::transport::{HttpVersion, Replayed};
use crate::net::connections::Registered;
use crate::net::stream::Stream;
use crate::tls::{ServerTls, subject};

/// The response to a client that uses plain HTTP.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
    content-length: 21\r\nconnection: close\r\n\r\nthis port speaks TLS\n";

/// The first byte of a TLS handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;

/// A connection with TLS.
#[derive(Debug)]
pub(crate) struct Secured {
    pub(crate) stream: Box<TlsStream<Replayed<Stream>>>,
    pub(crate) protocol: HttpVersion,
    /// The subject of the client's certificate.
    pub(crate) subject: Option<HeaderValue>,
}

/// Counts a handshake as failed unless it completes.
struct Attempt<'a> {
    tls: &'a ServerTls,
    is_complete: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_complete {
            self.tls.handshake_failed();
        }
    }
}

/// Completes a TLS handshake; `None` when the client sends something else. `turn` is awaited before
/// anything expensive is computed.
pub(crate) async fn accept(
    mut stream: Replayed<Stream>,
    tls: &ServerTls,
    registered: &Registered,
    turn: impl Future<Output = Pass<'_>>,
) -> io::Result<Option<Secured>> {
    let state = &registered.state;
    state.enter(State::Handshake, registered.tick());
    let mut attempt = Attempt {
        tls,
        is_complete: false,
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
    // Reads the whole of the ClientHello; nothing expensive is computed yet.
    let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let mut handshake = pin!(begun.into_stream(tls.config()));
    let pass = turn.await;
    let first = poll_fn(|task| Poll::Ready(handshake.as_mut().poll(task))).await;
    if first.is_pending() {
        // Tasks that are ready run before the next handshake.
        tokio::task::yield_now().await;
    }
    drop(pass);
    let stream = match first {
        Poll::Ready(done) => done?,
        Poll::Pending => handshake.await?,
    };
    attempt.is_complete = true;
    let (_, session) = stream.get_ref();
    let protocol = match session.alpn_protocol() {
        Some(b"h2") => HttpVersion::Http2,
        _ => HttpVersion::Http1,
    };
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    let subject = certificate
        .and_then(|certificate| subject(certificate))
        .and_then(|subject| HeaderValue::try_from(subject).ok());
    state.enter(State::New, registered.tick());
    Ok(Some(Secured {
        stream: Box::new(stream),
        protocol,
        subject,
    }))
}
