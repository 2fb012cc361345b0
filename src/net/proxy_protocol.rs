//! Which client does a load balancer name in the PROXY header, before the first byte of a connection?
//!
//! Version 1 is a line of text, version 2 is binary. The header is read only from trusted peers, and from them it
//! is required: if it were optional, a client that makes the load balancer send its bytes first could write the
//! header itself. The length is limited before the content is read. Only the client's address is used; the other
//! address, ports and TLVs are skipped. Decision 46 explains why this is not a crate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest header of version 1, with its line end.
const MAX_LINE: usize = 107;

/// The longest header of version 2 that is read: the addresses, and some 500 bytes of extensions.
const MAX_BINARY: usize = 536;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The first bytes of a connection, as a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// The beginning of a header.
    Incomplete,
    /// A complete header.
    Complete {
        /// Its length in bytes.
        length: usize,
        /// The client; `None` when the load balancer connects for itself, or the client is unknown.
        client: Option<IpAddr>,
    },
    /// Not a header.
    Invalid,
}

/// Reads the first bytes of a connection.
pub fn read(bytes: &[u8]) -> Header {
    if let Some(rest) = bytes.strip_prefix(SIGNATURE) {
        return binary(rest);
    }
    if SIGNATURE.starts_with(bytes) || b"PROXY ".starts_with(bytes) {
        return Header::Incomplete;
    }
    if bytes.starts_with(b"PROXY ") {
        return line(bytes);
    }
    Header::Invalid
}

fn line(bytes: &[u8]) -> Header {
    let head = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let Some(end) = head.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < MAX_LINE {
            Header::Incomplete
        } else {
            Header::Invalid
        };
    };
    let text = head
        .get(..end)
        .and_then(|line| std::str::from_utf8(line).ok());
    let length = end + 2;
    match text.and_then(line_of) {
        Some(Named::Client(client)) => Header::Complete {
            length,
            client: Some(client),
        },
        Some(Named::Unknown) => Header::Complete {
            length,
            client: None,
        },
        None => Header::Invalid,
    }
}

/// The client that a line names.
enum Named {
    Client(IpAddr),
    Unknown,
}

/// The client of `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`.
fn line_of(line: &str) -> Option<Named> {
    let mut words = line.split(' ');
    let (Some("PROXY"), Some(family)) = (words.next(), words.next()) else {
        return None;
    };
    if family == "UNKNOWN" {
        // The specification requires that the rest is ignored.
        return Some(Named::Unknown);
    }
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (source, _) = (address()?, address()?);
    let mut port = || {
        let word = words.next()?;
        let plain = word.bytes().all(|byte| byte.is_ascii_digit());
        word.parse::<u16>().ok().filter(|_| plain)
    };
    let (_, _) = (port()?, port()?);
    words.next().is_none().then_some(Named::Client(source))
}

fn binary(rest: &[u8]) -> Header {
    let [kind, family, high, low, body @ ..] = rest else {
        // The first of these bytes is the version.
        return match rest.first() {
            Some(0x20 | 0x21) | None => Header::Incomplete,
            Some(_) => Header::Invalid,
        };
    };
    let size = usize::from(u16::from_be_bytes([*high, *low]));
    let length = SIGNATURE.len() + 4 + size;
    if length > MAX_BINARY || !matches!(kind, 0x20 | 0x21) {
        return Header::Invalid;
    }
    let Some(body) = body.get(..size) else {
        return Header::Incomplete;
    };
    let client = match (kind, family) {
        // LOCAL: a connection of the load balancer itself, such as a probe. UNSPEC and Unix sockets: no address.
        (0x20, _) | (_, 0x00 | 0x31 | 0x32) => None,
        (_, 0x11 | 0x12) => match body.first_chunk::<4>() {
            Some(address) if size >= 12 => Some(IpAddr::from(*address)),
            _ => return Header::Invalid,
        },
        (_, 0x21 | 0x22) => match body.first_chunk::<16>() {
            Some(address) if size >= 36 => Some(IpAddr::from(*address)),
            _ => return Header::Invalid,
        },
        _ => return Header::Invalid,
    };
    Header::Complete { length, client }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(length: usize, client: Option<&str>) -> Header {
        Header::Complete {
            length,
            client: client.map(|client| client.parse().unwrap()),
        }
    }

    /// A header of version 2.
    fn version2(kind: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([kind, family]);
        bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn a_line_names_the_client() {
        let four = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\nGET /";
        assert_eq!(read(four), header(45, Some("192.0.2.1")));
        let six = b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n";
        assert_eq!(read(six), header(six.len(), Some("2001:db8::1")));
        for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ff x 1\r\n"] {
            assert_eq!(read(line.as_bytes()), header(line.len(), None), "{line}");
        }
    }

    #[test]
    fn a_malformed_line_is_not_a_header() {
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 1\r\n",
            "PROXY TCP4 192.0.2.1  198.51.100.1 56324 443\r\n",
            "PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.1 1 443\r\n",
            "PROXY tcp4 192.0.2.1 198.51.100.1 1 443\r\n",
            "PROXY \r\n",
            "proxy TCP4 192.0.2.1 198.51.100.1 1 443\r\n",
            "GET / HTTP/1.1\r\n",
        ] {
            assert_eq!(read(line.as_bytes()), Header::Invalid, "{line}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_LINE));
        assert_eq!(read(long.as_bytes()), Header::Invalid);
    }

    #[test]
    fn a_binary_header_names_the_client_and_its_extensions_are_skipped() {
        let mut body = vec![192, 0, 2, 1, 198, 51, 100, 1, 0, 1, 1, 187];
        let plain = version2(0x21, 0x11, &body);
        assert_eq!(read(&plain), header(28, Some("192.0.2.1")));
        body.extend([0x04, 0, 2, 0, 0]);
        let extended = version2(0x21, 0x11, &body);
        assert_eq!(read(&extended), header(33, Some("192.0.2.1")));
        let six = version2(0x21, 0x21, &[1; 36]);
        assert_eq!(
            read(&six),
            header(52, Some("101:101:101:101:101:101:101:101"))
        );
        for speaks_for_itself in [version2(0x20, 0x11, &body), version2(0x21, 0, b"")] {
            let length = speaks_for_itself.len();
            assert_eq!(read(&speaks_for_itself), header(length, None));
        }
    }

    #[test]
    fn a_malformed_binary_header_is_refused() {
        for odd in [
            version2(0x11, 0x11, &[1; 12]),
            version2(0x22, 0x11, &[1; 12]),
            version2(0x21, 0x11, &[1; 11]),
            version2(0x21, 0x21, &[1; 35]),
            version2(0x21, 0x41, &[1; 36]),
            version2(0x21, 0x11, &[1; 600]),
        ] {
            assert_eq!(read(&odd), Header::Invalid, "{odd:?}");
        }
    }

    proptest! {
        #[test]
        fn a_header_in_pieces_is_incomplete_until_its_last_byte(
            address in any::<[u8; 4]>(), port in any::<u16>(), extra in 0usize..500, cut in 0usize..560,
        ) {
            let mut body = address.to_vec();
            body.extend([10, 0, 0, 1]);
            body.extend(port.to_be_bytes());
            body.extend([1, 187]);
            body.resize(12 + extra, 7);
            let line = format!("PROXY TCP4 {} 10.0.0.1 {port} 443\r\n", Ipv4Addr::from(address));
            for whole in [version2(0x21, 0x11, &body), line.into_bytes()] {
                let client = Some(IpAddr::from(address));
                prop_assert_eq!(read(&whole), Header::Complete { length: whole.len(), client });
                let part = whole.get(..cut.min(whole.len() - 1)).unwrap();
                prop_assert_eq!(read(part), Header::Incomplete);
            }
        }

        #[test]
        fn a_header_is_never_longer_than_its_input(
            start in 0usize..3, bytes in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let starts: [&[u8]; 3] = [b"", b"PROXY ", SIGNATURE];
            let bytes = [starts[start], &bytes].concat();
            match read(&bytes) {
                Header::Complete { length, .. } => prop_assert!(length <= bytes.len().min(MAX_BINARY)),
                Header::Incomplete => prop_assert!(bytes.len() < MAX_BINARY),
                Header::Invalid => {}
            }
        }
    }
}
