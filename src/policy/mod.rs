//! Which rule a request falls under.
pub mod settings;
