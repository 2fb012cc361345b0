//! Carry a permitted request to the upstream and its answer back.
pub mod settings;
