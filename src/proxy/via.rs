//! How a request reached us, from facts the server has already judged: the forwarding headers are
//! written from this and from nothing else.

use std::net::IpAddr;

use http::{HeaderName, HeaderValue};

use crate::types::net::Scheme;

/// The way a request came.
#[derive(Debug, Clone)]
pub struct Via {
    /// The client's address, as far as it is known.
    pub client: IpAddr,
    /// The other end of the client's connection. It becomes the last entry of `X-Forwarded-For`.
    pub peer: IpAddr,
    /// What the client speaks to us.
    pub scheme: Scheme,
    /// The `Host` the client sent, or the host of its absolute target; none with HTTP/1.0.
    pub host: Option<HeaderValue>,
    /// The id of this request, ours or a trusted peer's.
    pub request_id: HeaderValue,
    /// The header that tells the subject of the client's certificate, and the subject.
    pub subject: Option<Box<(HeaderName, HeaderValue)>>,
    /// What a trusted peer said about the way before it; empty for every other peer.
    pub earlier: Earlier,
}

/// The forwarding headers of a trusted peer. From any other peer they must not get here.
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
