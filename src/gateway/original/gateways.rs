//! How is a gateway detected that is not trusted, and how does the operator learn of it?

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderMap;

use crate::types::time::Timestamp;

/// A worker logs refused gateways at most this often.
const EVERY: Duration = Duration::from_secs(60);

/// The headers that name another request. The first six are read from trusted peers; other gateways and
/// controllers send the rest.
const HEADERS: [&str; 12] = [
    "x-original-uri",
    "x-original-url",
    "x-original-method",
    "x-forwarded-uri",
    "x-forwarded-method",
    "x-forwarded-host",
    "x-original-host",
    "x-forwarded-path",
    "x-envoy-original-path",
    "x-auth-request-redirect",
    "x-rewrite-url",
    "x-replaced-path",
];

/// The header, or the path `below` the route, by which a check names another request.
pub fn names_another_request(headers: &HeaderMap, below: &str) -> Option<&'static str> {
    if !below.is_empty() {
        return Some("a path below the route");
    }
    HEADERS.into_iter().find(|name| headers.contains_key(*name))
}

/// Logs refused gateways: the first at once, then one line a minute that counts the others.
#[derive(Debug, Default)]
pub struct UntrustedGateways {
    /// Before this time, in milliseconds, nothing is logged.
    quiet_until: AtomicU64,
    unlogged: AtomicU64,
}

impl UntrustedGateways {
    /// A peer was refused because of this header.
    pub fn refused(&self, peer: IpAddr, header: &'static str, at: Timestamp) {
        if let Some(more) = self.is_due(at) {
            tracing::warn!(
                %peer,
                header,
                more,
                "a peer that is not in server.trusted_proxies asks about another request, as a gateway \
                 does: 403; if it is your gateway, add its address to server.trusted_proxies"
            );
        }
    }

    /// The number of gateways refused without a line since the last one, when a line is due.
    fn is_due(&self, at: Timestamp) -> Option<u64> {
        let quiet_until = self.quiet_until.load(Ordering::Relaxed);
        if at.as_millis() < quiet_until {
            self.unlogged.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let next = at.plus(EVERY).as_millis();
        self.quiet_until.store(next, Ordering::Relaxed);
        Some(self.unlogged.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_header_and_a_path_below_name_another_request() {
        assert_eq!(names_another_request(&HeaderMap::new(), ""), None);
        assert!(names_another_request(&HeaderMap::new(), "/x").is_some());
        for name in HEADERS {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
            headers.insert("x-forwarded-proto", "https".parse().unwrap());
            assert_eq!(names_another_request(&headers, ""), None);
            headers.insert(name, "".parse().unwrap());
            assert_eq!(names_another_request(&headers, ""), Some(name));
        }
    }

    #[test]
    fn one_line_a_minute_counts_the_refused_checks() {
        let gateways = UntrustedGateways::default();
        let now = Timestamp::from_secs(1_000);
        assert_eq!(gateways.is_due(now), Some(0));
        for _ in 0..1_000 {
            assert_eq!(gateways.is_due(now), None);
        }
        assert_eq!(gateways.is_due(now.plus(EVERY)), Some(1_000));
        assert_eq!(gateways.is_due(now.plus(EVERY)), None);
    }
}
