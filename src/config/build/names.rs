//! Small grammars that several sections share: origins, hosts, prefixes, socket paths.

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use crate::types::origin::Origin;

/// An origin whose host is valid in a configuration. Port 0 names none.
pub(super) fn origin(text: &str) -> Option<Origin> {
    let origin: Origin = text.parse().ok()?;
    (is_host(origin.host()) && origin.port() != 0).then_some(origin)
}

/// `host[:port]`, where an IPv6 address is in brackets. The host keeps its brackets.
pub(super) fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let after_bracket = text.rfind(']').map_or(0, |at| at + 1);
    let tail = text.get(after_bracket..)?;
    match tail.find(':') {
        None => Some((text, None)),
        Some(at) => {
            let host = text.get(..after_bracket + at)?;
            let digits = tail.get(at + 1..)?;
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            let port = digits.parse().ok().filter(|_| plain)?;
            Some((host, Some(port)))
        }
    }
}

/// A host as in a `Host` header, without a port: a DNS name, an IPv4 address, or an IPv6
/// address in brackets.
pub(super) fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        return matches!(inner.parse(), Ok(IpAddr::V6(_)));
    }
    is_dns_name(text)
}

/// The host in the spelling that browsers send: lower case, an IPv6 address in its shortest form.
/// Another spelling would never be equal to a host in a request.
pub(super) fn host(text: &str) -> Option<String> {
    if !is_host(text) {
        return None;
    }
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    match inner.map(str::parse::<Ipv6Addr>) {
        Some(address) => address.ok().map(|address| format!("[{address}]")),
        None => Some(text.to_ascii_lowercase()),
    }
}

/// A DNS name (RFC 1123, 2.1); underscores are admitted, since container networks use them.
pub(super) fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    (1..=253).contains(&text.len()) && text.split('.').all(label)
}

/// A path prefix: `/segment[/segment…]` of unreserved characters, so that it has one spelling.
pub(super) fn is_prefix(text: &str) -> bool {
    let segment = |segment: &str| {
        !segment.is_empty()
            && segment != "."
            && segment != ".."
            && segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
    };
    text.len() <= 128
        && text
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(segment))
}

/// Whether this path can be the address of a Unix socket (`sun_path` holds 108 bytes).
pub(super) fn fits_socket(path: &Path) -> bool {
    (1..=107).contains(&path.as_os_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_parsed_as_browsers_send_it() {
        for (text, expected) in [
            ("https://App.Example.org", Some("https://app.example.org")),
            (
                "https://app.example.org:443",
                Some("https://app.example.org"),
            ),
            ("http://[::1]:8080", Some("http://[::1]:8080")),
            ("http://[0:0:0:0:0:0:0:1]:80", Some("http://[::1]")),
            (
                "https://app.example.org:0443",
                Some("https://app.example.org"),
            ),
            ("http://127.0.0.1", Some("http://127.0.0.1")),
            ("https://app.example.org/", None),
            ("https://app.example.org/path", None),
            ("https://user@app.example.org", None),
            ("ftp://app.example.org", None),
            ("https://", None),
            ("https://a:b", None),
            ("https://a:0", None),
            ("https://a:+80", None),
            ("https://*", None),
            ("null", None),
        ] {
            let origin = origin(text).map(|origin| origin.to_string());
            assert_eq!(origin.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_host_is_parsed_as_browsers_send_it() {
        for (text, expected) in [
            ("App.Example.ORG", Some("app.example.org")),
            ("[2001:DB8:0:0:0:0:0:1]", Some("[2001:db8::1]")),
            ("192.0.2.7", Some("192.0.2.7")),
            ("app.example.org.", None),
            ("app.example.org:443", None),
            ("[fe80::1%eth0]", None),
            ("*.example.org", None),
            ("2001:db8::1", None),
            ("", None),
        ] {
            assert_eq!(host(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_prefix_has_one_spelling() {
        assert!(is_prefix("/auth") && is_prefix("/api/v1.2/auth"));
        for bad in [
            "", "/", "auth", "/auth/", "//auth", "/a/../b", "/a%20b", "/ä", "/a?b",
        ] {
            assert!(!is_prefix(bad), "{bad}");
        }
    }
}
