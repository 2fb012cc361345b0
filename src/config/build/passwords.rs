//! `[passwords]`: the cost of a hash.

use crate::config::build::reader::Reader;
use crate::config::keys::passwords;
use crate::crypto::settings::Settings;

/// The hasher's settings.
pub(super) fn build(reader: &mut Reader<'_>) -> Settings {
    let memory = reader.get(&passwords::MEMORY);
    let settings = Settings {
        memory_kib: u32::try_from(memory >> 10).unwrap_or(u32::MAX),
        iterations: reader.get(&passwords::ITERATIONS),
        parallelism: reader.get(&passwords::PARALLELISM),
        max_concurrent: reader.get(&passwords::MAX_CONCURRENT) as usize,
    };
    if reader.get(&passwords::DANGER_WEAK_HASH) {
        reader.danger(&passwords::DANGER_WEAK_HASH);
    } else if !is_recommended(&settings) {
        reader.refuse_with(
            passwords::MEMORY.path(),
            "passwords would be hashed too weakly",
            "the least are 46MiB with 1 iteration, 19MiB with 2, 12MiB with 3; \
             danger_weak_hash = true admits less",
        );
    }
    settings
}

/// The least costs of Argon2id that OWASP recommends: each row is as strong as the others.
fn is_recommended(settings: &Settings) -> bool {
    let least_mib = match settings.iterations {
        0 => return false,
        1 => 46,
        2 => 19,
        _ => 12,
    };
    settings.memory_kib >= least_mib << 10
}
