//! The only users of hash and cipher libraries. Everything here is synchronous; `service` waits for results.
//! `digest` is plain hashing, and the only part that `store` may import.

pub mod digest;
pub mod keydir;
pub mod password;
pub mod pool;
pub mod refresh;
pub mod sealed;
pub mod sealed_record;
pub mod settings;
pub mod signing;
pub mod strength;
