//! Phase 1: which facts about a request can be trusted before it is authorized?
//!
//! Its id, the address of the client, the scheme. Forwarding headers count only from trusted proxies.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderValue};

use crate::net::peer::Peer;
use crate::proxy::Earlier;
use crate::types::header::exactly_once;
use crate::types::net::Scheme;
use crate::types::random::Random;
use crate::types::time::{Stopwatch, Timestamp};
use crate::types::trusted_proxies::{TrustedProxies, client_address};

/// The longest request id that is accepted from a trusted proxy.
const MAX_REQUEST_ID: usize = 128;

/// The facts about one request.
#[derive(Debug)]
pub struct Context {
    /// When its head was complete.
    pub at: Timestamp,
    /// Measures from the same moment.
    pub watch: Stopwatch,
    /// Its id.
    pub request_id: HeaderValue,
    /// The client's address.
    pub client: IpAddr,
    /// Whether that is the address of a proxy that has not named its client.
    pub is_shared: bool,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Whether it is a trusted proxy.
    pub trusted: bool,
    /// The forwarding headers of a trusted peer.
    pub earlier: Earlier,
    /// The scheme that the client uses, here or towards the trusted proxy.
    pub scheme: Scheme,
}

impl Context {
    /// Reads the facts from a request's headers and its connection.
    pub fn of(
        headers: &HeaderMap,
        peer: &Peer,
        trusted: &TrustedProxies,
        ids: &RequestIds,
        at: Timestamp,
    ) -> Self {
        let watch = Stopwatch::start();
        let (is_nameless, scheme) = (peer.is_nameless, peer.scheme);
        let peer = peer.address;
        if is_nameless || !trusted.trust(peer) {
            return Self {
                at,
                watch,
                request_id: ids.next(),
                client: peer,
                is_shared: is_nameless,
                peer,
                trusted: false,
                earlier: Earlier::default(),
                scheme,
            };
        }
        let chain = headers
            .get_all("x-forwarded-for")
            .iter()
            .map(HeaderValue::as_bytes);
        let client = client_address(peer, chain, trusted).address;
        let earlier = Earlier {
            chain: joined(headers, "x-forwarded-for"),
            host: exactly_once(headers, "x-forwarded-host").cloned(),
            proto: exactly_once(headers, "x-forwarded-proto").cloned(),
            prefix: exactly_once(headers, "x-forwarded-prefix").cloned(),
            port: exactly_once(headers, "x-forwarded-port").cloned(),
        };
        let scheme = match earlier.proto.as_ref().map(HeaderValue::as_bytes) {
            None => scheme,
            Some(b"https") => Scheme::Https,
            Some(_) => Scheme::Http,
        };
        let kept = exactly_once(headers, "x-request-id")
            .cloned()
            .filter(is_request_id);
        Self {
            at,
            watch,
            request_id: kept.unwrap_or_else(|| ids.next()),
            client,
            is_shared: trusted.trust(client),
            peer,
            trusted: true,
            earlier,
            scheme,
        }
    }

    /// The request id as text.
    pub fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or("-")
    }
}

/// All lines of a list header as one.
fn joined(headers: &HeaderMap, name: &str) -> Option<HeaderValue> {
    let lines: Vec<&[u8]> = headers
        .get_all(name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    match lines.as_slice() {
        [] => None,
        [one] => HeaderValue::from_bytes(one).ok(),
        many => HeaderValue::from_bytes(&many.join(&b", "[..])).ok(),
    }
}

fn is_request_id(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-:/+=".contains(b);
    (1..=MAX_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(plain)
}

/// Generates request ids: eight random bytes per worker, then a counter. They reveal only the order of
/// requests on one worker.
#[derive(Debug)]
pub struct RequestIds {
    prefix: [u8; 8],
    count: AtomicU64,
}

impl RequestIds {
    /// A fresh series.
    pub fn new(random: &dyn Random) -> Self {
        Self {
            prefix: random.bytes(),
            count: AtomicU64::new(0),
        }
    }

    /// The next id: 32 hexadecimal digits.
    pub fn next(&self) -> HeaderValue {
        let count = self.count.load(Ordering::Relaxed);
        self.count.store(count.wrapping_add(1), Ordering::Relaxed);
        let mut bytes = [0; 16];
        let (prefix, number) = bytes.split_at_mut(8);
        prefix.copy_from_slice(&self.prefix);
        number.copy_from_slice(&count.to_be_bytes());
        let mut text = [0; 32];
        HEXLOWER.encode_mut(&bytes, &mut text);
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::random::SeededRandom;

    fn context(peer: &str, headers: &[(&'static str, &str)]) -> Context {
        context_over(Scheme::Http, peer, headers)
    }

    fn context_over(scheme: Scheme, peer: &str, headers: &[(&'static str, &str)]) -> Context {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let trusted = TrustedProxies::try_new(vec!["10.0.0.0/8".parse().unwrap()]).unwrap();
        let ids = RequestIds::new(&SeededRandom::new(1));
        Context::of(
            &map,
            &Peer {
                address: peer.parse().unwrap(),
                scheme,
                is_nameless: false,
                subject: None,
            },
            &trusted,
            &ids,
            Timestamp::from_secs(1),
        )
    }

    /// A bug: all users behind a trusted load balancer that does not name its clients shared half of the
    /// upstream's connections.
    #[test]
    fn an_address_is_shared_where_a_trusted_peer_does_not_name_its_client() {
        let named = [("x-forwarded-for", "198.51.100.7")];
        assert!(!context("10.1.2.3", &named).is_shared);
        assert!(context("10.1.2.3", &[]).is_shared);
        assert!(!context("192.0.2.1", &[]).is_shared);
        assert!(!context("192.0.2.1", &named).is_shared);
    }

    #[test]
    fn forwarding_headers_of_an_untrusted_peer_are_ignored() {
        let context = context(
            "192.0.2.1",
            &[
                ("x-forwarded-for", "1.2.3.4"),
                ("x-forwarded-proto", "https"),
                ("x-request-id", "mine"),
            ],
        );
        assert_eq!(context.client.to_string(), "192.0.2.1");
        assert_eq!(context.scheme, Scheme::Http);
        assert_ne!(context.request_id(), "mine");
        assert!(context.earlier.chain.is_none());
    }

    #[test]
    fn a_trusted_peer_names_client_scheme_and_request() {
        let context = context(
            "10.1.2.3",
            &[
                ("x-forwarded-for", "6.6.6.6, 198.51.100.7"),
                ("x-forwarded-for", "10.9.9.9"),
                ("x-forwarded-proto", "https"),
                ("x-request-id", "edge-42"),
            ],
        );
        assert_eq!(context.client.to_string(), "198.51.100.7");
        assert_eq!(context.scheme, Scheme::Https);
        assert_eq!(context.request_id(), "edge-42");
        assert_eq!(
            context.earlier.chain.unwrap(),
            "6.6.6.6, 198.51.100.7, 10.9.9.9"
        );
    }

    #[test]
    fn the_scheme_is_that_of_the_connection_unless_a_trusted_peer_sets_it() {
        let over_tls = |peer, headers: &[_]| context_over(Scheme::Https, peer, headers).scheme;
        let plain = [("x-forwarded-proto", "http")];
        assert_eq!(over_tls("192.0.2.1", &plain), Scheme::Https);
        assert_eq!(over_tls("10.1.2.3", &[]), Scheme::Https);
        assert_eq!(over_tls("10.1.2.3", &plain), Scheme::Http);
    }

    #[test]
    fn an_invalid_or_repeated_request_id_is_replaced() {
        for headers in [
            &[("x-request-id", "a b")][..],
            &[("x-request-id", "a"), ("x-request-id", "b")][..],
            &[("x-request-id", "")][..],
        ] {
            assert_eq!(context("10.1.2.3", headers).request_id().len(), 32);
        }
    }

    #[test]
    fn no_two_ids_are_the_same() {
        let ids = RequestIds::new(&SeededRandom::new(1));
        let made: std::collections::HashSet<_> =
            (0..1_000).map(|_| ids.next().as_bytes().to_vec()).collect();
        assert_eq!(made.len(), 1_000);
    }
}
