//! The beginning of a connection, before the first request: what is spoken on it is found out.
//!
//! Everything here is under the watch's `header_timeout` from the moment of accepting, except a TLS
//! handshake, which has `handshake_timeout`; nothing that comes prolongs either.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use crate::server::connection::transport::{Replayed, Transport};
use crate::server::peer::Peer;
use crate::server::stream::Stream;
use crate::server::worker::Open;
use crate::types::net::Scheme;

/// The first bytes of an HTTP/2 client (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Which HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// 1.1 and 1.0.
    Http1,
    /// 2.
    Http2,
}

/// A connection on which requests may come.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) transport: Transport,
    pub(super) protocol: Protocol,
    pub(super) peer: Arc<Peer>,
}

/// Opens a connection; `None` when it ended before it began.
pub(super) async fn open(stream: Stream, address: IpAddr, open: Open) -> Option<Opened> {
    let mut stream = Replayed::new(stream);
    match plain(&mut stream).await {
        Ok(protocol) => Some(Opened {
            transport: Transport::Plain(stream),
            protocol,
            peer: Arc::new(Peer {
                address,
                scheme: Scheme::Http,
                subject: None,
                open,
            }),
        }),
        Err(error) => {
            tracing::debug!(peer = %address, %error, "a client connection ended early");
            None
        }
    }
}

/// Which HTTP a client speaks that cannot say so beforehand. What it sent is left to be read.
async fn plain(stream: &mut Replayed<Stream>) -> io::Result<Protocol> {
    loop {
        let seen = stream.seen();
        let common = seen.iter().zip(PREFACE).take_while(|(a, b)| a == b);
        match common.count() {
            all if all == PREFACE.len() => return Ok(Protocol::Http2),
            some if some < seen.len() => return Ok(Protocol::Http1),
            _ if !stream.more().await? => return Ok(Protocol::Http1),
            _ => {}
        }
    }
}
