//! `[audit]`: where audit records are kept, and for how long.

use crate::audit::settings::Settings;
use crate::config::build::reader::Reader;
use crate::config::keys::audit;
use crate::store::settings::Engine;

/// The audit log's settings. If no directory is set, the records are in the store's directory; those
/// of a store in memory stay in memory.
pub(super) fn build(reader: &mut Reader<'_>, store: &Engine) -> Settings {
    let dir = if reader.is_set(audit::DIR.path()) {
        let dir = reader.get(&audit::DIR);
        if dir.is_none() {
            reader.refuse(audit::DIR.path(), "must name a directory");
        }
        dir
    } else {
        store.directory().map(|store| store.join("audit"))
    };
    Settings {
        dir,
        keep: reader.get(&audit::KEEP),
        max_size: reader.get(&audit::MAX_SIZE),
        refreshes: reader.get(&audit::REFRESHES),
    }
}
