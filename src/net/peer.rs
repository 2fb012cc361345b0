//! Who is at the other end of a connection?

use std::net::IpAddr;

use http::HeaderValue;

use crate::types::net::Scheme;

/// The other end of a connection, as far as the connection itself shows it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The scheme of this connection.
    pub scheme: Scheme,
    /// Whether a load balancer passed the connection on without naming the client. The address is that of
    /// the load balancer, and nothing on the connection can be trusted.
    pub is_nameless: bool,
    /// The subject of the client certificate, if one was verified.
    pub subject: Option<HeaderValue>,
}
