//! Makes and compares password hashes: Argon2id (RFC 9106) in PHC form. Hashes of other systems, which were
//! imported, are compared and never made.
//!
//! Every comparison costs one whole hash, also for a user who does not exist. The cost of a stored hash
//! is limited, so that a manipulated record cannot exhaust the machine.

mod adopt;
mod apr1;
mod foreign;
mod phc;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::password::foreign::{Foreign, Work};
use crate::crypto::password::phc::Stored;
use crate::crypto::settings::Settings;
use crate::model::user::{HashCost, PasswordHash};
use crate::types::secret::Password;

pub use crate::crypto::password::adopt::BadHash;

/// Makes and checks password hashes at the configured cost.
#[derive(Debug, Clone)]
pub struct Hasher {
    params: Params,
    caps: Caps,
}

impl Hasher {
    /// A hasher of this cost; refuses a cost that is outside RFC 9106 or above 1 GiB a hash.
    pub fn new(settings: Settings) -> Result<Self, BadCost> {
        let (memory, passes) = (settings.memory_kib, settings.iterations);
        if memory > MAX_MEMORY_KIB {
            return Err(BadCost);
        }
        let params = Params::new(memory, passes, settings.parallelism, Some(HASH_BYTES));
        Ok(Self {
            params: params.map_err(|_| BadCost)?,
            caps: Caps::around(settings),
        })
    }

    /// Hashes a password for storage. The salt must be fresh randomness.
    pub fn hash(
        &self,
        password: &Password,
        salt: [u8; SALT_BYTES],
        memory: &mut Memory,
    ) -> Result<PasswordHash, HashError> {
        let mut hash = Zeroizing::new([0; HASH_BYTES]);
        derive(&self.params, password, &salt, hash.as_mut_slice(), memory)?;
        Ok(PasswordHash::new(phc::write(
            &self.params,
            &salt,
            hash.as_slice(),
        )))
    }

    /// Compares a password with a stored hash, at the cost in the stored hash.
    pub fn verify(
        &self,
        password: &Password,
        stored: &PasswordHash,
        memory: &mut Memory,
    ) -> Result<Verified, HashError> {
        if let Some(foreign) = Foreign::parse(stored.expose()) {
            return self.verify_foreign(password, &foreign, memory);
        }
        let stored = Stored::parse(stored.expose())?;
        if !self.caps.admit(&stored.params) {
            return Err(HashError::TooDear);
        }
        let mut hash = Zeroizing::new(vec![0; stored.hash.len()]);
        derive(&stored.params, password, &stored.salt, &mut hash, memory)?;
        if !bool::from(hash.ct_eq(&stored.hash)) {
            return Ok(Verified::Mismatch);
        }
        if self.is_current(&stored) {
            Ok(Verified::Match)
        } else {
            Ok(Verified::MatchButOutdated)
        }
    }

    /// A match is always outdated: the password is hashed again, with Argon2id.
    fn verify_foreign(
        &self,
        password: &Password,
        stored: &Foreign,
        memory: &mut Memory,
    ) -> Result<Verified, HashError> {
        if !stored.work.is_within(self.caps) {
            return Err(HashError::TooDear);
        }
        let mut hash = Zeroizing::new(vec![0; stored.hash.len()]);
        stored
            .work
            .derive(password, &stored.salt, &mut hash, memory)?;
        Ok(if bool::from(hash.ct_eq(&stored.hash)) {
            Verified::MatchButOutdated
        } else {
            Verified::Mismatch
        })
    }

    /// Does the work of a comparison for a user who does not exist, so that the time reveals nothing: with the
    /// parameter set of some account, or with the configured one if there is no account. Always a mismatch.
    pub fn verify_without_account(
        &self,
        password: &Password,
        cost: Option<&HashCost>,
        memory: &mut Memory,
    ) -> Result<Verified, HashError> {
        let foreign = cost.and_then(|cost| Work::parse(cost.as_str()));
        if let Some(work) = foreign.filter(|work| work.is_within(self.caps)) {
            let mut hash = Zeroizing::new(vec![0; work.hash_bytes()]);
            let salt = work.usual_salt();
            work.derive(password, salt, &mut hash, memory)?;
            // The comparison prevents the compiler from omitting the work.
            let _ = bool::from(hash.ct_eq(&vec![0; hash.len()]));
            return Ok(Verified::Mismatch);
        }
        let used = cost.and_then(|cost| phc::params(cost.as_str()));
        let used = used.filter(|params| self.caps.admit(params));
        let params = used.as_ref().unwrap_or(&self.params);
        let mut hash = Zeroizing::new([0; HASH_BYTES]);
        let salt = [0; SALT_BYTES];
        derive(params, password, &salt, hash.as_mut_slice(), memory)?;
        // The comparison prevents the compiler from omitting the work.
        let _ = bool::from(hash.ct_eq(&[0; HASH_BYTES]));
        Ok(Verified::Mismatch)
    }

    /// The configured parameter set, as it is written in a hash.
    pub fn cost(&self) -> HashCost {
        PasswordHash::new(phc::write(&self.params, &[], &[])).cost()
    }

    fn is_current(&self, stored: &Stored) -> bool {
        let cost = |p: &Params| (p.m_cost(), p.t_cost(), p.p_cost());
        cost(&stored.params) == cost(&self.params)
            && stored.salt.len() == SALT_BYTES
            && stored.hash.len() == HASH_BYTES
    }
}

fn derive(
    params: &Params,
    password: &Password,
    salt: &[u8],
    out: &mut [u8],
    memory: &mut Memory,
) -> Result<(), HashError> {
    let blocks = memory.blocks(params.block_count())?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password.expose().as_bytes(), salt, out, blocks)
        .map_err(|_| HashError::Corrupt)
}

/// The result of comparing a password with a stored hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verified {
    /// It is the password.
    Match,
    /// It is the password, and the stored hash was made at another cost: hash it again.
    MatchButOutdated,
    /// It is not.
    Mismatch,
}

/// The work memory of one hashing thread, kept between hashes: fresh pages cost more than the hash
/// itself. Wiped when dropped.
#[derive(Default)]
pub struct Memory(Vec<Block>);

impl Memory {
    /// Returns the memory to the system.
    pub fn release(&mut self) {
        *self = Self::default();
    }

    /// How many bytes are held.
    pub fn held_bytes(&self) -> usize {
        self.0.len().saturating_mul(Block::SIZE)
    }

    fn blocks(&mut self, count: usize) -> Result<&mut [Block], HashError> {
        let missing = count.saturating_sub(self.0.len());
        let reserved = count.max(OWN_MAPPING).saturating_sub(self.0.len());
        if self.0.try_reserve_exact(reserved).is_err() {
            return Err(HashError::NoMemory);
        }
        if missing > 0 {
            self.0.resize(count, Block::new());
        }
        self.0.get_mut(..count).ok_or(HashError::NoMemory)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(Zeroize::zeroize);
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Memory({} bytes)", self.held_bytes())
    }
}

/// The maximum cost of a stored hash. It is higher than the settings, because lowering the configured
/// cost must not lock out accounts with an older hash.
#[derive(Debug, Clone, Copy)]
struct Caps {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Caps {
    fn around(settings: Settings) -> Self {
        Self {
            memory_kib: settings
                .memory_kib
                .saturating_mul(4)
                .clamp(256 * 1024, MAX_MEMORY_KIB),
            passes: settings.iterations.saturating_mul(4).max(16),
            lanes: settings.parallelism.max(16),
        }
    }

    fn admit(self, params: &Params) -> bool {
        params.m_cost() <= self.memory_kib
            && params.t_cost() <= self.passes
            && params.p_cost() <= self.lanes
    }
}

/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// The least number of blocks that is reserved: above 32 MiB glibc's allocator always asks the system for
/// a mapping of its own, and returns it as soon as it is freed. Below that it keeps what was freed once.
/// Reserved blocks that are not used take an address range, not memory.
const OWN_MAPPING: usize = 33 * 1024;
const MAX_MEMORY_KIB: u32 = 1024 * 1024;

/// A cost that Argon2id does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("password hashing needs 1 or more passes and lanes, and 8 KiB a lane to 1 GiB of memory")]
pub struct BadCost;

/// Why a hash could not be made or compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The stored hash is neither an Argon2id hash in PHC form nor an imported one.
    #[error("the stored password hash is damaged or of an unknown kind")]
    Corrupt,
    /// The stored hash has a cost above the limit.
    #[error("the stored password hash would cost more than is allowed")]
    TooDear,
    /// There is not enough memory.
    #[error("there is not enough memory to hash a password")]
    NoMemory,
}
