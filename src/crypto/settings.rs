//! How expensive is a password hash?

/// Argon2id parameters (RFC 9106) and how many hashes may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Memory of one hash, in KiB.
    pub memory_kib: u32,
    /// Passes.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
    /// Hashes at once; their memory is the product of this and `memory_kib`.
    pub max_concurrent: usize,
}
