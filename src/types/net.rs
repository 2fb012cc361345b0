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

/// What the client speaks.
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

    /// The port a URL of this scheme means when it names none.
    pub const fn default_port(self) -> &'static str {
        match self {
            Self::Http => "80",
            Self::Https => "443",
        }
    }
}

/// The peers whose forwarding headers are believed. Empty by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// From networks in CIDR form. A network that holds every address is refused: it would let
    /// anybody name any address.
    pub fn try_new(networks: Vec<IpNet>) -> Result<Self, TrustsEverybody> {
        let networks: Vec<_> = networks.into_iter().map(canonical_network).collect();
        if networks.iter().any(|network| network.prefix_len() == 0) {
            return Err(TrustsEverybody);
        }
        Ok(Self(networks))
    }

    /// Whether this peer may speak for its clients.
    pub fn trust(&self, peer: IpAddr) -> bool {
        let peer = canonical(peer);
        self.0.iter().any(|network| network.contains(&peer))
    }
}

/// A network of IPv4 addresses mapped into IPv6 becomes the IPv4 network, as its addresses do.
fn canonical_network(network: IpNet) -> IpNet {
    let mapped = match (canonical(network.addr()), network.prefix_len()) {
        (IpAddr::V4(v4), bits @ 96..) if network.addr().is_ipv6() => {
            IpNet::new(IpAddr::V4(v4), bits - 96).ok()
        }
        _ => None,
    };
    mapped.unwrap_or(network)
}

/// A list of trusted proxies that holds every address there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("0.0.0.0/0 and ::/0 would trust every client; name the proxies' own networks")]
pub struct TrustsEverybody;

/// The client of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its address, in canonical form.
    pub address: IpAddr,
    /// How the address is known.
    pub known_by: KnownBy,
}

/// How a client's address is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownBy {
    /// It is the peer of the connection.
    Peer,
    /// A trusted peer named it in `X-Forwarded-For`.
    Forwarded,
}

/// The most entries of `X-Forwarded-For` that are looked at; a longer list counts as unparsable.
pub const MAX_FORWARDED: usize = 64;

/// Who sent the request: the peer itself, or, when the peer is trusted, the rightmost entry of
/// `X-Forwarded-For` that is not trusted, read over all lines from the right. When every entry is
/// trusted it is the leftmost. An entry that is no address makes it the peer again: whoever wrote
/// it, what stands left of it cannot be believed.
///
/// `lines` are the header's values in the order they arrived.
pub fn client_address<L: AsRef<[u8]>>(
    peer: IpAddr,
    lines: impl DoubleEndedIterator<Item = L>,
    trusted: &TrustedProxies,
) -> Client {
    let the_peer = Client {
        address: canonical(peer),
        known_by: KnownBy::Peer,
    };
    if !trusted.trust(peer) {
        return the_peer;
    }
    let mut client = the_peer;
    let mut seen = 0;
    for line in lines.rev() {
        for entry in line.as_ref().rsplit(|byte| *byte == b',') {
            seen += 1;
            let Some(address) = forwarded_entry(entry).filter(|_| seen <= MAX_FORWARDED) else {
                return the_peer;
            };
            client = Client {
                address,
                known_by: KnownBy::Forwarded,
            };
            if !trusted.trust(address) {
                return client;
            }
        }
    }
    client
}

/// One entry: an address, with a port or without, IPv6 with or without brackets and zone.
fn forwarded_entry(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let text = text.trim_matches([' ', '\t']);
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, port) = rest.split_once(']')?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return if is_port { parse_v6(inside) } else { None };
    }
    match text.split_once(':') {
        None => text.parse().ok().map(IpAddr::V4),
        Some((v4, port)) if !port.contains(':') => {
            let v4 = v4.parse().ok().map(IpAddr::V4);
            v4.filter(|_| is_port(port))
        }
        Some(_) => parse_v6(text),
    }
}

/// An IPv6 address; a zone id says which link, not who, and is dropped.
fn parse_v6(text: &str) -> Option<IpAddr> {
    let address = match text.split_once('%') {
        None => text,
        Some((address, zone)) => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            let fine = (1..=32).contains(&zone.len()) && zone.bytes().all(plain);
            fine.then_some(address)?
        }
    };
    let v6: Ipv6Addr = address.parse().ok()?;
    Some(canonical(IpAddr::V6(v6)))
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trusted(networks: &[&str]) -> TrustedProxies {
        let networks = networks.iter().map(|n| n.parse().unwrap()).collect();
        TrustedProxies::try_new(networks).unwrap()
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        let proxies = trusted(&["10.0.0.0/8", "fd00::/8"]);
        client_address(peer.parse().unwrap(), lines.iter(), &proxies)
            .address
            .to_string()
    }

    #[test]
    fn s16_trusting_the_whole_world_is_refused() {
        for all in ["0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96"] {
            assert_eq!(
                TrustedProxies::try_new(vec![all.parse().unwrap()]),
                Err(TrustsEverybody),
                "{all}"
            );
        }
        assert!(trusted(&["::ffff:10.0.0.0/104"]).trust("10.1.1.1".parse().unwrap()));
    }

    #[test]
    fn s16_an_untrusted_peer_speaks_for_nobody() {
        assert_eq!(client("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(client("::ffff:203.0.113.9", &[]), "203.0.113.9");
    }

    #[test]
    fn s16_the_rightmost_untrusted_entry_is_the_client() {
        let table: [(&[&str], &str); 12] = [
            (&[], "10.0.0.1"),
            (&["198.51.100.1"], "198.51.100.1"),
            (&["6.6.6.6, 198.51.100.1, 10.2.2.2"], "198.51.100.1"),
            (&["6.6.6.6", "198.51.100.1", "10.2.2.2"], "198.51.100.1"),
            (&["198.51.100.1,10.2.2.2", "6.6.6.6"], "6.6.6.6"),
            (&["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            (&["198.51.100.1:4711"], "198.51.100.1"),
            (&["[2001:db8::1]:443"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["fe80::1%eth0"], "fe80::1"),
            (&["::ffff:198.51.100.1 ,\tfd00::1"], "198.51.100.1"),
        ];
        for (lines, expected) in table {
            assert_eq!(client("10.0.0.1", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn s16_an_unparsable_entry_means_the_peer() {
        for bad in [
            "",
            "unknown",
            "_hidden",
            "198.51.100.1,",
            "198.51.100.1, ,10.2.2.2",
            "198.51.100.1:",
            "198.51.100.1:99999",
            "198.51.100.1:+80",
            "198.51.100.256",
            "198.51.100.01",
            "[198.51.100.1]",
            "[2001:db8::1",
            "[2001:db8::1]x",
            "2001:db8::1]",
            "2001:db8::1%",
            "2001:db8::1%a b",
            "\"198.51.100.1\"",
            "198.51.100.1 6.6.6.6",
        ] {
            assert_eq!(client("10.0.0.1", &[bad]), "10.0.0.1", "{bad:?}");
        }
        // An untrusted entry right of the bad one has been reached before it.
        assert_eq!(client("10.0.0.1", &["unknown, 6.6.6.6"]), "6.6.6.6");
    }

    #[test]
    fn s16_a_list_without_end_means_the_peer() {
        let list = |n| vec!["10.2.2.2"; n].join(",");
        let long = format!("6.6.6.6,{}", list(MAX_FORWARDED));
        assert_eq!(client("10.0.0.1", &[&long]), "10.0.0.1");
        let fits = format!("6.6.6.6,{}", list(MAX_FORWARDED - 1));
        assert_eq!(client("10.0.0.1", &[&fits]), "6.6.6.6");
    }

    proptest! {
        #[test]
        fn any_bytes_name_some_client(lines in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..40), 0..4)) {
            let peer = "10.0.0.1".parse().unwrap();
            let client = client_address(peer, lines.iter(), &trusted(&["10.0.0.0/8"]));
            prop_assert!(client.known_by == KnownBy::Forwarded || client.address == peer);
        }

        #[test]
        fn nothing_left_of_the_first_untrusted_entry_matters(
            left in "[ -~]{0,40}", honest in any::<[u8; 4]>(), hops in 0_usize..5,
        ) {
            let honest = IpAddr::from(honest);
            let proxies = trusted(&["10.0.0.0/8"]);
            prop_assume!(!proxies.trust(honest));
            let mut line = format!("{left},{honest}");
            for _ in 0..hops {
                line.push_str(", 10.9.9.9");
            }
            let client = client_address("10.0.0.1".parse().unwrap(), [line].iter(), &proxies);
            prop_assert_eq!(client.address, honest);
        }

        #[test]
        fn every_written_form_of_an_address_reads_back(
            bits in any::<u128>(), v4 in any::<u32>(), port in any::<u16>(),
        ) {
            let six = Ipv6Addr::from_bits(bits);
            let four = std::net::Ipv4Addr::from_bits(v4);
            for (text, address) in [
                (format!("{six}"), IpAddr::V6(six)),
                (format!("[{six}]"), IpAddr::V6(six)),
                (format!("[{six}]:{port}"), IpAddr::V6(six)),
                (format!("{four}"), IpAddr::V4(four)),
                (format!("{four}:{port}"), IpAddr::V4(four)),
            ] {
                prop_assert_eq!(forwarded_entry(text.as_bytes()), Some(canonical(address)));
            }
        }
    }
}
