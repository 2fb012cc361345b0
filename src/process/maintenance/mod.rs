//! What can be done to a store, its keys and its backups by the command line itself?

pub mod backup;
pub(crate) mod offline;
pub mod restore;
pub(crate) mod stores;
