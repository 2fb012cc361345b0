//! The use cases, without HTTP.
pub mod settings;
