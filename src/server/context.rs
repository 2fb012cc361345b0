//! What is known about a request before it is judged, from trusted facts only: its id, the client's
//! address and scheme, the host.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderValue};

use crate::proxy::{Earlier, Via};
use crate::types::net::{self, Scheme, TrustedProxies};
use crate::types::random::Random;
use crate::types::time::{Stopwatch, Timestamp};

/// A kept request id is at most so long.
const MAX_REQUEST_ID: usize = 128;

/// The other end of a connection, as far as a request's facts depend on it.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// Its address.
    pub address: IpAddr,
    /// What it speaks on this connection.
    pub scheme: Scheme,
    /// Whether nobody knows who it is, whatever the address.
    pub is_nameless: bool,
}

/// The facts about one request.
#[derive(Debug)]
pub struct Context {
    /// When its head had arrived.
    pub at: Timestamp,
    /// Runs from the same moment.
    pub watch: Stopwatch,
    /// Its id.
    pub request_id: HeaderValue,
    /// The client's address.
    pub client: IpAddr,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Whether it is one whose word counts.
    pub trusted: bool,
    /// What a trusted peer says about the way before it.
    pub earlier: Earlier,
    /// What the client speaks, here or to the trusted peer in front.
    pub scheme: Scheme,
}

impl Context {
    /// Looks at a request's headers. Forwarding headers count only when the peer is trusted.
    pub fn of(
        headers: &HeaderMap,
        end: End,
        trusted: &TrustedProxies,
        ids: &RequestIds,
        at: Timestamp,
    ) -> Self {
        let watch = Stopwatch::start();
        let peer = end.address;
        if end.is_nameless || !trusted.trust(peer) {
            return Self {
                at,
                watch,
                request_id: ids.next(),
                client: peer,
                peer,
                trusted: false,
                earlier: Earlier::default(),
                scheme: end.scheme,
            };
        }
        let chain = headers
            .get_all("x-forwarded-for")
            .iter()
            .map(HeaderValue::as_bytes);
        let client = net::client_address(peer, chain, trusted).address;
        let earlier = Earlier {
            chain: joined(headers, "x-forwarded-for"),
            host: single(headers, "x-forwarded-host"),
            proto: single(headers, "x-forwarded-proto"),
            prefix: single(headers, "x-forwarded-prefix"),
            port: single(headers, "x-forwarded-port"),
        };
        let scheme = match earlier.proto.as_ref().map(HeaderValue::as_bytes) {
            None => end.scheme,
            Some(b"https") => Scheme::Https,
            Some(_) => Scheme::Http,
        };
        let kept = single(headers, "x-request-id").filter(is_request_id);
        Self {
            at,
            watch,
            request_id: kept.unwrap_or_else(|| ids.next()),
            client,
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

    /// What the proxy writes its forwarding headers from.
    pub fn via(&mut self, host: Option<HeaderValue>, public: Option<Scheme>) -> Via {
        Via {
            client: self.client,
            peer: self.peer,
            scheme: public.unwrap_or(self.scheme),
            host,
            request_id: self.request_id.clone(),
            subject: None,
            earlier: std::mem::take(&mut self.earlier),
        }
    }
}

/// The value of a header that must occur once; more than one is nobody's.
fn single(headers: &HeaderMap, name: &str) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.clone()),
        _ => None,
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

/// Makes request ids: eight random bytes per worker, then a count. Unique, cheap, and no clue about
/// anything but the order on one worker.
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
            End {
                address: peer.parse().unwrap(),
                scheme,
                is_nameless: false,
            },
            &trusted,
            &ids,
            Timestamp::from_secs(1),
        )
    }

    #[test]
    fn a_stranger_is_believed_nothing() {
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
    fn the_connection_says_what_is_spoken_unless_a_trusted_peer_says_otherwise() {
        let over_tls = |peer, headers: &[_]| context_over(Scheme::Https, peer, headers).scheme;
        let plain = [("x-forwarded-proto", "http")];
        assert_eq!(over_tls("192.0.2.1", &plain), Scheme::Https);
        assert_eq!(over_tls("10.1.2.3", &[]), Scheme::Https);
        assert_eq!(over_tls("10.1.2.3", &plain), Scheme::Http);
    }

    #[test]
    fn an_odd_or_doubled_request_id_is_replaced() {
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
