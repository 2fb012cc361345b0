//! Which request headers of the client are never forwarded?
//!
//! Names are compared as the most lenient upstream would read them: CGI, WSGI, PHP and others turn every byte
//! of a name that is not a letter or a digit into `_` and ignore case, so `x.user~id` and `X_USER-ID` are the
//! same header to them. This applies to every request, on public routes too.
//!
//! The check runs for every header of every request. A table of first letter and length excludes ordinary
//! names with one look-up; only the others are compared byte by byte.

use http::{HeaderMap, HeaderName};

use crate::guard::caching;
use crate::types::header::fold;

/// A set of names in folded form.
#[derive(Debug)]
pub(super) struct StripSet {
    /// For each class of first byte, one bit for each length that occurs.
    lengths: [u64; CLASSES],
    /// The folded names, by length.
    by_length: Vec<Vec<Box<[u8]>>>,
}

impl StripSet {
    /// A set of the fixed names of this file and the given ones.
    pub(super) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut set = Self {
            lengths: [0; CLASSES],
            by_length: Vec::new(),
        };
        let fixed = HOP_BY_HOP.iter().chain(FRAMING).chain(FORWARDING);
        for name in fixed.copied().chain(names) {
            set.insert(name);
        }
        for prefix in PREFIXES {
            if let Some(lengths) = prefix.first().and_then(|b| set.lengths.get_mut(class(*b))) {
                *lengths |= u64::MAX << prefix.len().min(LAST_BIT);
            }
        }
        set
    }

    /// Whether a header of this name is removed.
    pub(super) fn contains(&self, name: &HeaderName) -> bool {
        let name = name.as_str().as_bytes();
        let Some(first) = name.first() else {
            return false;
        };
        let lengths = self.lengths.get(class(*first)).copied().unwrap_or(0);
        if (lengths >> name.len().min(LAST_BIT)) & 1 == 0 {
            return false;
        }
        let same_length = self
            .by_length
            .get(name.len())
            .map_or(&[][..], Vec::as_slice);
        same_length.iter().any(|known| folds_to(name, known))
            || (PREFIXES.iter()).any(|p| name.get(..p.len()).is_some_and(|n| folds_to(n, p)))
    }

    /// The trailers that may reach the client. The same names are removed as from a request, because a client may
    /// merge trailers into the headers, and those for caches, which may not be trailers.
    pub(super) fn clean(&self, trailers: HeaderMap) -> HeaderMap {
        let mut cleaned = HeaderMap::with_capacity(trailers.len());
        let mut last = None;
        for (name, value) in trailers {
            // The iterator yields a name only with its first value.
            last = name.or(last);
            if let Some(name) = last
                .as_ref()
                .filter(|name| !self.contains(name) && !caching::is_about_storage(name))
            {
                cleaned.append(name.clone(), value);
            }
        }
        cleaned
    }

    fn insert(&mut self, name: &str) {
        let folded: Box<[u8]> = name.bytes().map(fold).collect();
        let Some(first) = folded.first() else {
            return;
        };
        if let Some(lengths) = self.lengths.get_mut(class(*first)) {
            *lengths |= 1 << folded.len().min(LAST_BIT);
        }
        if self.by_length.len() <= folded.len() {
            self.by_length.resize(folded.len() + 1, Vec::new());
        }
        if let Some(same_length) = self.by_length.get_mut(folded.len())
            && !same_length.contains(&folded)
        {
            same_length.push(folded);
        }
    }
}

fn folds_to(name: &[u8], folded: &[u8]) -> bool {
    name.len() == folded.len() && name.iter().zip(folded).all(|(n, f)| fold(*n) == *f)
}

/// The class of a first byte: one for each letter and digit, one for all others.
const fn class(byte: u8) -> usize {
    match fold(byte) {
        letter @ b'a'..=b'z' => (letter - b'a') as usize,
        digit @ b'0'..=b'9' => (digit - b'0') as usize + 26,
        _ => CLASSES - 1,
    }
}

const CLASSES: usize = 37;

/// The last bit of a mask is for every length from 63 on.
const LAST_BIT: usize = 63;

/// Hop-by-hop headers (RFC 9110, 7.6.1), and `Expect`, which the server side answers.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "expect",
];

/// Headers that the proxy writes itself.
const FRAMING: &[&str] = &["content-length", "host"];

/// Headers that an application trusts only from a proxy, and `Proxy`, which CGI turns into the `HTTP_PROXY` of
/// the application's own requests ("httpoxy").
const FORWARDING: &[&str] = &[
    "forwarded",
    "forwarded-for",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "client-ip",
    "true-client-ip",
    "x-request-id",
    "x-rewrite-url",
    "proxy",
];

/// Prefixes of names: future forwarding headers, and those of Sidegate.
const PREFIXES: &[&[u8]] = &[b"x_forwarded", b"x_original_", b"x_sidegate_"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set() -> StripSet {
        StripSet::new(["x-user-id", "SM_USER", "x-tenant-id"])
    }

    fn strips(name: &str) -> bool {
        set().contains(&HeaderName::from_bytes(name.as_bytes()).unwrap())
    }

    #[test]
    fn every_spelling_of_a_managed_name_is_stripped() {
        for name in [
            "x-user-id",
            "X-User-Id",
            "X_User_Id",
            "x.user.id",
            "X-USER_ID",
            "X!User~Id",
            "x#user$id",
            "x%user&id",
            "x'user*id",
            "x+user^id",
            "x`user|id",
            "sm-user",
            "Sm.User",
        ] {
            assert!(strips(name), "{name}");
        }
    }

    #[test]
    fn forwarding_hop_by_hop_and_framing_names_are_stripped_in_every_spelling() {
        for name in [
            "forwarded",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-forwarded",
            "x-forwarded-user",
            "x-original-url",
            "x.original.uri",
            "x-rewrite-url",
            "x-real-ip",
            "x-request-id",
            "proxy",
            "proxy-authorization",
            "proxy_authorization",
            "transfer-encoding",
            "transfer_encoding",
            "content_length",
            "content-length",
            "host",
            "te",
            "trailer",
            "upgrade",
            "expect",
            "keep-alive",
            "connection",
            "x-sidegate-assertion",
        ] {
            assert!(strips(name), "{name}");
        }
    }

    #[test]
    fn ordinary_names_stay() {
        for name in [
            "accept",
            "accept-encoding",
            "user-agent",
            "cookie",
            "content-type",
            "authorization",
            "x-requested-with",
            "x-user-ids",
            "x-user",
            "proxyx",
            "x-csrf-token",
            "origin",
            "sec-websocket-key",
            "x-forwarder",
            "xforwardedfor",
            "_",
            "!",
        ] {
            assert!(!strips(name), "{name}");
        }
    }

    #[test]
    fn a_name_longer_than_the_table_is_still_compared() {
        let long = format!("x-{}", "a".repeat(200));
        let set = StripSet::new([long.as_str()]);
        let name = |text: &str| HeaderName::from_bytes(text.as_bytes()).unwrap();
        assert!(set.contains(&name(&long.replace('-', "_"))));
        assert!(!set.contains(&name(&format!("{long}a"))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_table_never_hides_a_name(
            managed in proptest::collection::vec("[a-z0-9!._-]{1,80}", 1..8),
            pick in any::<proptest::sample::Index>(),
            marks in proptest::collection::vec("[!#$%&'*+.^_`|~-]", 80),
        ) {
            let set = StripSet::new(managed.iter().map(String::as_str));
            let name = pick.get(&managed);
            let forged: String = name.chars().zip(&marks)
                .map(|(c, mark)| if c.is_ascii_alphanumeric() { c.to_string() } else { mark.clone() })
                .collect();
            prop_assert!(set.contains(&HeaderName::from_bytes(forged.as_bytes()).unwrap()));
        }
    }
}
