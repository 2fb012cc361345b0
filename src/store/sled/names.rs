//! Which files in a store directory belong to the store?
//!
//! ```text
//! lock                 held by the process that uses the directory
//! sidegate-store       the marker: a store was completed here, and which one
//! commit-a commit-b    the witness: the last acknowledged commit
//! db conf blobs/       files of the engine
//! snap.*               snapshots of the engine, which speed up its start; it can make them again from `db`
//! quarantine/          damaged snapshots that were moved aside
//! rehearsal/           a copy, while a store in doubt is tried
//! replaced-*/          a store that a restore has moved aside
//! ```

/// Held by the process that uses the directory.
pub(in crate::store) const LOCK: &str = "lock";

/// Exists from the completion of the store on. See [`marker`](super::marker).
pub(in crate::store) const MARKER: &str = "sidegate-store";

/// The marker while it is being written.
pub(super) const MARKER_DRAFT: &str = "sidegate-store.draft";

/// The log of the engine.
pub(super) const DATABASE: &str = "db";

/// The settings of the engine.
pub(super) const SETTINGS: &str = "conf";

/// Large values of the engine. This version writes none.
pub(super) const BLOBS: &str = "blobs";

/// Damaged snapshots that were moved aside.
pub(super) const QUARANTINE: &str = "quarantine";

/// A copy on which the engine is tried.
pub(super) const REHEARSAL: &str = "rehearsal";

/// The copies of the witness. See [`witness`](super::witness).
pub(super) const WITNESS: [&str; 2] = ["commit-a", "commit-b"];

/// How the name of a snapshot begins.
pub(super) const SNAPSHOT: &str = "snap.";

/// How the name of a directory begins into which a restore moves a store aside.
pub(in crate::store) const REPLACED: &str = "replaced-";

/// Whether a file or directory of this name is a part of a store: it moves with the store.
pub(in crate::store) fn is_part_of_store(name: &str) -> bool {
    let whole = [MARKER, DATABASE, SETTINGS, BLOBS, QUARANTINE];
    whole.contains(&name) || WITNESS.contains(&name) || name.starts_with(SNAPSHOT)
}

/// Whether Sidegate has made a file or directory of this name in a store directory.
pub(crate) fn is_store_file(name: &str) -> bool {
    let begins = |start: &str| name.starts_with(start);
    is_part_of_store(name)
        || [LOCK, MARKER_DRAFT].contains(&name)
        || begins("commit-")
        || begins(REPLACED)
}
