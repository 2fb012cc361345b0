//! Settings of the mounts.

use std::net::IpAddr;

use crate::types::origin::Origin;

/// One mount: a path prefix that Sidegate answers itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `/auth`, without a trailing slash.
    pub prefix: String,
    /// The dialect.
    pub dialect: DialectName,
    /// How tokens are delivered.
    pub delivery: Delivery,
    /// Other origins whose pages may call.
    pub allowed_origins: Vec<Origin>,
    /// Whether a gateway's check renews an access cookie that has expired.
    pub verify_renews: bool,
}

/// The name of a dialect: a word of the configuration. [`dialects`](crate::api::dialects) has the dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialectName {
    /// The native dialect.
    Sidegate,
}

impl DialectName {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sidegate => "sidegate",
        }
    }

    /// The deliveries of tokens that the clients of this dialect can use.
    pub const fn deliveries(self) -> &'static [Delivery] {
        match self {
            Self::Sidegate => &[Delivery::Json, Delivery::Cookies, Delivery::Hybrid],
        }
    }
}

/// How tokens are delivered to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// In the body.
    Json,
    /// In cookies only.
    Cookies,
    /// The access token in the body, the refresh token in a cookie.
    Hybrid,
}

/// Everything the API needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The mounts.
    pub mounts: Vec<Mount>,
    /// Our cookies.
    pub cookies: Cookies,
    /// The most bytes of a request body.
    pub max_body: usize,
    /// How the session list shows addresses.
    pub addresses: Addresses,
    /// Our own origin when `server.public_url` is set; otherwise it is that of the request.
    pub public_origin: Option<Origin>,
}

/// How the session list shows addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// Shortened to the network.
    Masked,
    /// Unchanged.
    Full,
}

impl Addresses {
    /// The whole address, if it may be shown.
    pub fn full(self, address: Option<IpAddr>) -> Option<String> {
        match self {
            Self::Masked => None,
            Self::Full => address.map(|a| a.to_string()),
        }
    }
}

/// Names and attributes of our cookies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookies {
    /// The access token's cookie, prefix included.
    pub access: String,
    /// The refresh token's cookie, prefix included.
    pub refresh: String,
    /// The device id's cookie, prefix included.
    pub device: String,
    /// Whether `Secure` is set.
    pub secure: bool,
    /// `Lax`, `Strict` or `None`.
    pub same_site: &'static str,
    /// `Domain`, when not host-only.
    pub domain: Option<String>,
}

/// Browsers take a cookie of such a name from its own host only (RFC 6265bis, 4.1.3.2).
pub const HOST_PREFIX: &str = "__Host-";

impl Cookies {
    /// Every name that a cookie of ours has, or had under another configuration. None of these cookies reaches the
    /// application.
    pub fn names(&self) -> Vec<String> {
        let names = [&self.access, &self.refresh, &self.device];
        names
            .into_iter()
            .flat_map(|name| [name.clone(), other_name(name)])
            .collect()
    }
}

/// The name of the same cookie under a configuration that differs in the prefix: with https in place of http, or
/// the reverse.
pub fn other_name(name: &str) -> String {
    name.strip_prefix(HOST_PREFIX)
        .map_or_else(|| format!("{HOST_PREFIX}{name}"), str::to_owned)
}
