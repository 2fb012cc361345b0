//! `[store]`: which store, and how long it may take.

use std::time::Duration;

use crate::config::build::reader::Reader;
use crate::config::keys::store;
use crate::store::settings::{Engine, Settings};
use crate::tokens::settings::Settings as TokenSettings;

/// The store's settings.
pub(super) fn build(reader: &mut Reader<'_>, tokens: &TokenSettings) -> Settings {
    let cache = reader.get(&store::CACHE);
    Settings {
        engine: engine(reader, cache),
        deadline: reader.get(&store::DEADLINE),
        revocation_life: tokens.access_ttl + tokens.leeway,
        // Follows from `audit.keep`.
        audit_life: Duration::ZERO,
        lock_wait: reader.get(&store::LOCK_WAIT),
    }
}

fn engine(reader: &mut Reader<'_>, cache: u64) -> Engine {
    let key = store::URL.path();
    let url = reader.get(&store::URL);
    if url == "memory:" {
        return Engine::Memory;
    }
    let path = url.strip_prefix("sled:").unwrap_or_default();
    if url.starts_with("redis") {
        reader.refuse_with(
            key,
            "this version keeps its state in sled or in memory; Redis comes later",
            "write \"sled:./data\"",
        );
    } else if path.is_empty() {
        reader.refuse_with(
            key,
            "is no store",
            "write \"sled:\" and a directory, such as \"sled:./data\", or \"memory:\"",
        );
    }
    Engine::Sled {
        path: reader.resolve(&store::URL.declaration, key, path),
        cache,
    }
}
