//! An access token is accepted only if Sidegate signed it, for this installation, and its session is in
//! the store and has not ended.
//!
//! - [`forged`]: altered headers, claims and signatures, for every algorithm.
//! - [`known_sessions`]: the first use of a token, after a restart or with another store.

mod forged;
mod known_sessions;
