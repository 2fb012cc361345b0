//! How does the process start, run and end?
//!
//! | question | file |
//! |---|---|
//! | How does `sidegate serve` run? | [`serve`](mod@serve) |
//! | In which order does a process start? | [`start`](mod@start) |
//! | Which tasks run beside the workers, and in which order do they end? | [`supervisor`] |
//! | Which signals are handled? | [`signals`] |
//! | How is the configuration read again? | [`reload`] |
//! | What does shutdown wait for? | [`drain`] |
//! | What do the admin pages answer? | [`admin`] |
//! | How are an operator's commands executed? | [`control`] |
//! | Where does the plain-text listener redirect? | [`redirect`] |
//! | What can be done without a running server? | [`maintenance`] |

mod admin;
mod control;
pub mod demo;
mod drain;
mod file_modes;
pub mod maintenance;
mod redirect;
mod reload;
mod running;
mod serve;
mod service_manager;
pub mod settings;
mod signals;
pub(crate) mod start;
mod supervisor;

pub use self::maintenance::offline::Offline;
pub use self::maintenance::stores::{salvage_store, verify_store};
pub use self::reload::Reread;
pub use self::running::Running;
pub use self::serve::serve;
pub use self::settings::Settings;
pub use self::start::error::StartError;
pub use self::start::start;
pub use self::start::surroundings::{Beginning, Surroundings};
