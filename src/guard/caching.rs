//! Which caches may store an answer? A cache between us and the client answers by itself and does not
//! check the caller, so this is a part of the guard's decision.
//!
//! Invariant: no cache may store an answer that sets one of our cookies, whatever the application's
//! headers say. An answer that depends on the caller may be stored only by that client. Both hold for
//! every header that caches are known to read: `Cache-Control` (RFC 9111, 5.2), and those that override
//! it for caches of one kind.

use http::header::{CACHE_CONTROL, EXPIRES, Entry, PRAGMA, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The value for an answer that no cache may store.
const NO_STORE: HeaderValue = HeaderValue::from_static("private, no-store");

/// An answer that its client may store.
const CLIENT: HeaderValue = HeaderValue::from_static("private");

/// Marks an answer so that no cache may store it.
pub fn forbid(headers: &mut HeaderMap) {
    remove_outranking(headers);
    headers.remove(EXPIRES);
    headers.remove(PRAGMA);
    headers.insert(CACHE_CONTROL, NO_STORE);
}

/// Marks an answer so that no shared cache may store it. The directives for the client's own cache
/// stay. An invalid `Cache-Control` counts as one that forbids everything.
pub fn restrict(headers: &mut HeaderMap) {
    remove_outranking(headers);
    let said = match headers.entry(CACHE_CONTROL) {
        Entry::Vacant(free) => {
            free.insert(CLIENT);
            return;
        }
        Entry::Occupied(said) => said,
    };
    let mut lines = said.iter();
    let (first, more) = (lines.next(), lines.next());
    let value = match first.map(|line| read(line.as_bytes())) {
        Some(Read::Private) if more.is_none() => return,
        Some(Read::Malformed) => NO_STORE,
        _ => with_private(headers),
    };
    headers.insert(CACHE_CONTROL, value);
}

/// Marks an answer as depending on our credentials: on an optional route a shared cache may store the
/// answer to an anonymous caller, and must not serve it to a known one.
pub fn vary(headers: &mut HeaderMap) {
    const OURS: &str = "cookie, authorization";
    let mut value = Vec::new();
    for line in headers.get_all(VARY) {
        value.extend_from_slice(line.as_bytes());
        value.extend_from_slice(b", ");
    }
    if value.is_empty() {
        headers.insert(VARY, HeaderValue::from_static(OURS));
        return;
    }
    // In one line: there are caches that read only the last.
    value.extend_from_slice(OURS.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&value) {
        headers.insert(VARY, value);
    }
}

/// Whether a header controls caches, including `Cache-Control`. None of them may be in trailers (RFC
/// 9110, 6.5.1).
pub fn is_about_storage(name: &HeaderName) -> bool {
    *name == CACHE_CONTROL || *name == EXPIRES || *name == PRAGMA || outranks(name)
}

/// Removes the headers that override `Cache-Control`.
fn remove_outranking(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| outranks(name)) {
        let name = name.clone();
        headers.remove(name);
    }
}

/// Whether some cache reads this in place of `Cache-Control`: `CDN-Cache-Control` (RFC 9213) and similar
/// headers of single vendors, `Surrogate-Control` (Edge Architecture), and the older ones.
fn outranks(name: &HeaderName) -> bool {
    let name = name.as_str();
    match name.as_bytes().last() {
        // All names of a `HeaderName` are in lower case.
        Some(b'l') => {
            (name.len() > CACHE_CONTROL.as_str().len() && name.ends_with("cache-control"))
                || matches!(
                    name,
                    "surrogate-control" | "edge-control" | "x-reverse-proxy-ttl"
                )
        }
        Some(b's') => name == "x-accel-expires",
        _ => false,
    }
}

/// The directives of one `Cache-Control` value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// No shared cache may store it, and no directive is for shared caches.
    Private,
    /// Anything else.
    Open,
    /// It is not a list of directives.
    Malformed,
}

fn read(value: &[u8]) -> Read {
    let mut is_private = false;
    let mut is_open = false;
    for directive in Directives(value) {
        let Some(directive) = directive else {
            return Read::Malformed;
        };
        is_private |= directive.is_private();
        is_open |= directive.is_for_shared_caches();
    }
    if is_private && !is_open {
        Read::Private
    } else {
        Read::Open
    }
}

/// All lines as one, with `private` and without the directives for shared caches.
fn with_private(headers: &HeaderMap) -> HeaderValue {
    let lines = headers.get_all(CACHE_CONTROL);
    let length: usize = lines.iter().map(|line| line.len() + 2).sum();
    let mut value = Vec::with_capacity(CLIENT.len() + length);
    value.extend_from_slice(CLIENT.as_bytes());
    for line in lines {
        for directive in Directives(line.as_bytes()) {
            let Some(directive) = directive else {
                return NO_STORE;
            };
            if !directive.is_private() && !directive.is_for_shared_caches() {
                value.extend_from_slice(b", ");
                value.extend_from_slice(directive.text);
            }
        }
    }
    HeaderValue::from_bytes(&value).unwrap_or(NO_STORE)
}

/// One directive, as written.
#[derive(Debug, Clone, Copy)]
struct Directive<'a> {
    name: &'a [u8],
    text: &'a [u8],
}

impl Directive<'_> {
    /// Whether it is `private` for the whole answer; with field names it is only for those.
    fn is_private(&self) -> bool {
        self.text.eq_ignore_ascii_case(b"private")
    }

    /// Whether it is for shared caches only, or lets them store the answer. `private` for some fields lets them
    /// store the rest.
    fn is_for_shared_caches(&self) -> bool {
        let is = |name: &[u8]| self.name.eq_ignore_ascii_case(name);
        is(b"public")
            || is(b"s-maxage")
            || is(b"proxy-revalidate")
            || (is(b"private") && self.name.len() < self.text.len())
    }
}

/// The directives of a value. An item that is not a directive is `None`, and the items after it are meaningless
/// (RFC 9111, 5.2: a token, or a token with a token or a quoted string).
struct Directives<'a>(&'a [u8]);

impl<'a> Iterator for Directives<'a> {
    type Item = Option<Directive<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let begin = self
            .0
            .iter()
            .position(|b| !matches!(b, b' ' | b'\t' | b','))?;
        let rest = self.0.get(begin..)?;
        let Some(length) = directive(rest) else {
            self.0 = &[];
            return Some(None);
        };
        let (text, behind) = rest.split_at_checked(length)?;
        self.0 = behind;
        let name = text.get(..token(text)).unwrap_or_default();
        Some(Some(Directive { name, text }))
    }
}

/// The length of the first directive. Only blanks may be between it and a comma or the end.
fn directive(text: &[u8]) -> Option<usize> {
    let name = token(text);
    let mut length = name;
    if text.get(name) == Some(&b'=') {
        let argument = text.get(name + 1..)?;
        let argument = match argument.first() {
            Some(b'"') => quoted(argument)?,
            _ => Some(token(argument)).filter(|length| *length > 0)?,
        };
        length += 1 + argument;
    }
    let behind = text.get(length..)?;
    let next = behind.iter().find(|b| !matches!(b, b' ' | b'\t'));
    (name > 0 && matches!(next, None | Some(b','))).then_some(length)
}

/// How many bytes at the beginning are of a token.
fn token(text: &[u8]) -> usize {
    let is_token = |b: &&u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    text.iter().take_while(is_token).count()
}

/// How long the quoted string at the beginning is, quotes included.
fn quoted(text: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    let end = text.iter().skip(1).position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    })?;
    Some(end + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = lines.iter();
        pairs
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    fn restricted(values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(
                CACHE_CONTROL,
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        restrict(&mut headers);
        assert_eq!(headers.get_all(CACHE_CONTROL).iter().count(), 1);
        headers[CACHE_CONTROL].to_str().unwrap().to_owned()
    }

    #[test]
    fn an_answer_that_needed_a_session_is_private_and_keeps_other_directives() {
        for (said, told) in [
            ("", "private"),
            (" , ,", "private"),
            ("public", "private"),
            ("PUBLIC , Max-Age=60", "private, Max-Age=60"),
            (
                "public, max-age=31536000, immutable",
                "private, max-age=31536000, immutable",
            ),
            ("s-maxage=60", "private"),
            ("s-maxage=\"60\", max-age=1", "private, max-age=1"),
            ("S-MaxAge=60;", "private, no-store"),
            (
                "proxy-revalidate, must-revalidate",
                "private, must-revalidate",
            ),
            ("private", "private"),
            ("Private, max-age=3", "Private, max-age=3"),
            ("private, public", "private"),
            ("private, s-maxage=3, max-age=9", "private, max-age=9"),
            ("private=\"x-a, x-b\", max-age=9", "private, max-age=9"),
            ("private=\"x\", private", "private"),
            (
                "no-cache=\"set-cookie, x\"",
                "private, no-cache=\"set-cookie, x\"",
            ),
            ("no-store", "private, no-store"),
            ("no-cache,no-store", "private, no-cache, no-store"),
            (
                "stale-while-revalidate=5, odd=\"a\\\"b, public\"",
                "private, stale-while-revalidate=5, odd=\"a\\\"b, public\"",
            ),
            (
                "no-store, must-understand",
                "private, no-store, must-understand",
            ),
        ] {
            assert_eq!(restricted(&[said]), told, "{said}");
        }
        assert_eq!(restricted(&[]), "private");
        assert_eq!(
            restricted(&["public", "max-age=3", "private=\"x\""]),
            "private, max-age=3"
        );
    }

    #[test]
    fn unparsable_directives_become_no_store() {
        for said in [
            "max-age = 3",
            "max-age=",
            "=3",
            "public; max-age=3",
            "private=\"x",
            "a b",
            "\"public\"",
            "max-age=3 4",
            "\u{e9}",
            "private=x y",
            "max-age=3, @",
            "public=\"\\\"",
        ] {
            assert_eq!(restricted(&[said]), "private, no-store", "{said}");
            assert_eq!(restricted(&["max-age=3", said]), "private, no-store");
        }
    }

    #[test]
    fn headers_that_override_cache_control_are_removed() {
        let mut headers = lines(&[
            ("cdn-cache-control", "max-age=60"),
            ("cloudflare-cdn-cache-control", "max-age=60"),
            ("x-litespeed-cache-control", "public,max-age=60"),
            ("surrogate-control", "max-age=60"),
            ("edge-control", "cache-maxage=60"),
            ("x-accel-expires", "60"),
            ("x-reverse-proxy-ttl", "60"),
            ("expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
            ("pragma", "public"),
            ("etag", "\"x\""),
            ("age", "5"),
        ]);
        let mut private = headers.clone();
        restrict(&mut private);
        let mut left: Vec<_> = private.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["age", "cache-control", "etag", "expires", "pragma"]);
        forbid(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["age", "cache-control", "etag"]);
        assert_eq!(headers[CACHE_CONTROL], "private, no-store");
    }

    #[test]
    fn an_answer_that_depends_on_credentials_has_one_vary_header() {
        let mut headers = HeaderMap::new();
        vary(&mut headers);
        assert_eq!(headers[VARY], "cookie, authorization");
        let mut headers = lines(&[("vary", "accept"), ("vary", "origin")]);
        vary(&mut headers);
        let all: Vec<_> = headers.get_all(VARY).iter().collect();
        assert_eq!(all, ["accept, origin, cookie, authorization"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_value_permits_a_shared_cache(
            values in prop::collection::vec(
                "((public|private|s-maxage=9|max-age=\"9\"|no-cache=\"a, public\"|x)([ ;=\"\\\\]{0,2},)?){0,5}",
                0..3,
            ),
        ) {
            let values: Vec<_> = values.iter().map(String::as_str).collect();
            let told = restricted(&values);
            let unquoted: String = told.split('"').step_by(2).collect();
            let directives: Vec<_> = unquoted.split(',').map(str::trim).collect();
            prop_assert!(directives.contains(&"private"), "{told}");
            let names = directives.iter().map(|d| d.split('=').next().unwrap());
            let shared = names.filter(|name| ["public", "s-maxage"].contains(name)).count();
            prop_assert_eq!(shared, 0, "{}", told);
        }
    }
}
