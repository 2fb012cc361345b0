//! The keys of `[store]`.

use crate::config::key::{Base, Reload, keys};
use crate::config::kind::{
    GIB, MIB, MINUTE, Size, Span, Text, duration, millis, secs, section, size, text,
};

keys! {
    STORE = section("store");

    /// "sled:DIRECTORY", or "memory:", whose content is lost when the process ends.
    URL: Text = text("store.url", "sled:./data")
        .relative_to(Base::WorkingDirectory)
        .changes(Reload::Restart);

    /// The page cache of sled.
    CACHE: Size = size("store.cache", "32MiB", MIB..=64 * GIB).changes(Reload::Restart);

    /// Time that a request waits for the store. Then it is answered 503.
    DEADLINE: Span = duration("store.deadline", "2s", millis(10)..=secs(MINUTE))
        .changes(Reload::Restart);

    /// Time that a start waits until another process releases the store, as in a restart with
    /// overlap.
    LOCK_WAIT: Span = duration("store.lock_wait", "60s", secs(0)..=secs(10 * MINUTE))
        .changes(Reload::StartOnly);
}
