//! `[tokens]`: algorithm, secret, lives. A missing, short or well-known secret stops the start: an
//! empty one would verify tokens that anybody can sign.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::build::reader::{HOUR, MINUTE, Reader, secs};
use crate::config::raw::Tokens;
use crate::tokens::settings::{Algorithm, Settings};
use crate::types::secret::SecretBytes;

/// The tokens' settings.
pub(super) fn build(
    reader: &mut Reader<'_>,
    tokens: &Tokens,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Settings {
    let algorithms = [
        Algorithm::EdDSA,
        Algorithm::ES256,
        Algorithm::RS256,
        Algorithm::HS256,
    ]
    .map(|a| (a.as_str(), a));
    let algorithm = reader.word("tokens.algorithm", &tokens.algorithm, &algorithms);
    if tokens.keys_dir.is_empty() {
        reader.refuse("tokens.keys_dir", "must name a directory");
    }
    let secret = secret(reader, tokens, algorithm, read);
    Settings {
        issuer: claim_text(reader, "tokens.issuer", &tokens.issuer),
        audience: tokens
            .audience
            .iter()
            .enumerate()
            .map(|(i, a)| claim_text(reader, &format!("tokens.audience[{}]", i + 1), a))
            .collect(),
        algorithm: algorithm.unwrap_or(Algorithm::EdDSA),
        keys_dir: PathBuf::from(&tokens.keys_dir),
        secret,
        access_ttl: reader.duration(
            "tokens.access_ttl",
            &tokens.access_ttl,
            secs(10)..=secs(HOUR),
        ),
        leeway: reader.duration("tokens.leeway", &tokens.leeway, secs(0)..=secs(30)),
    }
}

/// `tokens.rotation_grace`.
pub(super) fn rotation_grace(reader: &mut Reader<'_>, tokens: &Tokens) -> std::time::Duration {
    reader.duration_or_none(
        "tokens.rotation_grace",
        &tokens.rotation_grace,
        secs(0)..=secs(5 * MINUTE),
    )
}

fn claim_text(reader: &mut Reader<'_>, key: &str, text: &str) -> String {
    if text.trim().is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
        reader.refuse(key, "must be 1 to 256 printable characters");
    }
    text.to_owned()
}

fn secret(
    reader: &mut Reader<'_>,
    tokens: &Tokens,
    algorithm: Option<Algorithm>,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Option<SecretBytes> {
    let inline = tokens.secret.0.expose();
    let (key, secret) = match (inline.is_empty(), tokens.secret_file.is_empty()) {
        (false, false) => {
            reader.refuse(
                "tokens.secret_file",
                "is given beside tokens.secret; keep one of them",
            );
            return None;
        }
        (true, true) => {
            if algorithm == Some(Algorithm::HS256) {
                reader.refuse_with(
                    "tokens.secret",
                    "HS256 needs a secret",
                    "set tokens.secret_file to a file made with `openssl rand -base64 48`",
                );
            }
            return None;
        }
        (false, true) => ("tokens.secret", SecretBytes::new(inline.as_bytes())),
        (true, false) => (
            "tokens.secret_file",
            from_file(reader, &tokens.secret_file, read)?,
        ),
    };
    if let Some(algorithm) = algorithm.filter(|a| *a != Algorithm::HS256) {
        reader.refuse_with(
            key,
            format!("a secret is for HS256, not for {}", algorithm.as_str()),
            "remove it, or set algorithm = \"HS256\"",
        );
        return None;
    }
    if let Some(why) = weakness(secret.expose()) {
        let hint = "make one with `openssl rand -base64 48`";
        reader.refuse_with(key, why, hint);
        return None;
    }
    Some(secret)
}

/// The file's bytes without the line end that editors and `echo` leave behind.
fn from_file(
    reader: &mut Reader<'_>,
    path: &str,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Option<SecretBytes> {
    let bytes = match read(Path::new(path)) {
        Ok(bytes) => SecretBytes::new(bytes),
        Err(error) => {
            reader.refuse(
                "tokens.secret_file",
                format!("{path} cannot be read: {error}"),
            );
            return None;
        }
    };
    let trimmed = bytes.expose();
    let trimmed = trimmed.strip_suffix(b"\n").unwrap_or(trimmed);
    let trimmed = trimmed.strip_suffix(b"\r").unwrap_or(trimmed);
    if trimmed.is_empty() {
        reader.refuse("tokens.secret_file", format!("{path} is empty"));
        return None;
    }
    Some(SecretBytes::new(trimmed))
}

/// Why a secret cannot be used. The words never show it.
fn weakness(secret: &[u8]) -> Option<&'static str> {
    if secret.len() < MIN_BYTES {
        return Some("the secret is shorter than 32 bytes");
    }
    let lower = secret.to_ascii_lowercase();
    let published = |sample: &str| lower.windows(sample.len()).any(|w| w == sample.as_bytes());
    if PUBLISHED.iter().any(|sample| published(sample)) {
        return Some("the secret is a published sample");
    }
    let distinct = secret.iter().collect::<BTreeSet<_>>().len();
    (distinct < MIN_DISTINCT).then_some("the secret repeats a few characters and can be guessed")
}

/// RFC 7518, 3.2: a key at least as long as the hash.
const MIN_BYTES: usize = 32;
/// Random bytes, hexadecimal or base64 text of that length have more than this without exception.
const MIN_DISTINCT: usize = 8;
/// Beginnings of the secrets that tutorials and sample files print.
const PUBLISHED: &[&str] = &[
    "your-256-bit-secret",
    "your-384-bit-secret",
    "your-512-bit-secret",
    "a-string-secret-at-least",
    "a-valid-string-secret",
    "your-super-secret",
    "your-secret-key",
    "your_jwt_secret",
    "your-jwt-secret",
    "super-secret-jwt",
    "supersecret",
    "super-secret-key",
    "change-me",
    "changeme",
    "change_me",
    "change-this",
    "change_this",
    "replace-with",
    "replace_with",
    "replace-me",
    "secretsecret",
    "example-secret",
    "my-secret-key",
    "dev-secret",
    "test-secret",
    "0123456789abcdef0123456789abcdef",
    "abcdefghijklmnopqrstuvwxyz",
    "12345678901234567890",
];
