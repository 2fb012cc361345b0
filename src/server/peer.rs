//! The other end of a connection: what all its requests share.
//!
//! Whoever holds an `Arc<Peer>` keeps the connection in the books (the doorman's, the worker's), so
//! that what outlives hyper's part of it, such as a tunnel, still counts against the limits and is
//! waited for when the process ends.

use std::net::IpAddr;

use http::HeaderValue;

use crate::server::context::End;
use crate::server::worker::Open;
use crate::types::net::Scheme;

/// The other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// What it speaks on this connection.
    pub scheme: Scheme,
    /// Whether a balancer handed the connection on without a word about who made it. The address is
    /// the balancer's then, and what is said on the connection is anybody's.
    pub is_nameless: bool,
    /// The subject of the certificate it proved to hold.
    pub subject: Option<HeaderValue>,
    /// The connection's place in the books.
    pub(super) open: Open,
}

impl Peer {
    /// What a request's facts depend on.
    pub fn end(&self) -> End {
        End {
            address: self.address,
            scheme: self.scheme,
            is_nameless: self.is_nameless,
        }
    }
}
