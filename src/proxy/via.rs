//! How did a request reach the proxy? The forwarding headers are written from these values and from
//! nothing else; the gateway has validated them.

use std::net::IpAddr;

use http::{HeaderName, HeaderValue};

use crate::types::net::Scheme;

/// How a request reached the proxy.
#[derive(Debug, Clone)]
pub struct Via {
    /// The client's address, as far as trusted peers report it.
    pub client: IpAddr,
    /// Whether several clients share that address. It then has no share of its own.
    pub is_shared: bool,
    /// The other end of the client's connection. It becomes the last entry of `X-Forwarded-For`.
    pub peer: IpAddr,
    /// The scheme of the client's request.
    pub scheme: Scheme,
    /// The `Host` the client sent, or the host of its absolute target; `None` with HTTP/1.0.
    pub host: Option<HeaderValue>,
    /// The id of this request, generated here or by a trusted peer.
    pub request_id: HeaderValue,
    /// The header for the subject of the client's certificate, and the subject.
    pub subject: Option<Box<(HeaderName, HeaderValue)>>,
    /// The forwarding headers of a trusted peer; empty for every other peer.
    pub earlier: Earlier,
}

/// The forwarding headers of a trusted peer. Those of any other peer must not be stored here.
#[derive(Debug, Clone, Default)]
pub struct Earlier {
    /// `X-Forwarded-For`, its lines joined with `, `.
    pub chain: Option<HeaderValue>,
    /// `X-Forwarded-Host`.
    pub host: Option<HeaderValue>,
    /// `X-Forwarded-Proto`.
    pub proto: Option<HeaderValue>,
    /// `X-Forwarded-Prefix`.
    pub prefix: Option<HeaderValue>,
    /// `X-Forwarded-Port`.
    pub port: Option<HeaderValue>,
}
