//! How are header lines that may occur only once read, when are two header names the same, and how is any
//! text written as a value?
//!
//! A header that is meant to occur once and occurs twice has no clear meaning: two readers may choose
//! different lines. Every module that trusts such a header reads it with [`exactly_once`] or
//! [`at_most_once`], so there is one rule for all of them.
//!
//! Applications behind CGI, WSGI or PHP read names in a folded form: every byte that is not a letter or
//! a digit becomes `_`, and case is ignored. For them `X-User-Id` and `x_user.id` are one header.
//! [`fold`] and [`is_same`] compare names in that form.
//!
//! This is the only file below `guard` that may name the crate `http`: the rules are about its `HeaderMap`, and
//! all modules that read headers are above `types`. The architecture test checks this.

use http::header::AsHeaderName;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, PercentEncode, utf8_percent_encode};

/// A header occurs more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the header occurs more than once")]
pub struct Repeated;

/// The value of a header that may be absent and must not occur twice.
///
/// # Errors
///
/// [`Repeated`] if there are two lines or more, even if they are equal.
pub fn at_most_once(
    headers: &HeaderMap,
    name: impl AsHeaderName,
) -> Result<Option<&HeaderValue>, Repeated> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match values.next() {
        None => Ok(Some(value)),
        Some(_) => Err(Repeated),
    }
}

/// The value of a header that occurs exactly once; `None` if it is absent or occurs more often.
pub fn exactly_once(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&HeaderValue> {
    at_most_once(headers, name).ok().flatten()
}

/// One byte of a header name in folded form: a lower-case letter, a digit or `_`.
pub const fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte.to_ascii_lowercase()
    } else {
        b'_'
    }
}

/// Whether two names are equal in folded form.
pub fn is_same(one: &HeaderName, other: &HeaderName) -> bool {
    let folded = |name| str::bytes(name).map(fold);
    folded(one.as_str()).eq(folded(other.as_str()))
}

/// Text as the value of a header: visible ASCII unchanged, all other characters and `%` as percent-encoded
/// UTF-8.
pub fn encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, NOT_VISIBLE)
}

/// The ASCII characters that [`encoded`] changes.
const NOT_VISIBLE: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn a_header_that_occurs_twice_has_no_value() {
        let none = headers(&[("b", "1")]);
        let one = headers(&[("a", "1"), ("b", "2")]);
        let two = headers(&[("a", "1"), ("a", "1")]);
        let value = HeaderValue::from_static("1");
        assert_eq!(at_most_once(&none, "a"), Ok(None));
        assert_eq!(at_most_once(&one, "a"), Ok(Some(&value)));
        assert_eq!(at_most_once(&two, "a"), Err(Repeated));
        assert_eq!(exactly_once(&none, "a"), None);
        assert_eq!(exactly_once(&one, "a"), Some(&value));
        assert_eq!(exactly_once(&two, "a"), None);
    }

    #[test]
    fn all_but_visible_ascii_is_percent_encoded() {
        for (text, value) in [
            ("Ann!~", "Ann!~"),
            ("a b%\u{7f}", "a%20b%25%7F"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(encoded(text).to_string(), value);
        }
    }

    #[test]
    fn names_that_a_lenient_application_confuses_are_the_same() {
        let name = |text: &str| HeaderName::from_bytes(text.as_bytes()).unwrap();
        for (one, other, same) in [
            ("x-user-id", "X_User.ID", true),
            ("x-user-id", "x~user!id", true),
            ("x-user-id", "xuserid", false),
            ("x-user-id", "x-user-ids", false),
            ("x-user-1", "x-user-2", false),
        ] {
            assert_eq!(is_same(&name(one), &name(other)), same, "{one} {other}");
        }
    }
}
