//! Which records does Sidegate store? Accounts, sessions, failure counters, revocations, audit records.
//!
//! Records are plain values. They change with the product, so they are separate from `types`.
//! `store::codec` writes them to disk.

pub mod audit;
pub mod lockout;
pub mod revocation;
pub mod session;
pub mod user;
