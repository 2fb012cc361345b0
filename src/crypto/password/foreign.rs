//! How is a password compared with a hash of another system?
//!
//! The store holds such a hash as `$kind$parameters$salt$hash`, with salt and hash in base64. So the text before
//! the salt names the work of one comparison and nothing of the account, as with our own hashes.
//! [`crate::crypto::password::adopt`] converts the notations of other systems to this form.

use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::{digest, pbkdf2};
use data_encoding::BASE64_NOPAD;
use zeroize::Zeroizing;

use crate::crypto::password::{Caps, HashError, Memory, apr1, phc};
use crate::types::secret::Password;

/// The parts of a stored hash of another system.
pub(super) struct Foreign {
    pub(super) work: Work,
    pub(super) salt: Vec<u8>,
    pub(super) hash: Vec<u8>,
}

impl Foreign {
    /// Parses the stored form. `None` when it is damaged.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let mut parts = text.rsplitn(3, '$');
        let (hash, salt, work) = (parts.next()?, parts.next()?, parts.next()?);
        let work = Work::parse(work)?;
        let salt = BASE64_NOPAD.decode(salt.as_bytes()).ok()?;
        let hash = BASE64_NOPAD.decode(hash.as_bytes()).ok()?;
        let found = Self { work, salt, hash };
        found.is_whole().then_some(found)
    }

    /// Whether salt and hash have lengths that this kind of hash can have.
    pub(super) fn is_whole(&self) -> bool {
        let salts = match self.work {
            Work::Sha1 => 0..=0,
            Work::Apr1 => 1..=8,
            Work::Bcrypt { .. } => 16..=16,
            Work::Argon2i(_) => 8..=64,
            Work::Pbkdf2 { .. } | Work::Scrypt { .. } => 1..=MAX_SALT,
        };
        let hash = self.hash.len();
        let is_hash = match self.work {
            Work::Argon2i(_) => (16..=64).contains(&hash),
            // passlib and Django. A hash that was cut off would match as well.
            Work::Scrypt { .. } => hash == 32 || hash == 64,
            _ => hash == self.work.hash_bytes(),
        };
        salts.contains(&self.salt.len()) && is_hash
    }

    /// The stored form.
    pub(super) fn write(&self) -> String {
        format!(
            "{}${}${}",
            self.work.write(),
            BASE64_NOPAD.encode(&self.salt),
            BASE64_NOPAD.encode(&self.hash),
        )
    }
}

/// A kind of hash with its parameters: the work of one comparison.
pub(super) enum Work {
    Argon2i(Params),
    Bcrypt { cost: u32 },
    Pbkdf2 { sha1: bool, iterations: NonZeroU32 },
    Scrypt { log_n: u8, r: u32, p: u32 },
    Apr1,
    Sha1,
}

impl Work {
    /// Parses the text before the salt. Other spellings of the same numbers are refused.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let work = Self::read(text)?;
        (work.write() == text).then_some(work)
    }

    fn read(text: &str) -> Option<Self> {
        let (kind, numbers) = text.strip_prefix('$')?.split_once('$')?;
        Some(match kind {
            "argon2i" => Self::Argon2i(phc::numbers(numbers.strip_prefix("v=19$")?, 32)?),
            "bcrypt" => Self::Bcrypt {
                cost: phc::number(numbers.strip_prefix("c=")?).filter(|c| (4..=31).contains(c))?,
            },
            "pbkdf2-sha256" | "pbkdf2-sha1" => Self::Pbkdf2 {
                sha1: kind == "pbkdf2-sha1",
                iterations: NonZeroU32::new(phc::number(numbers.strip_prefix("i=")?)?)?,
            },
            "scrypt" => {
                let (log_n, rest) = numbers.strip_prefix("ln=")?.split_once(",r=")?;
                let (r, p) = rest.split_once(",p=")?;
                Self::Scrypt {
                    log_n: u8::try_from(phc::number(log_n)?).ok().filter(|n| *n < 32)?,
                    r: phc::number(r)?,
                    p: phc::number(p)?,
                }
            }
            "apr1" => Self::Apr1,
            "sha1" => Self::Sha1,
            _ => return None,
        })
    }

    fn write(&self) -> String {
        match self {
            Self::Argon2i(params) => format!(
                "$argon2i$v=19$m={},t={},p={}",
                params.m_cost(),
                params.t_cost(),
                params.p_cost()
            ),
            Self::Bcrypt { cost } => format!("$bcrypt$c={cost}"),
            Self::Pbkdf2 { sha1, iterations } => {
                let digest = if *sha1 { "sha1" } else { "sha256" };
                format!("$pbkdf2-{digest}$i={iterations}")
            }
            Self::Scrypt { log_n, r, p } => format!("$scrypt$ln={log_n},r={r},p={p}"),
            Self::Apr1 => "$apr1$i=1000".to_owned(),
            Self::Sha1 => "$sha1$i=1".to_owned(),
        }
    }

    /// The usual length of the hash.
    pub(super) fn hash_bytes(&self) -> usize {
        match self {
            Self::Argon2i(_) | Self::Pbkdf2 { sha1: false, .. } => 32,
            Self::Bcrypt { .. } => BCRYPT_BYTES,
            Self::Pbkdf2 { sha1: true, .. } | Self::Sha1 => digest::SHA1_OUTPUT_LEN,
            Self::Scrypt { .. } => 64,
            Self::Apr1 => apr1::BYTES,
        }
    }

    /// A salt of the usual length. The length matters where each round reads the salt.
    pub(super) const fn usual_salt(&self) -> &'static [u8] {
        match self {
            Self::Sha1 => &[],
            Self::Apr1 => &[b'.'; 8],
            _ => &[0; 16],
        }
    }

    /// Whether a comparison is within the limits: a few seconds at most, and no more memory than an Argon2 hash.
    pub(super) fn is_within(&self, caps: Caps) -> bool {
        match self {
            Self::Argon2i(params) => caps.admit(params),
            Self::Bcrypt { cost } => *cost <= MAX_BCRYPT_COST,
            Self::Pbkdf2 { iterations, .. } => iterations.get() <= MAX_PBKDF2_ITERATIONS,
            Self::Scrypt { log_n, r, p } => {
                let (r, p) = (u64::from(*r), u64::from(*p));
                let mixed = (1_u64 << log_n).saturating_mul(r);
                let memory = mixed.saturating_add(r.saturating_mul(p)) / 8;
                memory <= u64::from(caps.memory_kib) && mixed.saturating_mul(p) <= MAX_SCRYPT_BLOCKS
            }
            Self::Apr1 | Self::Sha1 => true,
        }
    }

    /// Hashes a password with these parameters.
    pub(super) fn derive(
        &self,
        password: &Password,
        salt: &[u8],
        out: &mut [u8],
        memory: &mut Memory,
    ) -> Result<(), HashError> {
        let secret = password.expose().as_bytes();
        match self {
            Self::Argon2i(params) => {
                let blocks = memory.blocks(params.block_count())?;
                Argon2::new(Algorithm::Argon2i, Version::V0x13, params.clone())
                    .hash_password_into_with_memory(secret, salt, out, blocks)
                    .map_err(|_| HashError::Corrupt)
            }
            Self::Bcrypt { cost } => copy(&bcrypt_hash(*cost, secret, salt)?, out),
            Self::Pbkdf2 { sha1, iterations } => {
                let algorithm = if *sha1 {
                    pbkdf2::PBKDF2_HMAC_SHA1
                } else {
                    pbkdf2::PBKDF2_HMAC_SHA256
                };
                pbkdf2::derive(algorithm, *iterations, salt, secret, out);
                Ok(())
            }
            Self::Scrypt { log_n, r, p } => scrypt_hash(*log_n, *r, *p, secret, salt, out),
            Self::Apr1 => copy(&apr1::hash(secret, salt), out),
            Self::Sha1 => copy(
                digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, secret).as_ref(),
                out,
            ),
        }
    }
}

/// bcrypt reads the password with a NUL byte behind it, and of both no more than 72 bytes.
fn bcrypt_hash(cost: u32, password: &[u8], salt: &[u8]) -> Result<[u8; BCRYPT_BYTES], HashError> {
    let salt = salt.first_chunk().ok_or(HashError::Corrupt)?;
    let mut key = Zeroizing::new(Vec::with_capacity(password.len().saturating_add(1)));
    key.extend_from_slice(password);
    key.push(0);
    key.truncate(72);
    let hash = Zeroizing::new(bcrypt::bcrypt(cost, *salt, &key));
    // The notation of bcrypt leaves out the last byte.
    hash.first_chunk().copied().ok_or(HashError::Corrupt)
}

fn scrypt_hash(
    log_n: u8,
    r: u32,
    p: u32,
    password: &[u8],
    salt: &[u8],
    out: &mut [u8],
) -> Result<(), HashError> {
    let params = scrypt::Params::new(log_n, r, p).map_err(|_| HashError::Corrupt)?;
    // The library aborts the process when there is no memory. The check before makes that an error.
    let bytes = usize::try_from(r)
        .ok()
        .and_then(|r| r.checked_mul(128 << log_n));
    let mut probe: Vec<u8> = Vec::new();
    if probe
        .try_reserve_exact(bytes.ok_or(HashError::NoMemory)?)
        .is_err()
    {
        return Err(HashError::NoMemory);
    }
    drop(probe);
    scrypt::scrypt(password, salt, &params, out).map_err(|_| HashError::Corrupt)
}

fn copy(hash: &[u8], out: &mut [u8]) -> Result<(), HashError> {
    if hash.len() != out.len() {
        return Err(HashError::Corrupt);
    }
    out.copy_from_slice(hash);
    Ok(())
}

/// The bytes of a bcrypt hash in its notation.
pub(super) const BCRYPT_BYTES: usize = 23;
/// The longest stored form.
const MAX_BYTES: usize = 512;
/// The longest salt, in bytes.
const MAX_SALT: usize = 128;
/// About four seconds.
const MAX_BCRYPT_COST: u32 = 16;
/// Five times the number in Django 5.2.
const MAX_PBKDF2_ITERATIONS: u32 = 5_000_000;
/// Blocks of 128 bytes that are mixed: eight times as many as with N = 2^17, r = 8, p = 1.
const MAX_SCRYPT_BLOCKS: u64 = 1 << 23;
