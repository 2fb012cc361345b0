//! Where a token may be: in `Authorization: Bearer`, or in our access cookie, of which a browser may
//! hold several copies.
//!
//! A malformed credential of ours is never repaired. Another scheme than Bearer is not ours: the request counts
//! as one without that header.

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

use crate::types::secret::SecretText;

/// The credentials of a request, not verified.
#[derive(Debug)]
pub struct Shown<'a> {
    /// The token in `Authorization`.
    pub bearer: Option<&'a [u8]>,
    /// The tokens in our cookie.
    pub copies: Copies<'a>,
}

impl<'a> Shown<'a> {
    /// The credentials in these headers. `cookie` is the name of our cookie.
    pub fn of(headers: &'a HeaderMap, cookie: &str) -> Result<Self, BadCredential> {
        Ok(Self {
            bearer: bearer(lines(headers, &AUTHORIZATION))?,
            copies: our_cookie(lines(headers, &COOKIE), cookie)?,
        })
    }

    /// The only token there is; none when there are several, or a damaged one.
    pub fn only(&self) -> Option<&'a [u8]> {
        match (self.bearer, self.copies.values()) {
            _ if self.copies.has_damaged => None,
            (Some(token), []) => Some(token),
            (None, [token]) => Some(*token),
            _ => None,
        }
    }

    /// Whether there is no token and nothing that looks like one.
    pub fn is_empty(&self) -> bool {
        self.bearer.is_none() && self.copies.is_empty()
    }
}

/// The values of one of our cookies. A browser sends several if the cookie was set for this host and
/// for a domain above it: after a change of `cookies.domain`, or by a neighbouring host. Only the
/// content of a cookie shows whether it is ours.
#[derive(Debug, Clone, Copy, Default)]
pub struct Copies<'a> {
    found: [&'a [u8]; MAX_COPIES],
    count: usize,
    has_damaged: bool,
}

impl<'a> Copies<'a> {
    /// The values that a browser could have been given, each once.
    pub fn values(&self) -> &[&'a [u8]] {
        self.found.get(..self.count).unwrap_or_default()
    }

    /// Whether the cookie was sent without a value, or with one that we never set.
    pub const fn has_damaged(&self) -> bool {
        self.has_damaged
    }

    /// Whether the cookie was not sent at all.
    pub const fn is_empty(&self) -> bool {
        self.count == 0 && !self.has_damaged
    }

    /// Whether there is more than one, damaged ones counted once.
    pub const fn are_several(&self) -> bool {
        self.count + self.has_damaged as usize > 1
    }

    /// The values as secrets. All of them are ASCII.
    pub fn texts(&self) -> Vec<SecretText> {
        let text = |value: &&[u8]| SecretText::new(String::from_utf8_lossy(value).into_owned());
        self.values().iter().map(text).collect()
    }

    fn add(&mut self, value: &'a [u8]) -> Result<(), BadCredential> {
        if !self.values().contains(&value) {
            let place = self.found.get_mut(self.count);
            *place.ok_or(BadCredential::Copies)? = value;
            self.count += 1;
        }
        Ok(())
    }
}

fn lines<'a>(
    headers: &'a HeaderMap,
    name: &http::HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let lines = headers.get_all(name).into_iter();
    lines.map(http::HeaderValue::as_bytes)
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
    matches!(bearer(lines(headers, &AUTHORIZATION)), Ok(Some(_)))
}

/// The copies of one of our cookies.
pub fn copies<'a>(headers: &'a HeaderMap, name: &str) -> Result<Copies<'a>, BadCredential> {
    our_cookie(lines(headers, &COOKIE), name)
}

/// The copies of our cookie in the `Cookie` lines (RFC 6265bis). Names are compared byte for byte;
/// quotes mean nothing. More than [`MAX_COPIES`] different ones are refused: each would cost a
/// verification.
pub fn our_cookie<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    name: &str,
) -> Result<Copies<'a>, BadCredential> {
    let name = name.as_bytes();
    let mut copies = Copies::default();
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
            match ours(trim(pair), name) {
                Pair::Ours(value) => copies.add(value)?,
                Pair::Damaged => copies.has_damaged = true,
                Pair::Other => {}
            }
        }
    }
    Ok(copies)
}

/// The kind of a pair in a `Cookie` line.
enum Pair<'a> {
    /// Our cookie, with a value that a browser could have been given.
    Ours(&'a [u8]),
    /// Our cookie's name with no value, a broken value, or space around it: not as we set it.
    Damaged,
    /// Another cookie.
    Other,
}

fn ours<'a>(pair: &'a [u8], name: &[u8]) -> Pair<'a> {
    let Some(rest) = pair.strip_prefix(name) else {
        return Pair::Other;
    };
    match rest {
        [b'=', value @ ..] if !value.is_empty() && every(value, is_cookie_octet) => {
            Pair::Ours(value)
        }
        [] | [b'=' | b' ' | b'\t', ..] => Pair::Damaged,
        _ => Pair::Other,
    }
}

/// RFC 6265, 4.1.1.
const fn is_cookie_octet(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2B | 0x2D..=0x3A | 0x3C..=0x5B | 0x5D..=0x7E)
}

/// Whether all bytes are of a kind. The loop does not stop early, so the compiler can check many bytes
/// at once: tokens are long and nearly always valid.
fn every(bytes: &[u8], is_of_kind: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, byte| all & is_of_kind(*byte))
}

fn trim(pair: &[u8]) -> &[u8] {
    let start = pair.iter().take_while(|b| **b == b' ').count();
    let end = pair.iter().rev().take_while(|b| **b == b' ').count();
    let end = pair.len().saturating_sub(end);
    pair.get(start..end).unwrap_or_default()
}

/// The maximum number of bytes of `Cookie` lines that are parsed.
pub const MAX_COOKIE_BYTES: usize = 32 * 1024;

/// The maximum number of cookies that are parsed.
pub const MAX_COOKIES: usize = 180;

/// The most different values of one of our cookies.
pub const MAX_COPIES: usize = 4;

/// Why no token could be taken from a request that shows one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCredential {
    /// Two that differ, or two `Authorization` lines.
    #[error("two credentials in one request")]
    Two,
    /// `Bearer` and no single word after it.
    #[error("the Authorization header is malformed")]
    Authorization,
    /// Our cookie is damaged, and there is no other copy of it.
    #[error("the access cookie is malformed")]
    Cookie,
    /// More different copies of our cookie than are checked.
    #[error("too many copies of one cookie")]
    Copies,
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

    /// The values found, and whether there was a damaged one.
    fn from_cookies(lines: &[&str]) -> Result<(Vec<String>, bool), BadCredential> {
        let copies = our_cookie(lines.iter().map(|line| line.as_bytes()), NAME)?;
        let values = copies.values().iter();
        let values = values.map(|value| String::from_utf8_lossy(value).into_owned());
        Ok((values.collect(), copies.has_damaged()))
    }

    fn found(values: &[&str]) -> (Vec<String>, bool) {
        (values.iter().map(|v| (*v).to_owned()).collect(), false)
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
    fn s34_only_a_bearer_token_is_never_added_by_a_browser() {
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
    fn s33_the_access_cookie_is_found_by_its_exact_name() {
        let t = Ok(found(&["t"]));
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
            assert_eq!(from_cookies(&[&cookie(none)]), Ok(found(&[])), "{none}");
        }
    }

    #[test]
    fn s33_copies_of_the_access_cookie_are_distinguished_and_bounded() {
        let cookie = |text: &str| text.replace('N', NAME);
        assert_eq!(from_cookies(&[&cookie("N=t; N=t")]), Ok(found(&["t"])));
        assert_eq!(from_cookies(&[&cookie("N=t; N=u")]), Ok(found(&["t", "u"])));
        let line = cookie("N=t");
        assert_eq!(from_cookies(&[&line, "a=b", &line]), Ok(found(&["t"])));
        let most = cookie("N=a; N=b; N=c; N=d; N=a");
        assert_eq!(from_cookies(&[&most]), Ok(found(&["a", "b", "c", "d"])));
        let more = cookie("N=e");
        assert_eq!(from_cookies(&[&most, &more]), Err(BadCredential::Copies));
    }

    #[test]
    fn s33_a_damaged_copy_of_the_access_cookie_is_detected() {
        let cookie = |text: &str| text.replace('N', NAME);
        for bad in [
            "N", "N=", "N =t", "N\t=t", "N=\"t\"", "N=a b", "N=a,b", "N=a\\b", "N=\u{e9}", "N=\t t",
        ] {
            assert_eq!(from_cookies(&[&cookie(bad)]), Ok((vec![], true)), "{bad}");
            let beside = cookie(&format!("{bad}; N=t"));
            assert_eq!(
                from_cookies(&[&beside]),
                Ok((vec!["t".to_owned()], true)),
                "{bad}"
            );
        }
    }

    #[test]
    fn s33_cookies_are_bounded_in_number_and_size() {
        let many = "a=b;".repeat(MAX_COOKIES - 1) + "a=b";
        assert_eq!(from_cookies(&[&many]), Ok(found(&[])));
        assert_eq!(from_cookies(&[&many, "a"]), Err(BadCredential::TooMany));
        let long = "a".repeat(MAX_COOKIE_BYTES);
        assert_eq!(from_cookies(&[&long]), Ok(found(&[])));
        assert_eq!(from_cookies(&[&long, "a"]), Err(BadCredential::TooMany));
    }

    #[test]
    fn s21_one_token_is_the_only_one() {
        let only = |lines: &[(http::HeaderName, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(name, value.replace('N', NAME).parse().unwrap());
            }
            let shown = Shown::of(&headers, NAME)?;
            Ok((shown.only().map(<[u8]>::to_vec), shown.is_empty()))
        };
        let t = Ok((Some(b"t".to_vec()), false));
        assert_eq!(only(&[(AUTHORIZATION, "Bearer t")]), t);
        assert_eq!(only(&[(COOKIE, "N=t; N=t")]), t);
        assert_eq!(only(&[(AUTHORIZATION, "Basic x"), (COOKIE, "N=t")]), t);
        assert_eq!(only(&[(AUTHORIZATION, "Basic x")]), Ok((None, true)));
        let several = Ok((None, false));
        for cookie in ["N=u", "N=t", "N="] {
            let both = [(AUTHORIZATION, "Bearer t"), (COOKIE, cookie)];
            assert_eq!(only(&both), several, "{cookie}");
        }
        assert_eq!(only(&[(COOKIE, "N=t; N=u")]), several);
        assert_eq!(only(&[(COOKIE, "N=t; N=")]), several);
        let two = [(AUTHORIZATION, "Bearer t"), (AUTHORIZATION, "Bearer t")];
        assert_eq!(only(&two), Err(BadCredential::Two));
    }

    proptest! {
        #[test]
        fn s51_any_bytes_parse_without_a_panic(
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
            prop_assert_eq!(from_cookies(&[&line]), Ok(found(&[&token])));
        }
    }
}
