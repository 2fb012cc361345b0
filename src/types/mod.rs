//! The ground: values that mean the same everywhere, each parsed once and trusted afterwards.
//!
//! Nothing here knows a store, a socket or a setting. Raw input becomes one of these types at the
//! edge (`config`, `api`, `server`); everything below takes the type, never the string.

pub mod descriptors;
pub mod device;
pub mod duration;
pub mod ids;
pub mod login;
pub mod memory;
pub mod named;
pub mod net;
pub mod path;
pub mod random;
pub mod role;
pub mod secret;
pub mod share;
pub mod shown;
pub mod text;
pub mod time;
