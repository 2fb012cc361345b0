//! Which usernames may a new account have?
//!
//! Applications put usernames into URLs, file names, command lines and lists for people. So a new name
//! is one safe path segment and not an option of a command. A name chosen at sign-up is also not
//! reserved, does not look like a reserved one, and cannot be taken for another kind of identifier.
//! Existing accounts keep their names.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use unicode_security::MixedScript as _;
use unicode_security::confusable_detection::skeleton;

use crate::types::ids::UserId;
use crate::types::login::{LoginKind, LoginName};

/// Why a new account cannot have a username.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// A path segment with a special meaning, a hidden file, or an option of a command.
    #[error(
        "a username begins with a letter, a digit or an underscore and does not end with a dot"
    )]
    Unsafe,
    /// Reserved, or it looks like a reserved name.
    #[error("this username is reserved")]
    Reserved,
    /// It could be taken for a mobile number or the id of an account.
    #[error("a username must not look like a number or an id")]
    OtherKind,
    /// Letters of several scripts, which lets a name look like another one.
    #[error("a username must not mix letters of different scripts")]
    Mixed,
}

/// The names that sign-up refuses, as skeletons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reserved(BTreeSet<String>);

impl Reserved {
    /// From the names as an operator writes them.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().map(look).collect())
    }

    /// Whether a name is one of them or looks like one.
    fn covers(&self, name: &str) -> bool {
        self.0.contains(&look(name))
    }
}

/// The rules for every new account, including those that an operator creates.
pub fn check_safe(name: &LoginName) -> Result<(), BadName> {
    let text = name.as_str();
    let is_username = name.kind() == LoginKind::Username;
    if is_username && (text.starts_with(['-', '.']) || text.ends_with('.')) {
        return Err(BadName::Unsafe);
    }
    Ok(())
}

/// The additional rules for a name chosen at sign-up.
pub fn check_chosen(name: &LoginName, reserved: &Reserved) -> Result<(), BadName> {
    check_safe(name)?;
    let text = name.as_str();
    if is_number(text) || text.parse::<UserId>().is_ok() {
        return Err(BadName::OtherKind);
    }
    if reserved.covers(text) {
        return Err(BadName::Reserved);
    }
    if !text.is_single_script() {
        return Err(BadName::Mixed);
    }
    Ok(())
}

/// Whether a name reads like a mobile number: ten digits or more, or eight after `00`, and besides
/// them separators at most.
fn is_number(name: &str) -> bool {
    let digits: String = name.chars().filter(|c| !"._-".contains(*c)).collect();
    let least = if digits.starts_with("00") { 8 } else { 10 };
    digits.chars().count() >= least && digits.chars().all(char::is_numeric)
}

/// The appearance of a name: without case, separators and accents, with one letter for all similar ones
/// (UTS 39) and for the digits that resemble it.
fn look(name: &str) -> String {
    let plain: String = name.nfkc().flat_map(char::to_lowercase).collect();
    let alike: String = skeleton(&plain).collect();
    let letters = alike
        .nfkd()
        .flat_map(char::to_lowercase)
        .filter(|c| c.is_alphanumeric() && !is_combining_mark(*c));
    letters.map(as_letter).collect()
}

/// The letter that a digit is written for. `i`, `l` and `1` are one.
fn as_letter(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | 'i' => 'l',
        '3' => 'e',
        '4' => 'a',
        '5' => 's',
        '7' => 't',
        '8' => 'b',
        '9' => 'g',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reserved() -> Reserved {
        Reserved::new([
            "admin",
            "root",
            "administrator",
            "system",
            "support",
            "sidegate",
            "null",
        ])
    }

    fn chosen(name: &str) -> Result<(), BadName> {
        check_chosen(&LoginName::username(name).unwrap(), &reserved())
    }

    #[test]
    fn reserved_names_and_similar_looking_ones_cannot_be_chosen() {
        for name in [
            "admin",
            "ADMIN",
            "Admin",
            "ad-min",
            "a.d.m.i.n",
            "_admin_",
            "adm1n",
            "4dmin",
            "adrnin",
            "\u{e1}dmin",
            "\u{430}dmin",
            "\u{430}dm\u{456}n",
            "adm\u{131}n",
            "\u{ff41}dmin",
            "r00t",
            "roo7",
            "r\u{3bf}\u{3bf}t",
            "5upp0rt",
            "sy5tem",
            "s1degate",
            "side-gate",
            "nu11",
            "admlnlstrator",
        ] {
            assert_eq!(chosen(name), Err(BadName::Reserved), "{name}");
        }
        for name in [
            "ann",
            "adminah",
            "rooty",
            "supporter",
            "martin",
            "norma",
            "\u{f6}zg\u{fc}r",
        ] {
            assert_eq!(chosen(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_name_is_a_safe_path_segment_and_no_option() {
        for name in [".", "..", "...", "-dash", "--help", "-", ".ssh", "ann."] {
            let name = LoginName::username(name).unwrap();
            assert_eq!(check_safe(&name), Err(BadName::Unsafe), "{name}");
        }
        for name in [
            "a/b", "a\\b", "a b", "a\"b", "a'b", "a\u{0}b", "a;b", "$(id)", "a%2fb", "~a", "a\nb",
        ] {
            assert!(LoginName::username(name).is_err(), "{name}");
        }
        for name in ["a", "_a", "a-", "a.b", "0a", "\u{e9}mile"] {
            assert_eq!(
                check_safe(&LoginName::username(name).unwrap()),
                Ok(()),
                "{name}"
            );
        }
    }

    #[test]
    fn a_name_is_not_a_number_or_id_and_uses_one_script() {
        for name in [
            "004915123456789",
            "00491512-345",
            "4915123456789",
            "49-151-234567-89",
            "\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}\u{667}\u{668}\u{669}\u{660}",
            "018f4e7a-7b1c-7000-8000-000000000001",
        ] {
            assert_eq!(chosen(name), Err(BadName::OtherKind), "{name}");
        }
        assert_eq!(chosen("p\u{430}ul"), Err(BadName::Mixed));
        for name in [
            "ann1990",
            "12345678",
            "\u{430}\u{43d}\u{43d}\u{430}",
            "\u{5c71}\u{7530}\u{592a}\u{90ce}",
        ] {
            assert_eq!(chosen(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn the_list_is_set_by_the_operator() {
        let name = LoginName::username("admin").unwrap();
        assert_eq!(check_chosen(&name, &Reserved::default()), Ok(()));
        let own = Reserved::new(["Billing Team"]);
        let name = LoginName::username("b1lling_team").unwrap();
        assert_eq!(check_chosen(&name, &own), Err(BadName::Reserved));
    }

    proptest! {
        #[test]
        fn any_name_is_checked_without_a_panic(text in "\\PC{0,40}") {
            if let Ok(name) = LoginName::username(&text) {
                let _ = chosen(name.as_str());
            }
        }
    }
}
