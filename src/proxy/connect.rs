//! How is a connection to the upstream made? Name look-up, socket and TLS, all within one timeout.

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
use crate::proxy::settings::{Address, Tls};
use crate::proxy::stream::Stream;
use crate::tls::client::{self, BadClient};
use crate::types::descriptors;

/// Connects to one upstream.
#[derive(Debug)]
pub(super) struct Connector {
    address: Address,
    limit: Duration,
    tls: Option<TlsDialer>,
}

/// The versions of HTTP that are offered in the TLS handshake (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 first, HTTP/1.1 second.
    Both,
}

/// Makes TLS handshakes.
struct TlsDialer {
    name: ServerName<'static>,
    /// Replaced when the files have changed; a handshake that has begun continues with its own.
    configs: ArcSwap<TlsConfigs>,
}

/// The configurations for one set of files, by offer. All connections of one worker share a cache of TLS
/// sessions, which is dropped with the files.
struct TlsConfigs {
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
            Address::Tls { host, tls, .. } => Some(TlsDialer::new(host, tls)?),
            Address::Tcp { .. } | Address::Unix(_) | Address::H2c { .. } => None,
        };
        Ok(Self {
            address,
            limit,
            tls,
        })
    }

    /// Uses this configuration for connections that are made from now on. Has no effect for an upstream without
    /// TLS.
    pub(super) fn set_tls(&self, config: &ClientConfig) {
        if let Some(tls) = &self.tls {
            tls.configs.store(Arc::new(TlsConfigs::new(config)));
        }
    }

    /// The deadline for a connection that is begun now.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.limit
    }

    /// Connects before `deadline`. The addresses of a name are tried one after the other, each with its share of
    /// the remaining time, so that an address that drops packets does not use up the time of the next.
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
                    Ok(Ok(stream)) if descriptors::is_reserved(&stream) => {
                        Err(UpstreamError::overloaded())
                    }
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
            // Closed at once: this descriptor is in the reserved range.
            Ok(Ok(stream)) if descriptors::is_reserved(&stream) => {
                return Err(UpstreamError::overloaded());
            }
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

/// Sets `TCP_NODELAY`, and keep-alive probes, so that a dead host is detected under a stream that may be
/// silent for an hour.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let probes = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_EVERY);
    SockRef::from(stream).set_tcp_keepalive(&probes)
}

impl TlsDialer {
    fn new(host: &str, tls: &Tls) -> Result<Self, BadClient> {
        let config = client::config(tls.files())?;
        let name = tls.server_name.as_deref().unwrap_or(host);
        let bad = |_| BadClient::Name(name.to_owned());
        Ok(Self {
            name: ServerName::try_from(name.to_owned()).map_err(bad)?,
            configs: ArcSwap::from_pointee(TlsConfigs::new(&config)),
        })
    }

    async fn shake(
        &self,
        socket: TcpStream,
        offer: Offer,
        deadline: Instant,
    ) -> Result<Stream, UpstreamError> {
        let configs = self.configs.load_full();
        let connector = match offer {
            Offer::Http1 => &configs.http1,
            Offer::Both => &configs.both,
        };
        let shaking = connector.connect(self.name.clone(), socket);
        match timeout_at(deadline, shaking).await {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(UpstreamError::Unreachable(error)),
            Err(_) => Err(UpstreamError::Timeout),
        }
    }
}

impl TlsConfigs {
    fn new(config: &ClientConfig) -> Self {
        // A new, separate cache: workers share no lock, and earlier sessions were verified with earlier roots.
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

impl std::fmt::Debug for TlsDialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsDialer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How long a connection is silent before the kernel probes it, and the interval of the probes.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        // Bound and not listening: the port refuses connections, and no other test can use it.
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
