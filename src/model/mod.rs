//! What the product remembers: accounts, sessions, failure counters, revocations, audit records.
//!
//! Records are plain values. They change with the product, so they live apart from `types`; how
//! they are written to disk is the business of `store::codec`.

pub mod audit;
pub mod lockout;
pub mod revocation;
pub mod session;
pub mod user;
