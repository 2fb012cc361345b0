//! In which forms is the address of a client compared, counted and shown? And which scheme does it use?

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One form per address: an IPv4 address mapped into IPv6 becomes IPv4 again, so that the other form of an
/// address cannot bypass a list of networks.
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

/// The networks around an address for which shares are counted, the widest first: for IPv6 the /48, /56 and
/// /64, for IPv4 the /24 and the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Networks([IpAddr; Networks::LEVELS]);

impl Networks {
    /// The number of networks of one address.
    pub const LEVELS: usize = 3;

    /// The networks around this address.
    pub fn of(address: IpAddr) -> Self {
        Self(match canonical(address) {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                let net = IpAddr::V4(Ipv4Addr::new(a, b, c, 0));
                [net, IpAddr::V4(v4), IpAddr::V4(v4)]
            }
            IpAddr::V6(v6) => {
                let first = |bits: u32| v6.to_bits() & (u128::MAX << (128 - bits));
                [48, 56, 64].map(|bits| IpAddr::V6(Ipv6Addr::from_bits(first(bits))))
            }
        })
    }

    /// The network of a level; level 0 is the widest, and the last one is [`limit_key`].
    pub fn level(&self, level: usize) -> IpAddr {
        let [widest, middle, closest] = self.0;
        match level {
            0 => widest,
            1 => middle,
            _ => closest,
        }
    }
}

/// The scheme of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port of a URL of this scheme that names no port.
    pub const fn default_port(self) -> &'static str {
        match self {
            Self::Http => "80",
            Self::Https => "443",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_nested_and_mapped_addresses_are_those_of_ipv4() {
        let levels = |address: &str| {
            let networks = Networks::of(address.parse().unwrap());
            [0, 1, 2].map(|level| networks.level(level).to_string())
        };
        assert_eq!(
            levels("2001:db8:1:abcd:5::6"),
            ["2001:db8:1::", "2001:db8:1:ab00::", "2001:db8:1:abcd::"]
        );
        for address in ["192.0.2.7", "::ffff:192.0.2.7"] {
            assert_eq!(levels(address), ["192.0.2.0", "192.0.2.7", "192.0.2.7"]);
        }
    }
}
