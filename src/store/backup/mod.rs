//! Backups: every record of a store at one commit, in a file that proves that it is whole.
//!
//! ```text
//! "SIDEGATE-BACKUP\n"
//! frame H   the header, JSON: what was saved, when, of which store, with which keys
//! frame K   the keys, sealed with a passphrase; only when they were asked for
//! frame R   one record; as many as there are, in the order of their keys
//! frame E   the end: how many records, the SHA-256 of the content and of the file up to here
//!
//! frame     kind (1) | length of the payload (4) | payload | CRC-32 of all before (4)
//! record    length of the key (2) | key | value
//! ```
//!
//! Numbers are big-endian. A file that was cut, changed or appended to is refused: each frame has its
//! checksum, keys ascend strictly, and the last frame covers the whole file.
//!
//! The *content* is what two stores can be compared by: all records but the store's own bookkeeping
//! (table `M`: its id, the number of its last commit). Its SHA-256 runs over the records in the order
//! of their keys, as they are in the frames.

mod content;
mod error;
mod format;
mod reader;
mod restore;
#[cfg(test)]
mod tests;
mod writer;

pub use content::{Sha256Sum, append_to_page, split_page};
pub use error::BackupError;
pub use format::{Header, KeyNames};
pub use reader::{Reader, Record, Trailer};
pub use restore::{Descent, Restored, Sessions, Target, file_time, restore};
pub use writer::Writer;
