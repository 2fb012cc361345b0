//! What Sidegate answers itself.
pub mod settings;
