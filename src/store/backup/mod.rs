//! What is in a backup? Every record of a store at one commit, in a file that proves its completeness.
//!
//! ```text
//! "SIDEGATE-BACKUP\n"
//! frame H   the header, JSON: the time, the store, the names of its keys
//! frame K   the keys, sealed with a passphrase; optional
//! frame R   one record; one frame for each, in the order of their keys
//! frame E   the end: the number of records, the SHA-256 of the content and of the file up to here
//!
//! frame     kind (1) | length of the payload (4) | payload | CRC-32 of all before (4)
//! record    length of the key (2) | key | value
//! ```
//!
//! Numbers are big-endian. A file that was cut, changed or extended is refused: each frame has a
//! checksum, keys ascend strictly, and the last frame covers the whole file.
//!
//! The *content* is the basis for comparing two stores: all records except internal ones (table `M`: the
//! id of the store, the number of its last commit). Its SHA-256 covers the records in the order of their
//! keys, encoded as in the frames.

mod content;
mod error;
mod format;
mod reader;
mod restore;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;
mod writer;

pub use content::{Sha256Sum, append_to_page, split_page};
pub use error::BackupError;
pub use format::{Header, KeyNames};
pub use reader::{Reader, Record, Trailer};
pub use restore::{Descent, Restored, Sessions, Target, file_time, restore};
pub use writer::Writer;
