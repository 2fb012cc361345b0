//! Gateways that are not trusted: how they are recognised, and how the operator learns of them.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderMap;

use crate::types::time::Timestamp;

/// How often a worker logs that it refuses such a gateway at most.
const EVERY: Duration = Duration::from_secs(60);

/// The headers that tell of another request. The first six are read from trusted peers; the others are
/// those of gateways and controllers that send them beside or in place of these.
const TOLD_BY: [&str; 12] = [
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

/// By what a check tells of another request, if it does: a header, or a path `below` the route.
pub fn told_by(headers: &HeaderMap, below: &str) -> Option<&'static str> {
    if !below.is_empty() {
        return Some("a path below the route");
    }
    TOLD_BY.into_iter().find(|name| headers.contains_key(*name))
}

/// Logs refused gateways: the first at once, then one line a minute that counts the others.
#[derive(Debug, Default)]
pub struct UntrustedGateways {
    /// Before this time, in milliseconds, nothing is logged.
    quiet_until: AtomicU64,
    unlogged: AtomicU64,
}

impl UntrustedGateways {
    /// A peer was refused for what it told.
    pub fn refused(&self, peer: IpAddr, told_by: &'static str, at: Timestamp) {
        if let Some(more) = self.is_due(at) {
            tracing::warn!(
                %peer,
                told_by,
                more,
                "a peer that is not in server.trusted_proxies asks about another request, as a gateway \
                 does: 403; if it is your gateway, add its address to server.trusted_proxies"
            );
        }
    }

    /// How many were refused without a line since the last one, when one is due.
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
    fn each_header_and_a_path_below_tell_of_another_request() {
        assert_eq!(told_by(&HeaderMap::new(), ""), None);
        assert!(told_by(&HeaderMap::new(), "/x").is_some());
        for name in TOLD_BY {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
            headers.insert("x-forwarded-proto", "https".parse().unwrap());
            assert_eq!(told_by(&headers, ""), None);
            headers.insert(name, "".parse().unwrap());
            assert_eq!(told_by(&headers, ""), Some(name));
        }
    }

    #[test]
    fn one_line_a_minute_says_how_many_there_were() {
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
