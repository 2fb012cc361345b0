//! When do two pages, or a page and this server, have the same origin (RFC 6454)?
//!
//! Two origins are equal when scheme, host and port are equal. An origin without a port has the default port of
//! its scheme. Hosts are compared in lower case, IPv6 addresses in their shortest form. Every `Origin` header and
//! every configured origin is parsed once, so no module compares origins as text.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::types::net::Scheme;

/// The longest host name (RFC 1035, 2.3.4).
const MAX_NAME: usize = 253;

/// A scheme, a host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    /// Lower case. An IPv6 address is in brackets, in its shortest form.
    host: String,
    port: u16,
}

/// The text is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an origin: scheme, host and port are needed, and nothing else")]
pub struct NotAnOrigin;

impl Origin {
    /// The origin of a scheme and an authority, such as the value of a `Host` header: `host[:port]`.
    ///
    /// # Errors
    ///
    /// [`NotAnOrigin`] when the authority is malformed.
    pub fn new(scheme: Scheme, authority: &str) -> Result<Self, NotAnOrigin> {
        let (host, port) = split_authority(authority).ok_or(NotAnOrigin)?;
        let host = match in_brackets(host) {
            Some(address) => format!(
                "[{}]",
                address.parse::<Ipv6Addr>().map_err(|_| NotAnOrigin)?
            ),
            None => host.to_ascii_lowercase(),
        };
        let port = port.unwrap_or(default_port(scheme));
        Ok(Self { scheme, host, port })
    }

    /// The origin in the text of an `Origin` header. Browsers send lower case, so a capital letter is refused.
    ///
    /// # Errors
    ///
    /// [`NotAnOrigin`] when the text is not such an origin. `null`, which browsers send for pages without one, is
    /// not.
    pub fn sent(text: &str) -> Result<Self, NotAnOrigin> {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(NotAnOrigin);
        }
        text.parse()
    }

    /// The scheme.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host in lower case; an IPv6 address has brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also when it is the default of the scheme.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `host[:port]`, without a default port.
    pub fn authority(&self) -> String {
        if self.port == default_port(self.scheme) {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Origin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let (scheme, authority) = text.split_once("://").ok_or(NotAnOrigin)?;
        let scheme = [Scheme::Http, Scheme::Https]
            .into_iter()
            .find(|known| scheme.eq_ignore_ascii_case(known.as_str()))
            .ok_or(NotAnOrigin)?;
        Self::new(scheme, authority)
    }
}

/// The origin as browsers send it.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

/// Splits `host[:port]`. The host is a name, an IPv4 address, or an IPv6 address in brackets; it is returned
/// unchanged. `None` when the text is anything else.
pub fn split_authority(text: &str) -> Option<(&str, Option<u16>)> {
    let end = match text.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => text
            .bytes()
            .position(|byte| byte == b':')
            .unwrap_or(text.len()),
    };
    let (host, port) = (text.get(..end)?, text.get(end..)?);
    let is_valid = match in_brackets(host) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => is_name(host),
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return None,
        Some(digits) => Some(port_number(digits)?),
    };
    is_valid.then_some((host, port))
}

const fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

fn in_brackets(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

fn is_name(host: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (1..=MAX_NAME).contains(&host.len()) && host.bytes().all(plain)
}

/// At most five digits. A sign, which `parse` accepts, is refused.
fn port_number(digits: &str) -> Option<u16> {
    let plain = digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(text: &str) -> Option<String> {
        text.parse().ok().map(|origin: Origin| origin.to_string())
    }

    #[test]
    fn an_origin_has_one_spelling() {
        for (text, expected) in [
            ("https://App.Example.org", "https://app.example.org"),
            ("HTTPS://app.example.org:443", "https://app.example.org"),
            ("https://app.example.org:0443", "https://app.example.org"),
            ("https://app.example.org:80", "https://app.example.org:80"),
            ("http://[0:0:0:0:0:0:0:1]:80", "http://[::1]"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ] {
            assert_eq!(origin(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_text_with_more_or_less_than_an_origin_is_refused() {
        for text in [
            "",
            "null",
            "app.example.org",
            "https://",
            "https://app/",
            "https://app/path",
            "https://user@app",
            "https://app?x",
            "https://app:",
            "https://app:+80",
            "https://app:65536",
            "https://app:000080",
            "https://[::1",
            "https://[127.0.0.1]",
            "https://[::1]x",
            "https://a b",
            "https://*",
            "ftp://app",
            "https://app, https://app",
        ] {
            assert_eq!(origin(text), None, "{text}");
        }
    }

    #[test]
    fn scheme_host_and_port_decide_whether_origins_are_equal() {
        let own = Origin::new(Scheme::Https, "App.example.org").unwrap();
        let is_own = |text: &str| text.parse() == Ok(own.clone());
        assert!(is_own("https://app.example.org") && is_own("https://app.example.org:443"));
        for other in [
            "http://app.example.org",
            "http://app.example.org:443",
            "https://app.example.org:80",
            "https://www.app.example.org",
            "https://app.example.org.",
            "https://example.org",
        ] {
            assert!(!is_own(other), "{other}");
        }
    }

    #[test]
    fn a_header_has_lower_case() {
        assert!(Origin::sent("https://app.example.org").is_ok());
        assert!(Origin::sent("https://APP.example.org").is_err());
        assert!(Origin::sent("null").is_err());
    }

    proptest! {
        #[test]
        fn an_origin_that_was_parsed_is_displayed_in_a_form_that_parses_to_it(
            scheme in "https?",
            host in "[a-zA-Z0-9._-]{1,20}|\\[[0-9a-f:]{2,12}\\]",
            port in proptest::option::of(any::<u16>()),
        ) {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            if let Ok(origin) = format!("{scheme}://{host}{port}").parse::<Origin>() {
                let text = origin.to_string();
                prop_assert_eq!(text.parse(), Ok(origin));
                prop_assert_eq!(text.to_ascii_lowercase(), text);
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,40}|https?://[ -~]{0,30}") {
            if let Ok(origin) = text.parse::<Origin>() {
                prop_assert!(!origin.authority().contains(['@', '/', '\\', ',', ' ', '#', '?']));
            }
        }
    }
}
