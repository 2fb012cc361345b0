//! Where a token may be: in `Authorization: Bearer`, or in our access cookie. Exactly one, or twice
//! the same.
//!
//! Whatever looks like ours and is not sound refuses the request; nothing is repaired. Another
//! scheme than Bearer is not ours: the request counts as one without that header.

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

/// The token of a request, not yet looked at; none when there is none.
pub fn credential<'a>(
    headers: &'a HeaderMap,
    cookie: &str,
) -> Result<Option<&'a [u8]>, BadCredential> {
    let lines = |name| {
        headers
            .get_all(name)
            .iter()
            .map(http::HeaderValue::as_bytes)
    };
    let shown = bearer(lines(&AUTHORIZATION))?;
    let kept = our_cookie(lines(&COOKIE), cookie)?;
    match (shown, kept) {
        (Some(shown), Some(kept)) if shown != kept => Err(BadCredential::Two),
        (Some(token), _) | (None, Some(token)) => Ok(Some(token)),
        (None, None) => Ok(None),
    }
}

/// The token of the `Authorization` lines: at most one line, scheme in any case, one space or more,
/// one word.
pub fn bearer<'a>(
    mut lines: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<&'a [u8]>, BadCredential> {
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(BadCredential::Two);
    }
    let Some((scheme, rest)) = line.split_first_chunk::<6>() else {
        return Ok(None);
    };
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    if !scheme.eq_ignore_ascii_case(b"bearer") || rest.first().is_some_and(is_name) {
        return Ok(None);
    }
    let spaces = rest.iter().take_while(|b| **b == b' ').count();
    let token = rest.get(spaces..).unwrap_or_default();
    let is_word = |b: u8| b.is_ascii_graphic() && b != b',';
    if spaces == 0 || token.is_empty() || !every(token, is_word) {
        return Err(BadCredential::Authorization);
    }
    Ok(Some(token))
}

/// Whether a token is shown in `Authorization`, where no browser puts one by itself. Another scheme
/// does not count: browsers do repeat `Basic` by themselves.
pub fn shows_bearer(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(AUTHORIZATION).iter();
    matches!(bearer(lines.map(http::HeaderValue::as_bytes)), Ok(Some(_)))
}

/// The value of one of our cookies as text; none when it is not sent.
pub fn cookie(headers: &HeaderMap, name: &str) -> Result<Option<String>, BadCredential> {
    let lines = headers
        .get_all(COOKIE)
        .iter()
        .map(http::HeaderValue::as_bytes);
    let value = our_cookie(lines, name)?;
    Ok(value.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
}

/// The value of our cookie in the `Cookie` lines (RFC 6265bis). Names are compared byte for byte;
/// quotes mean nothing. A second copy, or one that no browser could have been given, refuses.
pub fn our_cookie<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    name: &str,
) -> Result<Option<&'a [u8]>, BadCredential> {
    let name = name.as_bytes();
    let mut found = None;
    let (mut bytes, mut pairs) = (0, 0);
    for line in lines {
        bytes += line.len();
        if bytes > MAX_COOKIE_BYTES {
            return Err(BadCredential::TooMany);
        }
        for pair in line.split(|b| *b == b';') {
            pairs += 1;
            if pairs > MAX_COOKIES {
                return Err(BadCredential::TooMany);
            }
            let Some(value) = ours(trim(pair), name)? else {
                continue;
            };
            if found.replace(value).is_some() {
                return Err(BadCredential::Cookie);
            }
        }
    }
    Ok(found)
}

/// The value of a pair, if it is our cookie.
fn ours<'a>(pair: &'a [u8], name: &[u8]) -> Result<Option<&'a [u8]>, BadCredential> {
    let Some(rest) = pair.strip_prefix(name) else {
        return Ok(None);
    };
    match rest {
        [b'=', value @ ..] if !value.is_empty() && every(value, is_cookie_octet) => Ok(Some(value)),
        // Our name with no value, a broken value, or space around it: not as we set it.
        [] | [b'=' | b' ' | b'\t', ..] => Err(BadCredential::Cookie),
        _ => Ok(None),
    }
}

/// RFC 6265, 4.1.1.
const fn is_cookie_octet(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2B | 0x2D..=0x3A | 0x3C..=0x5B | 0x5D..=0x7E)
}

/// Whether all bytes are of a kind. Looks at each of them even after one is not, which lets the
/// compiler look at many at once: tokens are long and nearly always sound.
fn every(bytes: &[u8], is_of_kind: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, byte| all & is_of_kind(*byte))
}

fn trim(pair: &[u8]) -> &[u8] {
    let start = pair.iter().take_while(|b| **b == b' ').count();
    let end = pair.iter().rev().take_while(|b| **b == b' ').count();
    let end = pair.len().saturating_sub(end);
    pair.get(start..end).unwrap_or_default()
}

/// The most bytes of `Cookie` lines that are looked at.
pub const MAX_COOKIE_BYTES: usize = 32 * 1024;

/// The most cookies that are looked at.
pub const MAX_COOKIES: usize = 180;

/// Why no token could be taken from a request that shows one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCredential {
    /// Two that differ, or two `Authorization` lines.
    #[error("two credentials in one request")]
    Two,
    /// `Bearer` and no single word after it.
    #[error("the Authorization header is malformed")]
    Authorization,
    /// Our cookie twice or damaged.
    #[error("the access cookie is malformed")]
    Cookie,
    /// More cookies than a browser sends.
    #[error("too many cookies")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "__Host-sidegate_access";

    fn from_authorization<'a>(lines: &[&'a str]) -> Result<Option<&'a [u8]>, BadCredential> {
        bearer(lines.iter().map(|line| line.as_bytes()))
    }

    fn from_cookies<'a>(lines: &[&'a str]) -> Result<Option<&'a [u8]>, BadCredential> {
        our_cookie(lines.iter().map(|line| line.as_bytes()), NAME)
    }

    #[test]
    fn s21_a_bearer_token_is_one_word_of_one_line() {
        let t = Ok(Some(b"t.t.t".as_slice()));
        for good in ["Bearer t.t.t", "bearer t.t.t", "BEARER   t.t.t"] {
            assert_eq!(from_authorization(&[good]), t, "{good}");
        }
        for bad in [
            "Bearer",
            "Bearer ",
            "Bearer\tt",
            "Bearer t t",
            "Bearer t,t",
            "Bearer t\t",
            "Bearer=t",
            "Bearer,t",
        ] {
            assert_eq!(
                from_authorization(&[bad]),
                Err(BadCredential::Authorization),
                "{bad}"
            );
        }
        for other in [
            "",
            "Basic YTpi",
            "Bear",
            "BearerX t",
            "Bearer-t t",
            "Digest a=b, c=d",
        ] {
            assert_eq!(from_authorization(&[other]), Ok(None), "{other}");
        }
        assert_eq!(from_authorization(&[]), Ok(None));
        for two in [["Bearer t", "Bearer t"], ["Basic a", "Bearer t"]] {
            assert_eq!(from_authorization(&two), Err(BadCredential::Two));
        }
    }

    #[test]
    fn s34_only_a_bearer_token_is_one_that_no_browser_adds_by_itself() {
        let shows = |line: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, http::HeaderValue::from_static(line));
            shows_bearer(&headers)
        };
        assert!(shows("Bearer t.t.t"));
        for other in ["Basic YTpi", "Negotiate abc", "", "Bearer", "Bearer a b"] {
            assert!(!shows(other), "{other}");
        }
        assert!(!shows_bearer(&HeaderMap::new()));
    }

    #[test]
    fn s33_our_cookie_is_found_by_its_exact_name() {
        let t = Ok(Some(b"t".as_slice()));
        let cookie = |text: &str| text.replace('N', NAME);
        for good in [
            "N=t",
            "a=b; N=t",
            "N=t;a=b",
            "a=b;N=t ; c",
            "a=\"N=x\"; N=t",
            ";;N=t",
            "N2=x; N=t",
        ] {
            assert_eq!(from_cookies(&[&cookie(good)]), t, "{good}");
        }
        assert_eq!(from_cookies(&["a=b", &cookie("N=t"), "c=d"]), t);
        let other_case = NAME.to_uppercase() + "=t";
        for none in [
            "",
            "a=b",
            "xN=t",
            "N2=t",
            "=N",
            "a=N=t",
            "\u{2000}N=t",
            &other_case,
            "a=\"; b=N",
        ] {
            assert_eq!(from_cookies(&[&cookie(none)]), Ok(None), "{none}");
        }
    }

    #[test]
    fn s33_a_second_or_damaged_copy_of_our_cookie_refuses() {
        let cookie = |text: &str| text.replace('N', NAME);
        for bad in [
            "N=t; N=t", "N=t; N=u", "N=t; N", "N", "N=", "N =t", "N\t=t", "N=\"t\"", "N=a b",
            "N=a,b", "N=a\\b", "N=\u{e9}", "N=\t t",
        ] {
            assert_eq!(
                from_cookies(&[&cookie(bad)]),
                Err(BadCredential::Cookie),
                "{bad}"
            );
        }
        let line = cookie("N=t");
        assert_eq!(from_cookies(&[&line, &line]), Err(BadCredential::Cookie));
    }

    #[test]
    fn s33_cookies_are_bounded_in_number_and_size() {
        let many = "a=b;".repeat(MAX_COOKIES - 1) + "a=b";
        assert_eq!(from_cookies(&[&many]), Ok(None));
        assert_eq!(from_cookies(&[&many, "a"]), Err(BadCredential::TooMany));
        let long = "a".repeat(MAX_COOKIE_BYTES);
        assert_eq!(from_cookies(&[&long]), Ok(None));
        assert_eq!(from_cookies(&[&long, "a"]), Err(BadCredential::TooMany));
    }

    #[test]
    fn s21_two_different_tokens_refuse_and_the_same_one_twice_is_one() {
        let request = |authorization: &str, cookie: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, authorization.parse().unwrap());
            headers.insert(COOKIE, format!("{NAME}={cookie}").parse().unwrap());
            credential(&headers, NAME).map(|t| t.map(<[u8]>::to_vec))
        };
        assert_eq!(request("Bearer t", "t"), Ok(Some(b"t".to_vec())));
        assert_eq!(request("Bearer t", "u"), Err(BadCredential::Two));
        assert_eq!(request("Basic x", "u"), Ok(Some(b"u".to_vec())));
        assert_eq!(credential(&HeaderMap::new(), NAME), Ok(None));
    }

    proptest! {
        #[test]
        fn s51_any_bytes_are_read_without_a_panic(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..3),
        ) {
            let all = || lines.iter().map(Vec::as_slice);
            let _ = bearer(all());
            let _ = our_cookie(all(), "a");
        }

        #[test]
        fn a_token_survives_among_any_other_cookies(
            others in prop::collection::vec("[a-z]{1,4}=[!-:<-~]{0,9}", 0..6),
            token in "[A-Za-z0-9._-]{1,40}", at in 0_usize..6,
        ) {
            let mut cookies = others;
            cookies.insert(at.min(cookies.len()), format!("{NAME}={token}"));
            let line = cookies.join("; ");
            prop_assert_eq!(from_cookies(&[&line]), Ok(Some(token.as_bytes())));
        }
    }
}
