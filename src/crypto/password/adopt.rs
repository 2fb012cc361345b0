//! In which notations do other systems write password hashes, and which are refused?

use argon2::Params;
use data_encoding::{BASE64, BASE64_NOPAD, Encoding, Specification};

use crate::crypto::password::foreign::{BCRYPT_BYTES, Foreign, Work};
use crate::crypto::password::phc::Stored;
use crate::crypto::password::{Hasher, apr1, phc};
use crate::model::user::PasswordHash;

/// Why a hash of another system is refused. The texts do not contain the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHash {
    /// Not one of the known kinds.
    #[error(
        "not a hash of a known kind: argon2id, argon2i, bcrypt, pbkdf2_sha256, pbkdf2_sha1, scrypt, apr1 or {{SHA}}"
    )]
    Unknown,
    /// Of this kind, and damaged or with impossible parameters.
    #[error("a damaged {0} hash, or one with impossible parameters")]
    Damaged(&'static str),
    /// Of this kind, and a comparison would take too long or too much memory.
    #[error("a {0} hash whose parameters need more time or memory than is allowed")]
    TooDear(&'static str),
}

impl Hasher {
    /// Converts a hash of another system to the form in which it is stored.
    pub fn adopt(&self, text: &str) -> Result<PasswordHash, BadHash> {
        if text.len() > MAX_BYTES {
            return Err(BadHash::Unknown);
        }
        // Django writes the name of its own class in front of these.
        let text = text
            .strip_prefix("argon2")
            .filter(|t| t.starts_with("$argon2"))
            .unwrap_or(text);
        let text = text.strip_prefix("bcrypt$").unwrap_or(text);
        if text.starts_with("$argon2id$") {
            return self.adopt_argon2id(text);
        }
        let (kind, read) = NOTATIONS
            .iter()
            .find(|(start, _, _)| text.starts_with(start))
            .map(|(start, kind, read)| (*kind, read(text.get(start.len()..).unwrap_or_default())))
            .ok_or(BadHash::Unknown)?;
        let foreign = read
            .filter(Foreign::is_whole)
            .ok_or(BadHash::Damaged(kind))?;
        if !foreign.work.is_within(self.caps) {
            return Err(BadHash::TooDear(kind));
        }
        let stored = foreign.write();
        // Only what a comparison can read is stored.
        Foreign::parse(&stored).ok_or(BadHash::Damaged(kind))?;
        Ok(PasswordHash::new(stored))
    }

    fn adopt_argon2id(&self, text: &str) -> Result<PasswordHash, BadHash> {
        let stored = Stored::parse(text).map_err(|_| BadHash::Damaged("argon2id"))?;
        if !self.caps.admit(&stored.params) {
            return Err(BadHash::TooDear("argon2id"));
        }
        Ok(PasswordHash::new(text))
    }
}

type Read = fn(&str) -> Option<Foreign>;

/// The beginning of each notation, its name, and the parser of the rest.
const NOTATIONS: &[(&str, &str, Read)] = &[
    ("$argon2i$v=19$", "argon2i", argon2i),
    ("$argon2i$", "argon2i", |_| None),
    ("$2a$", "bcrypt", bcrypt),
    ("$2b$", "bcrypt", bcrypt),
    ("$2y$", "bcrypt", bcrypt),
    ("$2x$", "bcrypt", |_| None),
    ("pbkdf2_sha256$", "pbkdf2_sha256", |rest| {
        pbkdf2(rest, false)
    }),
    ("pbkdf2_sha1$", "pbkdf2_sha1", |rest| pbkdf2(rest, true)),
    ("$scrypt$", "scrypt", scrypt_phc),
    ("scrypt$", "scrypt", scrypt_django),
    ("$apr1$", "apr1", apr1),
    ("{SHA}", "{SHA}", sha1),
];

fn argon2i(rest: &str) -> Option<Foreign> {
    let (numbers, rest) = rest.split_once('$')?;
    let (salt, hash) = rest.split_once('$')?;
    let params: Params = phc::numbers(numbers, 32)?;
    Some(Foreign {
        work: Work::Argon2i(params),
        salt: BASE64_NOPAD.decode(salt.as_bytes()).ok()?,
        hash: BASE64_NOPAD.decode(hash.as_bytes()).ok()?,
    })
}

/// Two digits of cost, 22 characters of salt and 31 of hash.
fn bcrypt(rest: &str) -> Option<Foreign> {
    let (cost, rest) = rest.split_once('$')?;
    let cost: u32 = cost
        .parse()
        .ok()
        .filter(|_| cost.len() == 2 && cost.bytes().all(|b| b.is_ascii_digit()))?;
    let (salt, hash) = rest.split_at_checked(22)?;
    let letters = bcrypt_letters()?;
    let mut hash = letters.decode(hash.as_bytes()).ok()?;
    hash.truncate(BCRYPT_BYTES);
    Some(Foreign {
        work: Work::Bcrypt {
            cost: Some(cost).filter(|c| (4..=31).contains(c))?,
        },
        salt: letters.decode(salt.as_bytes()).ok()?,
        hash,
    })
}

/// The base64 of bcrypt. Some implementations leave random bits at the end of a salt; they have no meaning.
fn bcrypt_letters() -> Option<Encoding> {
    let mut letters = Specification::new();
    letters
        .symbols
        .push_str("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789");
    letters.check_trailing_bits = false;
    letters.encoding().ok()
}

/// `iterations$salt$hash`, as Django writes it. The salt is text.
fn pbkdf2(rest: &str, sha1: bool) -> Option<Foreign> {
    let (iterations, rest) = rest.split_once('$')?;
    let (salt, hash) = rest.split_once('$')?;
    Some(Foreign {
        work: Work::Pbkdf2 {
            sha1,
            iterations: phc::number(iterations)?.try_into().ok()?,
        },
        salt: salt.as_bytes().to_vec(),
        hash: BASE64.decode(hash.as_bytes()).ok()?,
    })
}

/// `ln=..,r=..,p=..$salt$hash`, as passlib writes it.
fn scrypt_phc(rest: &str) -> Option<Foreign> {
    let (numbers, rest) = rest.split_once('$')?;
    let (salt, hash) = rest.split_once('$')?;
    Some(Foreign {
        work: Work::parse(&format!("$scrypt${numbers}"))?,
        salt: BASE64_NOPAD.decode(salt.as_bytes()).ok()?,
        hash: BASE64_NOPAD.decode(hash.as_bytes()).ok()?,
    })
}

/// `N$salt$r$p$hash`, as Django writes it. The salt is text.
fn scrypt_django(rest: &str) -> Option<Foreign> {
    let parts: Vec<&str> = rest.splitn(5, '$').collect();
    let [n, salt, r, p, hash] = parts.as_slice() else {
        return None;
    };
    let n = phc::number(n).filter(|n| n.is_power_of_two() && *n > 1)?;
    Some(Foreign {
        work: Work::Scrypt {
            log_n: u8::try_from(n.ilog2()).ok()?,
            r: phc::number(r).filter(|r| *r > 0)?,
            p: phc::number(p).filter(|p| *p > 0)?,
        },
        salt: salt.as_bytes().to_vec(),
        hash: BASE64.decode(hash.as_bytes()).ok()?,
    })
}

fn apr1(rest: &str) -> Option<Foreign> {
    let (salt, hash) = rest.split_once('$')?;
    let is_known = |b: u8| apr1::ALPHABET.contains(&b);
    if !salt.bytes().all(|b| b.is_ascii_graphic()) || !hash.bytes().all(is_known) {
        return None;
    }
    Some(Foreign {
        work: Work::Apr1,
        salt: salt.as_bytes().to_vec(),
        hash: hash.as_bytes().to_vec(),
    })
}

fn sha1(rest: &str) -> Option<Foreign> {
    Some(Foreign {
        work: Work::Sha1,
        salt: Vec::new(),
        hash: BASE64.decode(rest.as_bytes()).ok()?,
    })
}

/// The longest hash of another system.
const MAX_BYTES: usize = 512;
