//! `[log]`: format and level. The keys of the access log belong to the server's settings.

use tracing::level_filters::LevelFilter;

use crate::config::build::reader::Reader;
use crate::config::keys::log;
use crate::telemetry::settings::Settings;

/// The log's settings.
pub(super) fn build(reader: &mut Reader<'_>) -> Settings {
    Settings {
        level: reader.get(&log::LEVEL).unwrap_or(LevelFilter::INFO),
        json: reader.get(&log::FORMAT).unwrap_or_default(),
    }
}
