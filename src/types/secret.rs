//! Secrets that cannot be printed by accident: no `Display`, no `Serialize`, a `Debug` that prints only
//! the kind, memory cleared on drop. `expose` is the only access to the bytes and is easy to search
//! for.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// Secret text: a password, a token, a key in text form.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes ownership of the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself. Each call must have a reason to read it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(***)")
    }
}

impl PartialEq for SecretText {
    /// Compares in constant time for equal lengths.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SecretText {}

impl<'de> serde::Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// Secret bytes: a MAC key, a shared secret.
#[derive(Clone)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes ownership of the bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The secret itself. Each call must have a reason to read it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(***)")
    }
}

impl PartialEq for SecretBytes {
    /// Compares in constant time for equal lengths.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for SecretBytes {}

/// A password as its owner typed it, within the length limits. It is normalized to Unicode NFKC, so that the
/// same password from two keyboards compares equal. It is never truncated.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The longest password accepted, in bytes. Longer ones are refused, never truncated.
    pub const MAX_BYTES: usize = 1024;

    /// Accepts any text up to [`Password::MAX_BYTES`]. `rules::password` checks whether it is long enough for a
    /// *new* password.
    pub fn new(mut text: String) -> Result<Self, BadPassword> {
        use unicode_normalization::UnicodeNormalization;
        let normal: String = text.nfkc().collect();
        text.zeroize();
        if normal.is_empty() || normal.len() > Self::MAX_BYTES {
            return Err(BadPassword);
        }
        Ok(Self(Zeroizing::new(normal)))
    }

    /// The password itself. Each call must have a reason to read it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Length in characters, as policies count it.
    pub fn chars(&self) -> usize {
        self.0.chars().count()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

/// A password that is empty or longer than [`Password::MAX_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a password is 1 to 1024 bytes")]
pub struct BadPassword;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_debug_output_contains_a_secret() {
        let shown = format!(
            "{:?} {:?} {:?}",
            SecretText::new("hunter2"),
            SecretBytes::new(b"hunter2".to_vec()),
            Password::new("hunter2".to_owned()).unwrap()
        );
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(
            !shown.contains("104"),
            "bytes must not show either: {shown}"
        );
    }

    #[test]
    fn passwords_are_refused_rather_than_cut() {
        assert!(Password::new("x".repeat(1024)).is_ok());
        assert_eq!(Password::new("x".repeat(1025)).unwrap_err(), BadPassword);
        assert_eq!(Password::new(String::new()).unwrap_err(), BadPassword);
    }

    #[test]
    fn the_same_password_from_two_keyboards_is_equal() {
        let composed = Password::new("caf\u{e9}".to_owned()).unwrap();
        let decomposed = Password::new("cafe\u{301}".to_owned()).unwrap();
        assert_eq!(composed.expose(), decomposed.expose());
    }
}
