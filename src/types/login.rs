//! The names a person can log in with. Each has one canonical spelling: Unicode NFKC, lower case, no
//! surrounding space. Failure counters, uniqueness and look-ups all use this form, so another spelling does not
//! give further attempts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::types::header;

/// The kind of the name. It is part of the key in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoginKind {
    /// A chosen name.
    Username,
    /// An e-mail address.
    Email,
    /// A mobile number in E.164 form.
    Mobile,
}

impl LoginKind {
    /// The byte for the kind in stored keys.
    pub const fn tag(self) -> u8 {
        match self {
            Self::Username => b'u',
            Self::Email => b'e',
            Self::Mobile => b'm',
        }
    }
}

impl fmt::Display for LoginKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Username => "username",
            Self::Email => "email",
            Self::Mobile => "mobile",
        })
    }
}

impl FromStr for LoginKind {
    type Err = BadLogin;

    fn from_str(text: &str) -> Result<Self, BadLogin> {
        match text {
            "username" => Ok(Self::Username),
            "email" => Ok(Self::Email),
            "mobile" => Ok(Self::Mobile),
            _ => Err(BadLogin::Kind),
        }
    }
}

/// Why a text is not a login name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadLogin {
    /// Not a username.
    #[error("a username is 1 to 64 letters, digits, dots, dashes or underscores")]
    Username,
    /// Not an e-mail address.
    #[error("an e-mail address has one @ with text on both sides, at most 254 characters")]
    Email,
    /// Not a mobile number.
    #[error("a mobile number is + and 8 to 15 digits")]
    Mobile,
    /// Not the name of a kind.
    #[error("the kinds of login are username, email and mobile")]
    Kind,
}

/// A login name in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LoginName {
    kind: LoginKind,
    name: String,
}

impl LoginName {
    /// A username.
    pub fn username(text: &str) -> Result<Self, BadLogin> {
        let name = canonical(text, 64).ok_or(BadLogin::Username)?;
        let plain = |c: char| c.is_alphanumeric() || "._-".contains(c);
        if !name.is_empty() && name.chars().all(plain) {
            Ok(Self {
                kind: LoginKind::Username,
                name,
            })
        } else {
            Err(BadLogin::Username)
        }
    }

    /// An e-mail address: exactly one `@`, both sides present, a plausible domain, no spaces or
    /// control characters. Only a confirmation mail can show whether it exists.
    pub fn email(text: &str) -> Result<Self, BadLogin> {
        let name = canonical(text, 254).ok_or(BadLogin::Email)?;
        let (local, domain) = name.split_once('@').ok_or(BadLogin::Email)?;
        let odd = |c: char| c.is_whitespace() || c.is_control() || "@,;:<>()[]\\\"".contains(c);
        let label = |l: &str| {
            !l.is_empty()
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.chars().all(|c| c.is_alphanumeric() || c == '-')
        };
        let good = !local.is_empty()
            && local.len() <= 64
            && !local.contains(odd)
            && domain.split('.').all(label)
            && encoded_len(&name) <= 256;
        if good {
            Ok(Self {
                kind: LoginKind::Email,
                name,
            })
        } else {
            Err(BadLogin::Email)
        }
    }

    /// A mobile number. Spaces, dashes, dots and brackets between digits are dropped; `00` in front
    /// becomes `+`.
    pub fn mobile(text: &str) -> Result<Self, BadLogin> {
        let text = canonical(text, 32).ok_or(BadLogin::Mobile)?;
        let mut name: String = text.chars().filter(|c| !" -.()".contains(*c)).collect();
        if let Some(rest) = name.strip_prefix("00") {
            name = format!("+{rest}");
        }
        let digits = name.strip_prefix('+').ok_or(BadLogin::Mobile)?;
        if (8..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self {
                kind: LoginKind::Mobile,
                name,
            })
        } else {
            Err(BadLogin::Mobile)
        }
    }

    /// Parses the content of the log-in field: with `@` it is an e-mail address, with a leading `+`
    /// or `00` a mobile number, otherwise a username. The three are disjoint, because no username
    /// contains `@` or `+`.
    pub fn guess(text: &str) -> Result<Self, BadLogin> {
        let trimmed = text.trim();
        if trimmed.contains('@') {
            Self::email(trimmed)
        } else if trimmed.starts_with('+') {
            Self::mobile(trimmed)
        } else {
            Self::username(trimmed).or_else(|_| Self::mobile(trimmed))
        }
    }

    /// The kind of the name.
    pub const fn kind(&self) -> LoginKind {
        self.kind
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for LoginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The length of the name in an identity header, in bytes. All but visible ASCII is percent-encoded there.
fn encoded_len(name: &str) -> usize {
    header::encoded(name).map(str::len).sum()
}

/// NFKC, lower case, trimmed; `None` when longer than `max` bytes or when it holds a control
/// character.
fn canonical(text: &str, max: usize) -> Option<String> {
    if text.len() > max.saturating_mul(4) {
        return None;
    }
    // Lower-casing can denormalise and NFKC can produce capitals, so both run until it is stable.
    let once = |t: &str| t.nfkc().flat_map(char::to_lowercase).collect::<String>();
    let mut name = once(text.trim());
    for _ in 0..4 {
        let next = once(&name);
        if next == name {
            break;
        }
        name = next;
    }
    let name = name.trim().to_owned();
    (name.len() <= max && !name.contains(char::is_control)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_spelling_of_a_login_is_the_same_login() {
        let ann = LoginName::username("ann").unwrap();
        for spelling in ["Ann", " ANN ", "ａｎｎ", "ＡＮＮ"] {
            assert_eq!(LoginName::username(spelling), Ok(ann.clone()), "{spelling}");
        }
        assert_eq!(
            LoginName::mobile("0049 170-123.4567"),
            LoginName::mobile("+491701234567")
        );
        assert_eq!(
            LoginName::email("Ann@Example.ORG"),
            LoginName::email("ann@example.org")
        );
    }

    #[test]
    fn an_address_has_exactly_one_at_sign_and_two_sides() {
        for bad in [
            "a@evil@company.org",
            "@b",
            "a@",
            "a b@c.de",
            "a@b..c",
            "a@-b.c",
            "a,b@c.de",
            "a",
        ] {
            assert_eq!(LoginName::email(bad), Err(BadLogin::Email), "{bad}");
        }
    }

    #[test]
    fn the_input_determines_the_kind_of_login() {
        assert_eq!(LoginName::guess("ann").unwrap().kind(), LoginKind::Username);
        assert_eq!(LoginName::guess("a@b.de").unwrap().kind(), LoginKind::Email);
        assert_eq!(
            LoginName::guess("+4917012345678").unwrap().kind(),
            LoginKind::Mobile
        );
        assert!(LoginName::guess("").is_err());
        assert!(LoginName::guess("a\u{0}b").is_err());
    }

    proptest! {
        #[test]
        fn canonical_names_are_fixed_points(text in "\\PC{0,40}") {
            if let Ok(name) = LoginName::guess(&text) {
                prop_assert_eq!(LoginName::guess(name.as_str()), Ok(name));
            }
        }
    }
}
