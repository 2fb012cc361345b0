//! Settings of the proxy.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderName;

use crate::tls::client::Files;

/// The upstream and how requests are sent to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The address of the application.
    pub upstream: Address,
    /// How long making a connection may take: looking up the name, trying all addresses, TLS.
    pub connect_timeout: Duration,
    /// How long the upstream may take from the last byte of a request to the head of its answer; zero = no
    /// limit.
    pub response_timeout: Duration,
    /// How long a request waits for a connection when all are in use.
    pub queue_timeout: Duration,
    /// How long an answer of unknown length, a gRPC call and a switched connection may be silent; zero = no
    /// limit.
    pub stream_idle_timeout: Duration,
    /// How long a connection is kept in the pool without a request.
    pub idle_timeout: Duration,
    /// A connection of this age gets no further requests, so that changes of a DNS name or of a load balancer
    /// take effect; zero = no limit.
    pub max_age: Duration,
    /// Whether the upstream sees the client's `Host`, or its own authority.
    pub preserve_host: bool,
    /// Whether the client's own `Authorization` is forwarded.
    pub pass_authorization: bool,
    /// Every header name that only the proxy may set; a client's header with the same folded name is removed.
    pub managed: Vec<HeaderName>,
    /// The names of the session cookies, which are not forwarded, with their `__Host-` prefix if they have one.
    pub cookies: Vec<String>,
    /// The most connections of one worker to the upstream.
    pub max_connections: usize,
    /// The protocols a request may switch to, lower case; WebSocket is `websocket`.
    pub upgrades: Vec<String>,
    /// The most connections of one worker that have switched. They do not count as `max_connections`.
    pub max_upgraded: usize,
}

/// The address of an upstream.
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
        /// The trusted roots, and the client certificate.
        tls: Tls,
    },
    /// `h2c://host:port`: HTTP/2 without TLS and without negotiation.
    H2c {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

/// TLS towards the upstream. Verification cannot be turned off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// The only trusted roots; none = those of the system.
    pub ca: Option<PathBuf>,
    /// The client certificate chain and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the upstream's certificate must have; none = the host.
    pub server_name: Option<String>,
}

impl Tls {
    /// The files to read.
    pub fn files(&self) -> Files<'_> {
        let identity = self.identity.as_ref();
        Files {
            ca: self.ca.as_deref(),
            identity: identity.map(|(cert, key)| (cert.as_path(), key.as_path())),
        }
    }
}

impl Address {
    /// Scheme, host and port; `None` for a Unix socket.
    pub(super) fn parts(&self) -> Option<(&'static str, &str, u16)> {
        match self {
            Self::Tcp { host, port } => Some(("http", host, *port)),
            Self::Tls { host, port, .. } => Some(("https", host, *port)),
            Self::H2c { host, port } => Some(("h2c", host, *port)),
            Self::Unix(_) => None,
        }
    }

    /// The address as an origin: scheme, host in lower case, and the port unless it is the scheme's own. That of
    /// HTTP/2 without TLS is `http`, and a Unix socket has its path.
    pub fn origin(&self) -> String {
        let text = self.to_string();
        match self.parts() {
            None => text,
            Some((scheme, _, port)) => {
                let text = text.replacen("h2c:", "http:", 1).to_ascii_lowercase();
                let own = if scheme == "https" { 443 } else { 80 };
                let shown = format!(":{port}");
                let short = text.strip_suffix(&shown).filter(|_| port == own);
                short.map_or_else(|| text.clone(), str::to_owned)
            }
        }
    }

    /// The file of the private key of the client certificate, if there is one.
    pub fn client_key(&self) -> Option<&Path> {
        match self {
            Self::Tls { tls, .. } => tls.identity.as_ref().map(|(_, key)| key.as_path()),
            Self::Tcp { .. } | Self::Unix(_) | Self::H2c { .. } => None,
        }
    }

    /// Whether the connection uses TLS.
    pub const fn is_secure(&self) -> bool {
        matches!(self, Self::Tls { .. })
    }

    /// Whether protocols can be switched. Only HTTP/1.1 can, which a TLS upstream is asked for.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_default_port_and_no_capitals() {
        let tcp = |host: &str, port| Address::Tcp {
            host: host.to_owned(),
            port,
        };
        let tls = |host: &str, port| Address::Tls {
            host: host.to_owned(),
            port,
            tls: Tls::default(),
        };
        let h2c = |host: &str, port| Address::H2c {
            host: host.to_owned(),
            port,
        };
        for (address, origin) in [
            (tcp("127.0.0.1", 3000), "http://127.0.0.1:3000"),
            (tcp("App.Internal", 80), "http://app.internal"),
            (tcp("app", 8080), "http://app:8080"),
            (tcp("app", 443), "http://app:443"),
            (tcp("::1", 80), "http://[::1]"),
            (tcp("::80", 8), "http://[::80]:8"),
            (tls("app", 443), "https://app"),
            (tls("app", 80), "https://app:80"),
            (h2c("app", 80), "http://app"),
            (h2c("h2c", 8443), "http://h2c:8443"),
            (Address::Unix("/run/App.sock".into()), "unix:/run/App.sock"),
        ] {
            assert_eq!(address.origin(), origin);
        }
    }
}
