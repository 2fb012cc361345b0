//! `[tokens]`: algorithm, secret, lifetimes. A missing, short or well-known secret is refused: with an empty
//! secret, any client could sign tokens.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::config::build::reader::Reader;
use crate::config::keys::tokens;
use crate::config::tree::item;
use crate::tokens::settings::{Algorithm, Settings};
use crate::types::secret::SecretBytes;

/// Reads a file.
type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// The tokens' settings.
pub(super) fn build(reader: &mut Reader<'_>, read: ReadFile<'_>) -> Settings {
    let algorithm = reader.get(&tokens::ALGORITHM);
    let keys_dir = reader.get(&tokens::KEYS_DIR);
    if keys_dir.is_none() {
        reader.refuse(tokens::KEYS_DIR.path(), "must name a directory");
    }
    let secret = secret(reader, algorithm, read);
    let issuer = reader.get(&tokens::ISSUER);
    let audience = reader.get(&tokens::AUDIENCE);
    Settings {
        issuer: claim_text(reader, tokens::ISSUER.path(), issuer),
        audience: audience
            .into_iter()
            .enumerate()
            .map(|(index, text)| claim_text(reader, &item(tokens::AUDIENCE.path(), index), text))
            .collect(),
        algorithm: algorithm.unwrap_or(Algorithm::EdDSA),
        keys_dir: keys_dir.unwrap_or_default(),
        secret,
        access_ttl: reader.get(&tokens::ACCESS_TTL),
        leeway: reader.get(&tokens::LEEWAY),
    }
}

fn claim_text(reader: &mut Reader<'_>, key: &str, text: &str) -> String {
    if text.trim().is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
        reader.refuse(key, "must be 1 to 256 printable characters");
    }
    text.to_owned()
}

fn secret(
    reader: &mut Reader<'_>,
    algorithm: Option<Algorithm>,
    read: ReadFile<'_>,
) -> Option<SecretBytes> {
    let inline = reader.get(&tokens::SECRET);
    let file = reader.get(&tokens::SECRET_FILE);
    let (key, secret) = match (inline, file) {
        (Some(_), Some(_)) => {
            reader.refuse(
                tokens::SECRET_FILE.path(),
                "is given beside tokens.secret; keep one of them",
            );
            return None;
        }
        (None, None) => {
            if algorithm == Some(Algorithm::HS256) {
                reader.refuse_with(
                    tokens::SECRET.path(),
                    "HS256 needs a secret",
                    "set tokens.secret_file to a file made with `openssl rand -base64 48`",
                );
            }
            return None;
        }
        (Some(text), None) => {
            let secret = SecretBytes::new(text.expose().as_bytes());
            (tokens::SECRET.path(), secret)
        }
        (None, Some(path)) => {
            let secret = from_file(reader, &path, read)?;
            (tokens::SECRET_FILE.path(), secret)
        }
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

/// The file's bytes without the line end that editors and `echo` add.
fn from_file(reader: &mut Reader<'_>, path: &Path, read: ReadFile<'_>) -> Option<SecretBytes> {
    let key = tokens::SECRET_FILE.path();
    let shown = path.display();
    let bytes = match read(path) {
        Ok(bytes) => SecretBytes::new(bytes),
        Err(error) => {
            reader.refuse(key, format!("{shown} cannot be read: {error}"));
            return None;
        }
    };
    let trimmed = bytes.expose();
    let trimmed = trimmed.strip_suffix(b"\n").unwrap_or(trimmed);
    let trimmed = trimmed.strip_suffix(b"\r").unwrap_or(trimmed);
    if trimmed.is_empty() {
        reader.refuse(key, format!("{shown} is empty"));
        return None;
    }
    Some(SecretBytes::new(trimmed))
}

/// Why a secret cannot be used. The text never contains the secret.
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
/// Random bytes of that length, also as hexadecimal or base64 text, have more distinct bytes.
const MIN_DISTINCT: usize = 8;
/// Beginnings of secrets in tutorials and sample files.
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
