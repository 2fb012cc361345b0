//! Writes the forwarding headers, from [`Via`] alone: those of the client are already removed.
//!
//! They are `X-Forwarded-For`, `-Host`, `-Proto`, `-Port`, and `-Prefix` if a trusted peer sent one. The
//! standard's `Forwarded` (RFC 7239) is not written: applications that read both disagree on which one takes
//! precedence, and one source is safer than two.

use http::HeaderValue;

use crate::proxy::cookies::Left;
use crate::proxy::header_sink::HeaderSink;
use crate::proxy::via::Via;
use crate::types::net::Scheme;
use crate::types::text::push_address;

/// Appends the forwarding headers and the request's id.
pub(super) fn write(out: &mut impl HeaderSink, via: &Via) {
    let earlier = &via.earlier;
    out.made(b"x-forwarded-for: ", |out| {
        if let Some(chain) = &earlier.chain {
            out.extend_from_slice(chain.as_bytes());
            out.extend_from_slice(b", ");
        }
        push_address(out, via.peer.to_canonical());
        Left::Some
    });
    let host = earlier.host.as_ref().or(via.host.as_ref());
    if let Some(host) = host.filter(|host| !host.is_empty()) {
        line(out, b"x-forwarded-host: ", host.as_bytes());
    }
    let proto = (earlier.proto.as_ref()).map_or(via.scheme.as_str().as_bytes(), value);
    line(out, b"x-forwarded-proto: ", proto);
    let port = (earlier.port.as_ref()).map_or_else(|| port(host, proto), value);
    line(out, b"x-forwarded-port: ", port);
    if let Some(prefix) = &earlier.prefix {
        line(out, b"x-forwarded-prefix: ", prefix.as_bytes());
    }
    line(out, b"x-request-id: ", via.request_id.as_bytes());
    if let Some((name, value)) = via.subject.as_deref() {
        out.line(name, value);
    }
}

fn line(out: &mut impl HeaderSink, label: &'static [u8], value: &[u8]) {
    out.made(label, |out| {
        out.extend_from_slice(value);
        Left::Some
    });
}

fn value(value: &HeaderValue) -> &[u8] {
    value.as_bytes()
}

/// The port the client used: the one in its host, else the default of the scheme; both as a trusted proxy
/// states them. The listening port would be wrong behind every port mapping.
fn port<'a>(host: Option<&'a HeaderValue>, proto: &[u8]) -> &'a [u8] {
    let default = if proto.eq_ignore_ascii_case(b"https") {
        Scheme::Https.default_port().as_bytes()
    } else {
        Scheme::Http.default_port().as_bytes()
    };
    let Some(host) = host.map(value) else {
        return default;
    };
    match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) => match host.get(colon + 1..) {
            Some(port) if is_port(port) => port,
            _ => default,
        },
        None => default,
    }
}

/// The last group of an IPv6 address without brackets can look like a port, but the gateway refuses such a
/// `Host`.
fn is_port(text: &[u8]) -> bool {
    (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::via::Earlier;

    fn via(host: &'static str) -> Via {
        Via {
            client: std::net::Ipv4Addr::LOCALHOST.into(),
            is_shared: false,
            peer: "203.0.113.9".parse().unwrap(),
            scheme: Scheme::Https,
            host: Some(HeaderValue::from_static(host)),
            request_id: HeaderValue::from_static("id-1"),
            subject: None,
            earlier: Earlier::default(),
        }
    }

    fn written(via: &Via) -> String {
        let mut out = Vec::new();
        write(&mut out, via);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_untrusted_peer_is_forwarded_by_its_own_address() {
        assert_eq!(
            written(&via("app.example.org")),
            "x-forwarded-for: 203.0.113.9\r\nx-forwarded-host: app.example.org\r\n\
             x-forwarded-proto: https\r\nx-forwarded-port: 443\r\nx-request-id: id-1\r\n"
        );
    }

    #[test]
    fn headers_of_a_trusted_peer_are_kept_and_the_peer_is_appended() {
        let mut via = via("inside:8080");
        via.peer = "::ffff:10.0.0.1".parse().unwrap();
        via.earlier = Earlier {
            chain: Some(HeaderValue::from_static("198.51.100.1, 192.0.2.1")),
            host: Some(HeaderValue::from_static("outside")),
            proto: Some(HeaderValue::from_static("http")),
            prefix: Some(HeaderValue::from_static("/app")),
            port: Some(HeaderValue::from_static("8443")),
        };
        assert_eq!(
            written(&via),
            "x-forwarded-for: 198.51.100.1, 192.0.2.1, 10.0.0.1\r\nx-forwarded-host: outside\r\n\
             x-forwarded-proto: http\r\nx-forwarded-port: 8443\r\nx-forwarded-prefix: /app\r\n\
             x-request-id: id-1\r\n"
        );
    }

    #[test]
    fn the_port_is_the_one_the_client_names() {
        for (host, port) in [
            ("a:8080", "8080"),
            ("[2001:db8::1]:81", "81"),
            ("[2001:db8::1]", "443"),
            ("a:", "443"),
            ("a:x", "443"),
            ("a", "443"),
        ] {
            let line = format!("x-forwarded-port: {port}\r\n");
            assert!(written(&via(host)).contains(&line), "{host}");
        }
    }
}
