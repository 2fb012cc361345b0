//! Which values do all modules share? Each is checked once, when it is parsed.
//!
//! Nothing here depends on a store, a socket or a setting. Raw input becomes one of these types in the
//! module that receives it (`config`, `net`, `gateway`, `api`); all others take the type, never the text.

pub mod descriptors;
pub mod device;
pub mod duration;
pub mod header;
pub mod ids;
pub mod language;
pub mod login;
pub mod memory;
pub mod named;
pub mod net;
pub mod origin;
pub mod path;
pub mod random;
pub mod role;
pub mod secret;
pub mod share;
pub mod shown;
pub mod text;
pub mod time;
pub mod trusted_proxies;
