//! Which metrics and logs does the process write? They never contain a secret (`docs/logging.md`).

pub mod escape;
pub mod log_queue;
pub mod logging;
pub mod metrics;
pub mod settings;
pub mod sink;
