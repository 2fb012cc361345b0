//! The traits of a store engine: which operations exist, and what each one promises.
//!
//! There is one file for each subject, with the trait and the types of its arguments and outcomes.
//! The promises that hold for all methods are in [`crate::store`].

pub(super) mod accounts;
pub(super) mod audit;
pub(super) mod backup;
pub(super) mod bulk;
pub(super) mod challenges;
pub(super) mod feed;
pub(super) mod lifecycle;
pub(super) mod lockouts;
pub(super) mod mails;
pub(super) mod sessions;
