//! The only users of hash and cipher libraries.
pub mod settings;
