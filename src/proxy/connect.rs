//! How a connection to the upstream is made: look-up, socket and TLS, all within one limit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::proxy::error::UpstreamError;
use crate::proxy::places::overloaded;
use crate::proxy::settings::{Address, Tls};
use crate::proxy::stream::Stream;
use crate::tls::client::{self, BadClient};
use crate::types::descriptors;

/// Connects to one upstream.
#[derive(Debug)]
pub(super) struct Connector {
    address: Address,
    limit: Duration,
    tls: Option<Shaker>,
}

/// What is offered to an upstream that chooses (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// HTTP/1.1 and nothing else.
    Http1,
    /// HTTP/2 first, HTTP/1.1 second.
    Both,
}

/// Makes TLS of a socket.
struct Shaker {
    name: ServerName<'static>,
    /// Exchanged when the files have changed; a handshake that has begun goes on with what it has.
    ways: ArcSwap<Ways>,
}

/// One set of files, by what is offered. Sessions are resumed; all connections of one worker share
/// what they know, and nothing of it outlives the files.
struct Ways {
    http1: TlsConnector,
    both: TlsConnector,
}

impl Connector {
    /// Reads the files that TLS needs.
    ///
    /// # Errors
    ///
    /// When one of them cannot be used.
    pub(super) fn new(address: Address, limit: Duration) -> Result<Self, BadClient> {
        let tls = match &address {
            Address::Tls { host, tls, .. } => Some(Shaker::new(host, tls)?),
            Address::Tcp { .. } | Address::Unix(_) | Address::H2c { .. } => None,
        };
        Ok(Self {
            address,
            limit,
            tls,
        })
    }

    /// Makes connections that are begun from here on with these files' content; no matter to an
    /// upstream without TLS.
    pub(super) fn believe(&self, config: &ClientConfig) {
        if let Some(tls) = &self.tls {
            tls.ways.store(Arc::new(Ways::new(config)));
        }
    }

    /// Until when a connection that is begun at this moment must stand.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.limit
    }

    /// Connects before `deadline`. A name that has several addresses is tried address by address,
    /// each with its share of the time that is left, so that one that swallows packets does not hide
    /// the next.
    ///
    /// # Errors
    ///
    /// `Timeout` when the time is over, `Unreachable` with the last reason otherwise.
    pub(super) async fn dial(
        &self,
        offer: Offer,
        deadline: Instant,
    ) -> Result<Stream, UpstreamError> {
        let (host, port) = match &self.address {
            Address::Unix(path) => {
                return match timeout_at(deadline, UnixStream::connect(path)).await {
                    Ok(Ok(stream)) if descriptors::is_reserved(&stream) => Err(overloaded()),
                    Ok(stream) => stream.map(Stream::Unix).map_err(UpstreamError::Unreachable),
                    Err(_) => Err(UpstreamError::Timeout),
                };
            }
            Address::Tcp { host, port }
            | Address::H2c { host, port }
            | Address::Tls { host, port, .. } => (host.as_str(), *port),
        };
        let lookup = timeout_at(deadline, lookup_host((host, port))).await;
        let found = lookup.map_err(|_| UpstreamError::Timeout)?;
        let found: Vec<_> = found.map_err(UpstreamError::Unreachable)?.collect();
        let socket = dial_first(&found, deadline).await?;
        match &self.tls {
            None => Ok(Stream::Tcp(socket)),
            Some(tls) => Box::pin(tls.shake(socket, offer, deadline)).await,
        }
    }
}

async fn dial_first(found: &[SocketAddr], deadline: Instant) -> Result<TcpStream, UpstreamError> {
    let nothing = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut last = UpstreamError::Unreachable(nothing);
    for (tried, address) in found.iter().enumerate() {
        let left = u32::try_from(found.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match timeout(share, TcpStream::connect(address)).await {
            // Let go of at once: what is reserved is for others.
            Ok(Ok(stream)) if descriptors::is_reserved(&stream) => return Err(overloaded()),
            Ok(Ok(stream)) => {
                prepare(&stream).map_err(UpstreamError::Unreachable)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = UpstreamError::Unreachable(error),
            Err(_) => last = UpstreamError::Timeout,
        }
    }
    Err(last)
}

/// No waiting for more to send, and probes on a quiet connection, so that a host which is gone is
/// noticed under a stream that may be silent for an hour.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let probes = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_EVERY);
    SockRef::from(stream).set_tcp_keepalive(&probes)
}

impl Shaker {
    fn new(host: &str, tls: &Tls) -> Result<Self, BadClient> {
        let config = client::config(tls.files())?;
        let name = tls.server_name.as_deref().unwrap_or(host);
        let bad = |_| BadClient::Name(name.to_owned());
        Ok(Self {
            name: ServerName::try_from(name.to_owned()).map_err(bad)?,
            ways: ArcSwap::from_pointee(Ways::new(&config)),
        })
    }

    async fn shake(
        &self,
        socket: TcpStream,
        offer: Offer,
        deadline: Instant,
    ) -> Result<Stream, UpstreamError> {
        let ways = self.ways.load_full();
        let connector = match offer {
            Offer::Http1 => &ways.http1,
            Offer::Both => &ways.both,
        };
        let shaking = connector.connect(self.name.clone(), socket);
        match timeout_at(deadline, shaking).await {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(UpstreamError::Unreachable(error)),
            Err(_) => Err(UpstreamError::Timeout),
        }
    }
}

impl Ways {
    fn new(config: &ClientConfig) -> Self {
        // Its own, and empty: workers share no lock, and a session of before was verified by what
        // was believed then.
        let sessions = Resumption::default();
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.resumption = sessions.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        };
        Self {
            http1: offering(&[b"http/1.1"]),
            both: offering(&[b"h2", b"http/1.1"]),
        }
    }
}

impl std::fmt::Debug for Shaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shaker")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How long a connection is quiet before the kernel probes it, and how often it does then.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        // Bound and not listening: the port refuses, and no other test can get it.
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bound
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        let refusing = bound.local_addr().unwrap().as_socket().unwrap();
        let open = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let good = open.local_addr().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let stream = dial_first(&[refusing, good], deadline).await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), PROBE_AFTER);
        let error = dial_first(&[refusing], deadline).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Unreachable(_)));
        let error = dial_first(&[], deadline).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Unreachable(_)));
    }

    #[tokio::test]
    async fn a_missing_unix_socket_is_unreachable() {
        let folder = tempfile::tempdir().unwrap();
        let address = Address::Unix(folder.path().join("none.sock"));
        let connector = Connector::new(address, Duration::from_secs(10)).unwrap();
        let dialling = connector.dial(Offer::Http1, connector.deadline());
        let error = dialling.await.unwrap_err();
        assert!(matches!(error, UpstreamError::Unreachable(_)));
    }
}
