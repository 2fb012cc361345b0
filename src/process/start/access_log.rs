//! Where does the access log write, and with which thread?

use std::path::PathBuf;

use crate::config::Config;
use crate::process::start::error::StartError;
use crate::telemetry::log_queue::{self, LogQueue, Writer};
use crate::telemetry::settings::AccessLogTarget;

/// Starts the access log's thread. Each worker clones the queue to it. `None` when the log is off.
pub(crate) fn start(config: &Config) -> Result<Option<(LogQueue, Writer)>, StartError> {
    if !config.server.access_log {
        return Ok(None);
    }
    let path = match &config.server.access_log_target {
        AccessLogTarget::Stdout => PathBuf::from("standard output"),
        AccessLogTarget::File(path) => path.clone(),
    };
    log_queue::start(&config.server.access_log_target)
        .map(Some)
        .map_err(|error| StartError::AccessLog { path, error })
}
