//! Which headers does a `Connection` header declare to be hop-by-hop (RFC 9110, 7.6.1)?
//!
//! They are collected before any header is removed or added, so they can never remove a header that the proxy
//! writes.

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName};

/// The names in all `Connection` lines, without those that are removed in any case. Usually empty, and then it
/// costs no allocation.
#[derive(Debug, Default)]
pub(super) struct ConnectionNames<'a>(Vec<&'a [u8]>);

impl<'a> ConnectionNames<'a> {
    /// From the lines of a request. Sorted, so that a line of a thousand names costs each header only ten
    /// comparisons.
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let lines = headers.get_all(CONNECTION).into_iter();
        let mut names: Vec<_> = lines
            .flat_map(|line| tokens(line.as_bytes()))
            .filter(|name| !is_ordinary(name))
            .collect();
        names.sort_unstable_by(|a, b| lower(a).cmp(lower(b)));
        Self(names)
    }

    /// Whether a `Connection` line names this header.
    pub(super) fn contains(&self, name: &HeaderName) -> bool {
        let name = name.as_str().as_bytes();
        (self.0)
            .binary_search_by(|known| lower(known).cmp(lower(name)))
            .is_ok()
    }
}

/// The comma-separated tokens of a field value, without blanks around them.
pub fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    (value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

/// Names that need no entry: they are connection options, or headers that are removed in any case.
pub(super) fn is_ordinary(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"keep-alive")
        || name.eq_ignore_ascii_case(b"close")
        || name.eq_ignore_ascii_case(b"upgrade")
        || name.eq_ignore_ascii_case(b"te")
}

fn lower(name: &[u8]) -> impl Iterator<Item = u8> {
    name.iter().map(u8::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn every_connection_line_in_any_case_is_honoured() {
        let mut headers = HeaderMap::new();
        for line in ["close, X-One ,,", "KEEP-ALIVE", " x-Two,x-three"] {
            headers.append(CONNECTION, HeaderValue::from_static(line));
        }
        let named = ConnectionNames::of(&headers);
        for name in ["x-one", "x-two", "x-three"] {
            assert!(named.contains(&HeaderName::from_static(name)), "{name}");
        }
        for name in ["x-four", "close", "x-on"] {
            assert!(!named.contains(&HeaderName::from_static(name)), "{name}");
        }
    }

    #[test]
    fn ordinary_options_need_no_allocation() {
        let mut headers = HeaderMap::new();
        headers.append(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        assert_eq!(ConnectionNames::of(&headers).0.capacity(), 0);
    }
}
