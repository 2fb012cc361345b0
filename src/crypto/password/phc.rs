//! The PHC string form of an Argon2id hash: `$argon2id$v=19$m=..,t=..,p=..$salt$hash`.

use argon2::Params;
use data_encoding::BASE64_NOPAD;

use crate::crypto::password::{HASH_BYTES, HashError};

/// The parts of a stored hash.
pub(super) struct Stored {
    pub(super) params: Params,
    pub(super) salt: Vec<u8>,
    pub(super) hash: Vec<u8>,
}

impl Stored {
    /// Parses the form that this version writes. Other spellings of the same numbers are refused.
    pub(super) fn parse(text: &str) -> Result<Self, HashError> {
        Self::read(text).ok_or(HashError::Corrupt)
    }

    fn read(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let rest = text.strip_prefix(KIND)?;
        let (cost, rest) = rest.split_once('$')?;
        let (salt, hash) = rest.split_once('$')?;
        let salt = BASE64_NOPAD.decode(salt.as_bytes()).ok()?;
        let hash = BASE64_NOPAD.decode(hash.as_bytes()).ok()?;
        if !(8..=64).contains(&salt.len()) || !(16..=64).contains(&hash.len()) {
            return None;
        }
        Some(Self {
            params: numbers(cost, hash.len())?,
            salt,
            hash,
        })
    }
}

/// The parameter set of a hash, written as in front of its salt.
pub(super) fn params(cost: &str) -> Option<Params> {
    numbers(cost.strip_prefix(KIND)?, HASH_BYTES)
}

/// `m=..,t=..,p=..`.
pub(super) fn numbers(cost: &str, hash_bytes: usize) -> Option<Params> {
    let (memory, cost) = cost.strip_prefix("m=")?.split_once(",t=")?;
    let (passes, lanes) = cost.split_once(",p=")?;
    let (memory, passes, lanes) = (number(memory)?, number(passes)?, number(lanes)?);
    Params::new(memory, passes, lanes, Some(hash_bytes)).ok()
}

/// The text before the parameters.
const KIND: &str = "$argon2id$v=19$";

/// A decimal number without sign or leading zeros.
pub(super) fn number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    is_plain.then(|| text.parse().ok()).flatten()
}

pub(super) fn write(params: &Params, salt: &[u8], hash: &[u8]) -> String {
    format!(
        "$argon2id$v=19$m={},t={},p={}${}${}",
        params.m_cost(),
        params.t_cost(),
        params.p_cost(),
        BASE64_NOPAD.encode(salt),
        BASE64_NOPAD.encode(hash),
    )
}

const MAX_BYTES: usize = 512;
