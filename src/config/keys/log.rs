//! The keys of `[log]`.

use tracing::level_filters::LevelFilter;

use crate::config::key::{Reload, keys};
use crate::config::kind::{File, Flag, Word, file, flag, section, word};

keys! {
    LOG = section("log");

    /// "text" or "json".
    FORMAT: Word<bool> = word("log.format", "text", &[("text", false), ("json", true)])
        .changes(Reload::Restart);

    /// "error", "warn", "info", "debug", "trace" or "off".
    LEVEL: Word<LevelFilter> = word("log.level", "info", &LEVEL_WORDS);

    /// One line for each request.
    ACCESS: Flag = flag("log.access", true).changes(Reload::Restart);

    /// The file for these lines. "": standard output.
    ACCESS_FILE: File = file("log.access_file", "").changes(Reload::Restart);
}

const LEVEL_WORDS: [(&str, LevelFilter); 6] = [
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
    ("off", LevelFilter::OFF),
];
