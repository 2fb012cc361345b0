//! The keys of `[passwords]`.

use crate::config::key::keys;
use crate::config::kind::{Flag, GIB, KIB, Number, Size, flag, number, section, size};

keys! {
    PASSWORDS = section("passwords");

    /// Characters of a new password.
    MIN_LENGTH: Number = number("passwords.min_length", 8, 8..=128);

    /// Memory of Argon2id. The least is 46MiB with 1 iteration, 19MiB with 2, 12MiB with 3.
    MEMORY: Size = size("passwords.memory", "19MiB", 64 * KIB..=GIB);

    /// Iterations of Argon2id.
    ITERATIONS: Number = number("passwords.iterations", 2, 1..=32);

    /// Lanes of Argon2id.
    PARALLELISM: Number = number("passwords.parallelism", 1, 1..=8);

    /// Hashes at the same time; they use memory x max_concurrent. Further log-ins wait in a short
    /// queue, then they are answered 503.
    MAX_CONCURRENT: Number = number("passwords.max_concurrent", 2, 1..=64);

    /// DANGER: admits weaker hashes.
    DANGER_WEAK_HASH: Flag = flag("passwords.danger_weak_hash", false);
}
