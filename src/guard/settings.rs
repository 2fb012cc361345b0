//! Settings of the guard.

use http::HeaderName;

use crate::types::header::is_same;

/// The cookie of the access token, and the headers for the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The cookie that carries the access token, with its `__Host-` prefix if it has one.
    pub access_cookie: String,
    /// Identity headers: which preset, or a map of claim to header name.
    pub headers: Preset,
    /// The audience of the assertions; none = none are sent.
    pub assertion: Option<String>,
    /// The most bytes one worker's cache of verified tokens may hold.
    pub cache_bytes: usize,
}

/// Which identity headers are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preset {
    /// One of the named presets, e.g. `native` or `oauth2-proxy`.
    Named(String),
    /// Claim to header name.
    Custom(Vec<(String, HeaderName)>),
}

/// The presets that can be named.
pub const PRESETS: &[&str] = &[
    "native",
    "oauth2-proxy",
    "auth-request",
    "remote-user",
    "authentik",
    "pomerium",
    "cloudflare",
    "grafana",
    "gitea",
    "jenkins",
    "django",
    "spring",
    "php",
    "nextcloud",
    "rails",
    "cloudbeaver",
];

/// The claims that can be written to headers.
pub const CLAIMS: &[&str] = &[
    "sub", "username", "email", "role", "roles", "tenantId", "sid", "amr",
];

/// Whether no claim may be written to this header, in any spelling.
pub fn is_reserved(name: &HeaderName) -> bool {
    let mut reserved = RESERVED.iter();
    reserved.any(|known| is_same(&HeaderName::from_static(known), name))
}

/// Headers that control the message, carry credentials or have another meaning: no claim may be written to
/// them.
const RESERVED: &[&str] = &[
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-request-id",
    "x-sidegate-assertion",
];
