//! Numbers and logs: what the process tells about itself. Never a secret (`docs/logging.md`).

pub mod escape;
pub mod logging;
pub mod metrics;
pub mod settings;
pub mod sink;
