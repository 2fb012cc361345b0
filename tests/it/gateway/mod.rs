//! A reverse proxy sends a check to `/auth/verify` and gets the decision that the original request would
//! get. Only trusted peers may check another request.
//!
//! - [`decisions`]: every form of a check gets the decision of the rules.
//! - [`same`]: a check and the request itself, side by side.
//! - [`trust`]: which peers and which headers are trusted.
//! - [`sessions`]: log-out, renewal and activity by way of checks.
//! - [`refusals`]: a refusal never has the status 200.
//! - [`original`]: builds the requests of each gateway; a helper of this group.

mod decisions;
mod original;
mod refusals;
mod same;
mod sessions;
mod trust;
