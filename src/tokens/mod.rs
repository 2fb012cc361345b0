//! Access tokens in and out.
pub mod settings;
