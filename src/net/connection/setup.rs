//! How does a connection begin: who made it, and which protocol does it use?
//!
//! ```text
//! [PROXY header, from a trusted load balancer] ─→ [TLS: certificate, ALPN] or [HTTP/2 preface, or not]
//! ```
//!
//! All of this has `header_timeout`, counted from the accept, except a TLS handshake, which has
//! `handshake_timeout`; received bytes extend neither.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;

use crate::net::connection::handle::Connection;
use crate::net::connection::tls;
use crate::net::connection::transport::{HttpVersion, Replayed, Transport};
use crate::net::connections::Registered;
use crate::net::handler::Handler;
use crate::net::peer::Peer;
use crate::net::proxy_protocol::{self, Header};
use crate::net::served::Served;
use crate::net::stream::Stream;
use crate::telemetry::metrics::Dropped;
use crate::types::net::Scheme;
use crate::types::share::{Claimant, User};

/// The first bytes of an HTTP/2 client (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The response to a client above the connection limit.
pub(crate) const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\n\
    content-length: 21\r\nretry-after: 1\r\nconnection: close\r\n\r\ntoo many connections\n";

/// A connection that is ready for requests.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) transport: Transport,
    pub(crate) protocol: HttpVersion,
    pub(crate) connection: Arc<Connection>,
}

/// Sets a connection up; `None` when it ended before its first request.
pub(crate) async fn open<H: Handler>(
    stream: Stream,
    address: IpAddr,
    registered: Registered,
    served: &Served<H>,
) -> Option<Opened> {
    match try_open(stream, address, registered, served).await {
        Ok(opened) => opened,
        Err(error) => {
            tracing::debug!(peer = %address, %error, "a client connection ended early");
            None
        }
    }
}

async fn try_open<H: Handler>(
    stream: Stream,
    mut address: IpAddr,
    mut registered: Registered,
    served: &Served<H>,
) -> io::Result<Option<Opened>> {
    let setup = &served.setup;
    let mut stream = Replayed::new(stream);
    let mut is_nameless = false;
    if setup.proxy_protocol && served.handler().trusts(address) {
        let client = read_proxy_header(&mut stream).await;
        if client.is_err() {
            registered.dropped(Dropped::ProxyHeader);
        }
        match client? {
            None => is_nameless = true,
            Some(client) => {
                address = client.to_canonical();
                if !served.handler().trusts(address) && !registered.count_for(address) {
                    if setup.tls.is_none() {
                        stream.write_all(FULL).await?;
                    }
                    return Ok(None);
                }
            }
        }
    }
    let Some(server_tls) = &setup.tls else {
        let protocol = detect_version(&mut stream).await?;
        let peer = Peer {
            address,
            scheme: Scheme::Http,
            is_nameless,
            subject: None,
        };
        return Ok(Some(Opened {
            transport: Transport::Plain(stream),
            protocol,
            connection: Arc::new(Connection::new(peer, registered)),
        }));
    };
    let claimant = Claimant {
        address: (!served.handler().trusts(address)).then_some(address),
        user: User::NotAsked,
    };
    let turn = setup.handshakes.pass(claimant.groups().widest());
    // Boxed: a connection does not need the handshake's memory afterwards.
    let handshake = Box::pin(tls::accept(stream, server_tls, &registered, turn));
    let Some(secured) = handshake.await? else {
        return Ok(None);
    };
    let peer = Peer {
        address,
        scheme: Scheme::Https,
        is_nameless,
        subject: secured.subject,
    };
    Ok(Some(Opened {
        transport: Transport::Tls(secured.stream),
        protocol: secured.protocol,
        connection: Arc::new(Connection::new(peer, registered)),
    }))
}

/// Reads the PROXY header of a trusted load balancer; `None` when it names no client.
async fn read_proxy_header(stream: &mut Replayed<Stream>) -> io::Result<Option<IpAddr>> {
    loop {
        match proxy_protocol::read(stream.seen()) {
            Header::Complete { length, client } => {
                stream.skip(length);
                return Ok(client);
            }
            Header::Incomplete if stream.more().await? => {}
            Header::Incomplete | Header::Invalid => {
                let text = "a trusted peer sent no PROXY header";
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
    }
}

/// Detects the version of HTTP without ALPN. The bytes remain unread.
async fn detect_version(stream: &mut Replayed<Stream>) -> io::Result<HttpVersion> {
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
