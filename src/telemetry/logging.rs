//! Setting up the process log. The access log has a way of its own (`server::access_log`), because
//! a line a request must not take a lock that all workers share.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the log is told by the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How lines look.
    pub format: Format,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,sidegate=debug`.
    pub level: String,
}

/// A level that is none.
#[derive(Debug, thiserror::Error)]
#[error("log.level: {0}")]
pub struct BadLevel(#[from] tracing_subscriber::filter::ParseError);

/// Starts the process log on standard error. A second start in one process changes nothing.
pub fn start(settings: &Settings) -> Result<(), BadLevel> {
    let filter = EnvFilter::try_new(&settings.level)?;
    let registry = tracing_subscriber::registry().with(filter);
    // Fails only when a log is running already, as in tests.
    let _already_running = match settings.format {
        Format::Json => {
            let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
            registry.with(lines.with_writer(std::io::stderr)).try_init()
        }
        Format::Text => {
            let lines = tracing_subscriber::fmt::layer().with_ansi(false);
            registry.with(lines.with_writer(std::io::stderr)).try_init()
        }
    };
    Ok(())
}
