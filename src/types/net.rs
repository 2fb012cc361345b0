//! Client addresses: one canonical form, masks, and who may be believed about them.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// One form per address: an IPv4 address mapped into IPv6 becomes IPv4 again, so that a list of
/// networks cannot be passed by writing an address the other way.
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The address as a session list may show it: IPv4 without its last octet (`203.0.113.***`), IPv6
/// cut to its first 48 bits (`2001:db8:1:***`).
pub fn masked(address: IpAddr) -> String {
    match canonical(address) {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.***")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:***")
        }
    }
}

/// The address that limits count by: IPv4 whole, IPv6 by its /64, which one subscriber owns.
pub fn limit_key(address: IpAddr) -> IpAddr {
    match canonical(address) {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// The peers whose forwarding headers are believed. Empty by default.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// From networks in CIDR form.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether this peer may speak for its clients.
    pub fn trust(&self, peer: IpAddr) -> bool {
        let peer = canonical(peer);
        self.0.iter().any(|network| network.contains(&peer))
    }
}
