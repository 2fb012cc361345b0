//! Which configured secrets are too weak?

use std::fmt;

/// The smallest length of a secret, in bytes: the length of the MAC.
pub const MIN_SECRET_BYTES: usize = 32;

/// Refuses a secret that is missing, too short, published as a sample, or made of very few distinct bytes.
pub fn check_secret(secret: &[u8]) -> Result<(), WeakSecret> {
    if secret.is_empty() {
        return Err(WeakSecret::Missing);
    }
    if is_sample(secret) {
        return Err(WeakSecret::Sample);
    }
    if secret.len() < MIN_SECRET_BYTES {
        return Err(WeakSecret::Short);
    }
    let mut seen = [false; 256];
    for byte in secret {
        if let Some(slot) = seen.get_mut(usize::from(*byte)) {
            *slot = true;
        }
    }
    // Thirty-two random bytes, also as hexadecimal digits, have far more than eight distinct values.
    if seen.iter().filter(|s| **s).count() < 8 {
        return Err(WeakSecret::Monotonous);
    }
    Ok(())
}

/// Refuses one secret that is used for two purposes. Each secret has the name of its purpose.
pub fn check_distinct(secrets: &[(&'static str, &[u8])]) -> Result<(), WeakSecret> {
    for (at, (name, secret)) in secrets.iter().enumerate() {
        let twin = secrets.iter().take(at).find(|(_, other)| other == secret);
        if let Some((other, _)) = twin {
            return Err(WeakSecret::Shared(other, name));
        }
    }
    Ok(())
}

/// Whether the secret, its letters and digits in lower case, holds a phrase from documentation.
fn is_sample(secret: &[u8]) -> bool {
    let plain: String = secret
        .iter()
        .filter(|b| b.is_ascii_alphanumeric())
        .map(|b| char::from(b.to_ascii_lowercase()))
        .collect();
    WHOLE.contains(&plain.as_str()) || PHRASES.iter().any(|phrase| plain.contains(phrase))
}

/// Secrets that are samples as a whole.
const WHOLE: [&str; 12] = [
    "secret",
    "secretkey",
    "mysecret",
    "mysecretkey",
    "jwtsecret",
    "supersecret",
    "topsecret",
    "password",
    "test",
    "hardtoguess",
    "keyboardcat",
    "shhhhh",
];

/// Phrases that random text does not contain, from the documentation of token libraries and from tutorials.
const PHRASES: [&str; 16] = [
    "changeme",
    "changethis",
    "changeinproduction",
    "yoursecret",
    "yoursupersecret",
    "yourjwtsecret",
    "yourrefreshsecret",
    "bitsecret",
    "astringsecretatleast",
    "astringsecretthatisatleast",
    "avalidstringsecret",
    "atleast32char",
    "donotusethisvalue",
    "supersecretjwt",
    "secretkeyexample",
    // RFC 7515, A.1.
    "aym1sysppbydfgzld3umj1qzkobwvmkoqq",
];

/// Why a secret is refused.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    /// It is empty.
    #[error("a secret is needed; make one with: openssl rand -base64 48")]
    Missing,
    /// It is shorter than [`MIN_SECRET_BYTES`].
    #[error("the secret is shorter than 32 bytes; make one with: openssl rand -base64 48")]
    Short,
    /// It is published in some documentation.
    #[error("the secret is a published sample; make one with: openssl rand -base64 48")]
    Sample,
    /// It consists of a few distinct bytes.
    #[error("the secret repeats a few characters; make one with: openssl rand -base64 48")]
    Monotonous,
    /// Two purposes share it.
    #[error("{0} and {1} are the same secret; each needs its own")]
    Shared(&'static str, &'static str),
}

impl fmt::Debug for WeakSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WeakSecret({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s23_weak_secrets_are_refused_with_a_reason() {
        let table: [(&str, WeakSecret); 17] = [
            ("", WeakSecret::Missing),
            ("secret", WeakSecret::Sample),
            ("SECRET", WeakSecret::Sample),
            ("changeme", WeakSecret::Sample),
            ("change-me-change-me-change-me-now!", WeakSecret::Sample),
            ("your-256-bit-secret", WeakSecret::Sample),
            ("your-512-bit-secret", WeakSecret::Sample),
            ("a-string-secret-at-least-256-bits-long", WeakSecret::Sample),
            (
                "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
                WeakSecret::Sample,
            ),
            (
                "super-secret-jwt-token-with-at-least-32-characters-long",
                WeakSecret::Sample,
            ),
            (
                "DO NOT USE THIS VALUE, INSTEAD CREATE A COMPLEX SECRET AND KEEP IT SAFE",
                WeakSecret::Sample,
            ),
            (
                "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
                WeakSecret::Sample,
            ),
            ("0123456789abcdef0123456789abcde", WeakSecret::Short),
            ("0000000000000000000000000000000000", WeakSecret::Monotonous),
            (
                "secretsecretsecretsecretsecretsecret",
                WeakSecret::Monotonous,
            ),
            (
                "abcabcabcabcabcabcabcabcabcabcabcabc",
                WeakSecret::Monotonous,
            ),
            ("your_super_secret_key_for_tokens_01", WeakSecret::Sample),
        ];
        for (secret, why) in table {
            assert_eq!(check_secret(secret.as_bytes()), Err(why), "{secret}");
        }
        assert_eq!(check_secret(&[7; 64]), Err(WeakSecret::Monotonous));
    }

    #[test]
    fn s23_random_secrets_pass_raw_and_as_text() {
        use crate::types::random::{Random, SeededRandom};
        let mut bytes = [0; 32];
        for seed in 0..64 {
            SeededRandom::new(seed).fill(&mut bytes);
            assert_eq!(check_secret(&bytes), Ok(()));
            let text = data_encoding::HEXLOWER.encode(&bytes);
            assert_eq!(check_secret(text.as_bytes()), Ok(()));
            let text = data_encoding::BASE64.encode(&bytes);
            assert_eq!(check_secret(text.as_bytes()), Ok(()));
        }
    }

    #[test]
    fn s23_one_secret_for_two_purposes_is_refused() {
        let (a, b) = ([1; 32], [2; 32]);
        assert_eq!(check_distinct(&[("x", &a), ("y", &b)]), Ok(()));
        assert_eq!(
            check_distinct(&[("x", &a), ("y", &b), ("z", &a)]),
            Err(WeakSecret::Shared("x", "z"))
        );
    }
}
