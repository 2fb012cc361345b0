//! Logs, metrics and audit records state what happened. They contain no secret, no client can forge a
//! line, and no request waits for a reader.
//!
//! - [`access_log`]: one line for each request.
//! - [`audit`]: the audit files.
//! - [`logs`]: the running log when its output is not read, and forged lines.
//! - [`secrets`]: no secret in any output.
//! - [`dropped`]: connections closed before a request are counted by reason.
//! - [`places`]: country and city of a session.

mod access_log;
mod audit;
mod dropped;
mod logs;
mod places;
mod secrets;
