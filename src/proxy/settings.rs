//! What the proxy is told by the configuration.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

/// The upstream and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the application listens.
    pub upstream: Address,
    /// To an established connection.
    pub connect_timeout: Duration,
    /// From the request to the response head; zero = none.
    pub response_timeout: Duration,
    /// Of a pooled connection.
    pub idle_timeout: Duration,
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
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "http://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
