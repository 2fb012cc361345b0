//! `[audit]`: where records of who did what go, and for how long.

use crate::audit::settings::Settings;
use crate::config::build::reader::{DAY, HOUR, Reader, secs};
use crate::config::raw::Audit;
use crate::store::settings::Engine;

/// The audit log's settings. Where no directory is named, records lie in the store's own; those of a
/// store in memory stay in memory, too.
pub(super) fn build(reader: &mut Reader<'_>, audit: &Audit, store: &Engine) -> Settings {
    let dir = if reader.is_set("audit.dir") {
        if audit.dir.is_empty() {
            reader.refuse("audit.dir", "must name a directory");
        }
        Some(reader.path("audit.dir", &audit.dir))
    } else {
        match store {
            Engine::Sled { path, .. } => Some(path.join("audit")),
            Engine::Memory => None,
        }
    };
    Settings {
        dir,
        keep: reader.duration("audit.keep", &audit.keep, secs(HOUR)..=secs(3_650 * DAY)),
        max_size: reader.size("audit.max_size", &audit.max_size, (1 << 20)..=(1 << 40)),
        refreshes: audit.refreshes,
    }
}
