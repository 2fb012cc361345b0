//! When the store, the application, a key file or the wall clock fails, no request passes that should
//! not. The rest continues to work, and the answer states the cause without delay.
//!
//! - [`store`]: it cannot write, cannot read, does not answer, or is lost.
//! - [`application`]: it refuses connections, is silent, or sends something that is not HTTP.
//! - [`broken_answers`]: its answer breaks off.
//! - [`keys`]: the signing keys are missing or damaged.
//! - [`clock`]: the wall clock jumps while the process runs, and between two runs.

mod application;
mod broken_answers;
mod clock;
mod keys;
mod store;
