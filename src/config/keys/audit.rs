//! The keys of `[audit]`.

use crate::config::key::{Base, Reload, keys};
use crate::config::kind::{
    DAY, File, Flag, GIB, HOUR, MIB, Size, Span, duration, file, flag, secs, section, size,
};

keys! {
    AUDIT = section("audit");

    /// The directory of the audit files. If it is not set, it is "audit" in the store's directory;
    /// with store.url = "memory:" the newest 10,000 records stay in memory. In this file, a relative
    /// path is relative to the directory of this file.
    DIR: File = file("audit.dir", "./data/audit").relative_to(Base::File).changes(Reload::Restart);

    /// Time that records are kept.
    KEEP: Span = duration("audit.keep", "90d", secs(HOUR)..=secs(3_650 * DAY))
        .changes(Reload::Restart);

    /// The size of all files. The oldest are deleted first, with a warning if they are younger than
    /// keep.
    MAX_SIZE: Size = size("audit.max_size", "256MiB", MIB..=1_024 * GIB).changes(Reload::Restart);

    /// true: one record for each refresh. false: one record per hour with their number. Reuse of a
    /// refresh token is always recorded.
    REFRESHES: Flag = flag("audit.refreshes", false).changes(Reload::Restart);
}
