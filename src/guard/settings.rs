//! What the guard is told by the configuration.

use http::HeaderName;

/// Where tokens are found and what the upstream is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The cookie that carries the access token, with its `__Host-` prefix if it has one.
    pub access_cookie: String,
    /// Identity headers: which preset, or a map of claim to header name.
    pub headers: Preset,
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
