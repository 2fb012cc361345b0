//! The composition root: builds every part in order and owns the order in which they end. Nothing
//! else in the house knows more than its own neighbours.

pub mod backup;
mod build;
mod clock;
pub mod demo;
mod descriptors;
mod error;
mod keeper;
mod offline;
mod pipelines;
mod private;
mod readings;
mod redirect;
mod reload;
mod restart;
pub mod restore;
mod running;
mod serve;
mod sockets;
mod stores;
mod watch;
mod workers;

pub use self::build::{Beginning, Surroundings};
pub use self::error::StartError;
pub use self::offline::Offline;
pub use self::reload::Reread;
pub use self::running::{Running, start};
pub use self::serve::serve;
pub use self::stores::{salvage_store, verify_store};
