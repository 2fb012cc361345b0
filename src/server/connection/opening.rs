//! The beginning of a connection, before the first request: who made it and what is spoken on it is
//! found out.
//!
//! ```text
//! [PROXY header, from a trusted balancer] ─→ [TLS: certificate, ALPN] or [preface of HTTP/2, or not]
//! ```
//!
//! Everything here is under the watch's `header_timeout` from the moment of accepting, except a TLS
//! handshake, which has `handshake_timeout`; nothing that comes prolongs either.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;

use crate::server::connection::secure;
use crate::server::connection::transport::{Replayed, Transport};
use crate::server::peer::Peer;
use crate::server::proxied::{self, Proxied};
use crate::server::stream::Stream;
use crate::server::worker::{FULL, Open};
use crate::telemetry::metrics::Dropped;
use crate::types::net::Scheme;

/// The first bytes of an HTTP/2 client (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Which HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HttpVersion {
    /// 1.1 and 1.0.
    Http1,
    /// 2.
    Http2,
}

/// A connection on which requests may come.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) transport: Transport,
    pub(super) protocol: HttpVersion,
    pub(super) peer: Arc<Peer>,
}

/// Opens a connection; `None` when it ended before it began.
pub(super) async fn open(stream: Stream, address: IpAddr, open: Open) -> Option<Opened> {
    match try_open(stream, address, open).await {
        Ok(opened) => opened,
        Err(error) => {
            tracing::debug!(peer = %address, %error, "a client connection ended early");
            None
        }
    }
}

async fn try_open(
    stream: Stream,
    mut address: IpAddr,
    mut open: Open,
) -> io::Result<Option<Opened>> {
    let worker = Arc::clone(&open.worker);
    let mut stream = Replayed::new(stream);
    let is_spoken_for =
        worker.entrance().proxy_protocol && worker.pipeline().trusted.trust(address);
    let mut is_nameless = false;
    if is_spoken_for {
        let said = behind(&mut stream).await;
        if said.is_err() {
            open.note(Dropped::ProxyHeader);
        }
        match said? {
            None => is_nameless = true,
            Some(client) => {
                address = client.to_canonical();
                if !open.stands_for(address) {
                    if worker.entrance().door.is_none() {
                        stream.write_all(FULL).await?;
                    }
                    return Ok(None);
                }
            }
        }
    }
    let Some(door) = &worker.entrance().door else {
        let protocol = plain(&mut stream).await?;
        return Ok(Some(Opened {
            transport: Transport::Plain(stream),
            protocol,
            peer: Arc::new(Peer {
                address,
                scheme: Scheme::Http,
                is_nameless,
                subject: None,
                open,
            }),
        }));
    };
    // Boxed: most of a handshake's room is not needed by anybody else.
    let Some(secured) = Box::pin(secure::shake(stream, door, &open, address)).await? else {
        return Ok(None);
    };
    Ok(Some(Opened {
        transport: Transport::Tls(secured.stream),
        protocol: secured.protocol,
        peer: Arc::new(Peer {
            address,
            scheme: Scheme::Https,
            is_nameless,
            subject: secured.subject,
            open,
        }),
    }))
}

/// The client that a trusted balancer speaks for.
async fn behind(stream: &mut Replayed<Stream>) -> io::Result<Option<IpAddr>> {
    loop {
        match proxied::read(stream.seen()) {
            Proxied::Header { length, client } => {
                stream.skip(length);
                return Ok(client);
            }
            Proxied::Incomplete if stream.more().await? => {}
            Proxied::Incomplete | Proxied::Bad => {
                let text = "a trusted peer sent no PROXY header";
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
    }
}

/// Which HTTP a client speaks that cannot say so beforehand. What it sent is left to be read.
async fn plain(stream: &mut Replayed<Stream>) -> io::Result<HttpVersion> {
    loop {
        let seen = stream.seen();
        let common = seen.iter().zip(PREFACE).take_while(|(a, b)| a == b);
        match common.count() {
            all if all == PREFACE.len() => return Ok(HttpVersion::Http2),
            some if some < seen.len() => return Ok(HttpVersion::Http1),
            _ if !stream.more().await? => return Ok(HttpVersion::Http1),
            _ => {}
        }
    }
}
