//! Setting up the process log. The access log has a way of its own (`server::access_log`), because
//! a line a request must not take a lock that all workers share.

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::telemetry::settings::Settings;

/// Starts the process log on standard error. A second start in one process changes nothing.
pub fn start(settings: &Settings) {
    let registry = tracing_subscriber::registry().with(settings.level);
    // Fails only when a log is running already, as in tests.
    let _already_running = if settings.json {
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
        registry.with(lines.with_writer(std::io::stderr)).try_init()
    } else {
        let lines = tracing_subscriber::fmt::layer().with_ansi(false);
        registry.with(lines.with_writer(std::io::stderr)).try_init()
    };
}
