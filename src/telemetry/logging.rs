//! Setting up the process log. The access log has a way of its own (`server::access_log`), because
//! a line a request must not take a lock that all workers share.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{Handle, Layer};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::telemetry::settings::Settings;

/// The switch of a running log's level; that of no log by default.
#[derive(Debug, Clone, Default)]
pub struct Level(Option<Handle<LevelFilter, Registry>>);

impl Level {
    /// Changes the least level that is written.
    pub fn set(&self, settings: &Settings) {
        if let Self(Some(level)) = self {
            // Fails only when the log is gone, and then nobody reads it.
            drop(level.reload(settings.level));
        }
    }
}

/// Starts the process log on standard error. A second start in one process changes nothing.
pub fn start(settings: &Settings) -> Level {
    let (level, handle) = Layer::new(settings.level);
    let registry = tracing_subscriber::registry().with(level);
    let started = if settings.json {
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
        registry.with(lines.with_writer(std::io::stderr)).try_init()
    } else {
        let lines = tracing_subscriber::fmt::layer().with_ansi(false);
        registry.with(lines.with_writer(std::io::stderr)).try_init()
    };
    // Fails only when a log is running already, as in tests.
    Level(started.is_ok().then_some(handle))
}
