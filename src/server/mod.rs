//! Sockets to requests.
pub mod settings;
