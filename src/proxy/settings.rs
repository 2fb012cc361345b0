//! What the proxy is told by the configuration.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderName;

use crate::tls::client::Files;

/// The upstream and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the application listens.
    pub upstream: Address,
    /// How long making a connection may take: looking up the name, trying all addresses, TLS.
    pub connect_timeout: Duration,
    /// How long the upstream may take from the last byte of a request to the head of its answer; zero =
    /// for ever.
    pub response_timeout: Duration,
    /// How long a request waits in the line for a connection when all are in use.
    pub queue_timeout: Duration,
    /// How long an answer without a known length, a gRPC call and a switched connection may be silent;
    /// zero = for ever.
    pub stream_idle_timeout: Duration,
    /// How long a connection is kept in the pool without a request.
    pub idle_timeout: Duration,
    /// A connection this old gets no further requests, so that changes behind a name or a balancer
    /// are followed; zero = none.
    pub max_age: Duration,
    /// Whether the upstream sees the client's `Host`, or its own authority.
    pub preserve_host: bool,
    /// Whether the caller's own `Authorization` is handed on.
    pub pass_authorization: bool,
    /// Every header name that only we may set; stripped by normal form.
    pub managed: Vec<HeaderName>,
    /// The names of our cookies, with their `__Host-` prefix if they have one.
    pub cookies: Vec<String>,
    /// The most connections one worker keeps to the upstream.
    pub max_connections: usize,
    /// The protocols a request may switch to, lower case; WebSocket is `websocket`.
    pub upgrades: Vec<String>,
    /// The most connections of one worker that have switched. They stand beside `max_connections`.
    pub max_upgraded: usize,
}

/// Where the upstream listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `http://host:port`.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// `unix:/path`.
    Unix(PathBuf),
    /// `https://host:port`: HTTP/2 or HTTP/1.1, as the upstream chooses.
    Tls {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
        /// Whom we believe, and who we are.
        tls: Tls,
    },
    /// `h2c://host:port`: HTTP/2 in the clear, without asking.
    H2c {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

/// TLS towards the upstream. There is no way to turn verification off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// The only roots that are believed; none = the system's.
    pub ca: Option<PathBuf>,
    /// The certificate chain we show and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the upstream's certificate must have; none = the host.
    pub server_name: Option<String>,
}

impl Tls {
    /// The files that are read.
    pub fn files(&self) -> Files<'_> {
        let identity = self.identity.as_ref();
        Files {
            ca: self.ca.as_deref(),
            identity: identity.map(|(cert, key)| (cert.as_path(), key.as_path())),
        }
    }
}

impl Address {
    /// What is spoken in front of `://`, host and port; none for a socket of the file system.
    pub(super) fn parts(&self) -> Option<(&'static str, &str, u16)> {
        match self {
            Self::Tcp { host, port } => Some(("http", host, *port)),
            Self::Tls { host, port, .. } => Some(("https", host, *port)),
            Self::H2c { host, port } => Some(("h2c", host, *port)),
            Self::Unix(_) => None,
        }
    }

    /// The file of our private key, if we show a certificate.
    pub fn client_key(&self) -> Option<&Path> {
        match self {
            Self::Tls { tls, .. } => tls.identity.as_ref().map(|(_, key)| key.as_path()),
            Self::Tcp { .. } | Self::Unix(_) | Self::H2c { .. } => None,
        }
    }

    /// Whether TLS is spoken.
    pub const fn is_secure(&self) -> bool {
        matches!(self, Self::Tls { .. })
    }

    /// Whether protocols can be switched: that is HTTP/1.1's, which TLS upstreams are asked for.
    pub const fn can_switch(&self) -> bool {
        !matches!(self, Self::H2c { .. })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.parts()) {
            (_, Some((scheme, host, port))) if host.contains(':') => {
                write!(f, "{scheme}://[{host}]:{port}")
            }
            (_, Some((scheme, host, port))) => write!(f, "{scheme}://{host}:{port}"),
            (Self::Unix(path), None) => write!(f, "unix:{}", path.display()),
            (_, None) => Ok(()),
        }
    }
}
