//! Which peers may name the address of a client, and which address do their headers name?

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::types::net::canonical;

/// The peers whose forwarding headers are trusted. Empty by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// From networks in CIDR form. A network that contains every address is refused, and so are several
    /// networks that do so together: any client could then claim any address.
    pub fn try_new(networks: Vec<IpNet>) -> Result<Self, BadNetwork> {
        let networks: Result<Vec<_>, _> = networks.into_iter().map(plain_network).collect();
        let networks = networks?;
        let is_everybody = |network: &IpNet| network.prefix_len() == 0;
        if IpNet::aggregate(&networks).iter().any(is_everybody) {
            return Err(BadNetwork::Everybody);
        }
        Ok(Self(networks))
    }

    /// Whether the forwarding headers of this peer are trusted.
    pub fn trust(&self, peer: IpAddr) -> bool {
        let peer = canonical(peer);
        self.0.iter().any(|network| network.contains(&peer))
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Parses a network in CIDR form, or a single address. The result has the form that peers are compared
/// with, so a network of IPv4 addresses mapped into IPv6 becomes the IPv4 network.
pub fn network(text: &str) -> Result<IpNet, BadNetwork> {
    if text.contains('%') {
        return Err(BadNetwork::Zone);
    }
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| BadNetwork::Malformed)?;
    plain_network(network)
}

/// A network in the form that peers are compared by.
fn plain_network(network: IpNet) -> Result<IpNet, BadNetwork> {
    let plain = match (network, canonical(network.addr())) {
        (IpNet::V6(_), IpAddr::V4(v4)) if network.prefix_len() >= MAPPED => {
            let bits = network.prefix_len() - MAPPED;
            IpNet::new(IpAddr::V4(v4), bits).map_err(|_| BadNetwork::Malformed)?
        }
        // It contains every IPv4 address, in a form that no peer is compared in.
        (IpNet::V6(wide), _) if wide.contains(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()) => {
            return Err(BadNetwork::Everybody);
        }
        _ => network,
    };
    if plain.prefix_len() == 0 {
        return Err(BadNetwork::Everybody);
    }
    Ok(plain)
}

/// The bits of `::ffff:0:0/96`, where IPv4 addresses are mapped into IPv6.
const MAPPED: u8 = 96;

/// A network that cannot be trusted, or text that is not a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadNetwork {
    /// Neither a network nor an address.
    #[error("is no network")]
    Malformed,
    /// An address with a zone. Peers are compared without one, since a zone names a link and not a
    /// host.
    #[error("has a zone id, which no peer is compared with")]
    Zone,
    /// Every address, or every IPv4 address.
    #[error("is the whole world: anybody could claim any address")]
    Everybody,
}

impl BadNetwork {
    /// The correct notation.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Malformed => "write \"10.0.0.0/8\" or \"2001:db8::/32\"",
            Self::Zone => "leave out the percent sign and what follows it",
            Self::Everybody => "name the networks of your proxies",
        }
    }
}

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

/// The maximum number of entries of `X-Forwarded-For`. A longer list counts as unparsable.
pub const MAX_FORWARDED: usize = 64;

/// The client's address: the peer itself, or, if the peer is trusted, the rightmost entry of
/// `X-Forwarded-For` that is not trusted, over all lines from the right. If every entry is trusted,
/// it is the leftmost. If an entry is not an address, it is the peer: the entries to the left of an
/// invalid one cannot be trusted.
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

/// An IPv6 address. A zone id names a link, not a host, and is dropped.
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
        for all in [
            "0.0.0.0/0",
            "::/0",
            "::ffff:0.0.0.0/96",
            "::ffff:0:0/96",
            "::ffff:0:0/95",
            "::ffff:0:0/80",
            "::/80",
            "::/1",
            "::ffff:10.1.2.3/96",
        ] {
            assert_eq!(network(all), Err(BadNetwork::Everybody), "{all}");
            let networks = vec!["127.0.0.1/32".parse().unwrap(), all.parse().unwrap()];
            let list = TrustedProxies::try_new(networks);
            assert_eq!(list, Err(BadNetwork::Everybody), "{all}");
        }
        let halves = ["0.0.0.0/1", "128.0.0.0/1"].map(|half| network(half).unwrap());
        let list = TrustedProxies::try_new(halves.to_vec());
        assert_eq!(list, Err(BadNetwork::Everybody));
    }

    #[test]
    fn s16_every_notation_of_a_network_trusts_its_peers() {
        for (text, trusted, other) in [
            ("::ffff:10.0.0.0/104", "10.1.1.1", "11.0.0.1"),
            ("::ffff:10.0.0.0/104", "::ffff:10.1.1.1", "::a00:1"),
            ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.7", "::ffff:192.0.2.7", "192.0.2.6"),
            ("192.0.2.7/24", "192.0.2.200", "192.0.3.1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("2001:db8::5/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("fe80::/10", "fe80::1", "fec0::1"),
        ] {
            let list = TrustedProxies::try_new(vec![network(text).unwrap()]).unwrap();
            assert!(list.trust(trusted.parse().unwrap()), "{text}: {trusted}");
            assert!(!list.trust(other.parse().unwrap()), "{text}: {other}");
        }
        for (bad, why) in [
            ("fe80::1%eth0", BadNetwork::Zone),
            ("fe80::%1/64", BadNetwork::Zone),
            ("10.0.0.0/33", BadNetwork::Malformed),
            ("10.0.0", BadNetwork::Malformed),
            ("010.0.0.1", BadNetwork::Malformed),
            ("10.0.0.0/255.0.0.0", BadNetwork::Malformed),
            ("10.0.0.0-10.0.0.9", BadNetwork::Malformed),
            ("[::1]", BadNetwork::Malformed),
            ("10.0.0.1:80", BadNetwork::Malformed),
            (" 10.0.0.1", BadNetwork::Malformed),
            ("localhost", BadNetwork::Malformed),
            ("", BadNetwork::Malformed),
        ] {
            assert_eq!(network(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn s16_headers_of_an_untrusted_peer_are_ignored() {
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
    fn s16_with_an_unparsable_entry_the_peer_is_the_client() {
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
        // The list is read from the right, so the untrusted entry is found before the malformed one.
        assert_eq!(client("10.0.0.1", &["unknown, 6.6.6.6"]), "6.6.6.6");
    }

    #[test]
    fn s16_with_an_oversized_list_the_peer_is_the_client() {
        let list = |n| vec!["10.2.2.2"; n].join(",");
        let long = format!("6.6.6.6,{}", list(MAX_FORWARDED));
        assert_eq!(client("10.0.0.1", &[&long]), "10.0.0.1");
        let fits = format!("6.6.6.6,{}", list(MAX_FORWARDED - 1));
        assert_eq!(client("10.0.0.1", &[&fits]), "6.6.6.6");
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_client_address(lines in prop::collection::vec(
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
            let four = Ipv4Addr::from_bits(v4);
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
