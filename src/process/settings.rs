//! Which settings do the listeners and the process have?

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use crate::net::settings::Listen;
use crate::telemetry::settings::AccessLogTarget;
use crate::tls::settings as tls;
use crate::types::path::Allowances;
use crate::types::trusted_proxies::TrustedProxies;

/// The settings of listeners, connections and shutdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The public listener.
    pub listen: Listen,
    /// The admin listener, if any.
    pub admin: Option<SocketAddr>,
    /// The control socket, if any.
    pub control: Option<PathBuf>,
    /// Worker threads; at least one.
    pub threads: usize,
    /// Peers whose forwarding headers are accepted.
    pub trusted_proxies: TrustedProxies,
    /// Connections at once, over all workers.
    pub max_connections: usize,
    /// Connections at once from one address that is not a trusted proxy.
    pub max_connections_per_address: usize,
    /// Time for a complete request head.
    pub header_timeout: Duration,
    /// Bytes a second that a request's body must reach; zero = any rate.
    pub body_rate: u64,
    /// Time for a TLS handshake.
    pub handshake_timeout: Duration,
    /// Whether trusted proxies send a PROXY header.
    pub proxy_protocol: bool,
    /// TLS of the public listener, if it uses TLS.
    pub tls: Option<tls::Settings>,
    /// How often the files of certificates and keys are checked for changes, on both sides.
    pub tls_reload_interval: Duration,
    /// The request header with the subject of a client's certificate for the application, if any.
    pub client_subject_header: Option<HeaderName>,
    /// The listener that only redirects to https, if any.
    pub redirect_listen: Option<SocketAddr>,
    /// From the drain signal to closing the listeners.
    pub drain_delay: Duration,
    /// From closing the listeners to cutting the requests that are still in progress.
    pub drain_timeout: Duration,
    /// Hosts that absolute-form targets and `Host` may name; none = any.
    pub hosts: Vec<String>,
    /// Which odd paths are admitted.
    pub paths: Allowances,
    /// One access-log line a request.
    pub access_log: bool,
    /// JSON instead of text lines.
    pub json_logs: bool,
    /// The target of the access log.
    pub access_log_target: AccessLogTarget,
}
