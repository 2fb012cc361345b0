//! The use cases, without HTTP.
pub mod liveness;
pub mod password;
pub mod settings;
