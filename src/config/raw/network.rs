//! Listeners, upstream, paths, log: the keys about sockets and bytes.
//!
//! Values are as written; `build` gives them meaning.

use serde::{Deserialize, Serialize};

/// `server`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Server {
    /// `address:port` or `unix:/path`.
    pub(crate) listen: String,
    /// `address:port` of the listener that only sends clients to https; empty = none.
    pub(crate) redirect_listen: String,
    /// Worker threads; 0 = one per available core.
    pub(crate) threads: i64,
    /// Networks whose forwarding headers are believed.
    pub(crate) trusted_proxies: Vec<String>,
    /// Whether they send a PROXY header.
    pub(crate) proxy_protocol: bool,
    /// Our own origin as browsers see it.
    pub(crate) public_url: String,
    /// Host names that are answered; none = any.
    pub(crate) hosts: Vec<String>,
    /// Connections at once.
    pub(crate) max_connections: i64,
    /// Of them from one address.
    pub(crate) max_connections_per_address: i64,
    /// For a complete request head.
    pub(crate) header_timeout: String,
    /// Bytes a second that a request's body must reach; 0 = none.
    pub(crate) body_rate: i64,
    /// From the drain signal to closing the listeners.
    pub(crate) drain_delay: String,
    /// From closing the listeners to giving up.
    pub(crate) drain_timeout: String,
    /// The control socket's path; `auto`; empty = none.
    pub(crate) control: String,
    /// TLS of the public listener.
    pub(crate) tls: Tls,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            redirect_listen: String::new(),
            threads: 0,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            public_url: String::new(),
            hosts: Vec::new(),
            max_connections: 10_000,
            max_connections_per_address: 5_000,
            header_timeout: "10s".to_owned(),
            body_rate: 100,
            drain_delay: "0s".to_owned(),
            drain_timeout: "30s".to_owned(),
            control: "auto".to_owned(),
            tls: Tls::default(),
        }
    }
}

/// `server.tls`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    /// Certificate chain file.
    pub(crate) cert: String,
    /// Private key file.
    pub(crate) key: String,
    /// Further certificates, chosen by name.
    pub(crate) certificate: Vec<Certificate>,
    /// Authorities of clients' certificates, a file.
    pub(crate) client_ca: String,
    /// `off`, `optional`, `required`.
    pub(crate) client_auth: String,
    /// The header that tells the application their subject; empty = none.
    pub(crate) client_subject_header: String,
    /// For a handshake.
    pub(crate) handshake_timeout: String,
    /// How often the files are looked at.
    pub(crate) reload_interval: String,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            cert: String::new(),
            key: String::new(),
            certificate: Vec::new(),
            client_ca: String::new(),
            client_auth: "off".to_owned(),
            client_subject_header: String::new(),
            handshake_timeout: "5s".to_owned(),
            reload_interval: "10s".to_owned(),
        }
    }
}

/// `[[server.tls.certificate]]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Certificate {
    /// Certificate chain file.
    pub(crate) cert: String,
    /// Private key file.
    pub(crate) key: String,
}

/// `admin`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    /// `address:port`; empty = off.
    pub(crate) listen: String,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9180".to_owned(),
        }
    }
}

/// `upstream`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Upstream {
    /// Where the application listens.
    pub(crate) url: String,
    /// To an established connection.
    pub(crate) connect_timeout: String,
    /// To the response head; 0 = none.
    pub(crate) response_timeout: String,
    /// In the line for a connection.
    pub(crate) queue_timeout: String,
    /// Of silence in streams; 0 = none.
    pub(crate) stream_idle_timeout: String,
    /// Of a pooled connection.
    pub(crate) idle_timeout: String,
    /// Of a connection that still gets requests; 0 = none.
    pub(crate) max_age: String,
    /// Connections one worker keeps.
    pub(crate) max_connections: i64,
    /// Protocols that may be switched to.
    pub(crate) upgrades: Vec<String>,
    /// Switched connections of one worker.
    pub(crate) max_upgraded: i64,
    /// Whether the upstream sees the caller's `Host`.
    pub(crate) preserve_host: bool,
    /// Probed for readiness detail.
    pub(crate) health_path: String,
    /// TLS of an `https://` upstream.
    pub(crate) tls: UpstreamTls,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            url: String::new(),
            connect_timeout: "2s".to_owned(),
            response_timeout: "60s".to_owned(),
            queue_timeout: "2s".to_owned(),
            stream_idle_timeout: "1h".to_owned(),
            idle_timeout: "60s".to_owned(),
            max_age: "1h".to_owned(),
            max_connections: 1024,
            upgrades: vec!["websocket".to_owned()],
            max_upgraded: 4096,
            preserve_host: true,
            health_path: String::new(),
            tls: UpstreamTls::default(),
        }
    }
}

/// `upstream.tls`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct UpstreamTls {
    /// Bundle of the only roots that are believed.
    pub(crate) ca: String,
    /// Certificate chain file that we show.
    pub(crate) cert: String,
    /// Its private key file.
    pub(crate) key: String,
    /// The name that the upstream's certificate must have.
    pub(crate) server_name: String,
}

/// `paths`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Paths {
    /// Oddities admitted in every path.
    pub(crate) allow: Vec<String>,
    /// Oddities admitted under a prefix.
    pub(crate) prefix: Vec<PathPrefix>,
}

/// `[[paths.prefix]]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PathPrefix {
    /// The prefix.
    pub(crate) path: String,
    /// What is admitted there.
    pub(crate) allow: Vec<String>,
}

/// `log`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// `text` or `json`.
    pub(crate) format: String,
    /// The least level that is written.
    pub(crate) level: String,
    /// One line a request.
    pub(crate) access: bool,
    /// Where those lines go; empty = standard output.
    pub(crate) access_file: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: "text".to_owned(),
            level: "info".to_owned(),
            access: true,
            access_file: String::new(),
        }
    }
}

/// `geoip`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Geoip {
    /// City database.
    pub(crate) database: String,
}

/// `rpc`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rpc {
    /// Nest TCP transport.
    pub(crate) listen: String,
}
