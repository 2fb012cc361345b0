//! Which lines should the audit files contain? The state file records it, so that lines missing at the
//! beginning or at the end are detected as well. The recorded number is a lower bound while the process runs,
//! and exact after an orderly shutdown.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::files;

const NAME: &str = "state.json";
const DRAFT: &str = ".state.json.tmp";

/// The longest file that is read.
const MAX: u64 = 4 * 1024;

/// The state of both series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// Records of this version.
    pub(super) audit: Bounds,
    /// Records that were carried over from the store of an earlier version.
    pub(super) carried: Bounds,
}

/// Which lines a series holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bounds {
    /// The first line that is kept.
    pub(super) first: u64,
    /// The number of the next line.
    pub(super) next: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { first: 1, next: 1 }
    }
}

impl State {
    /// Reads the state file; the default when there is none.
    ///
    /// # Errors
    /// When the file exists and cannot be read.
    pub(super) fn read(directory: &Path) -> io::Result<Self> {
        let path = directory.join(NAME);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() && found.len() <= MAX => {}
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        }
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }

    /// Replaces the state file atomically.
    pub(super) fn write(self, directory: &Path) -> io::Result<()> {
        let draft = directory.join(DRAFT);
        let mut options = files::private();
        let mut file = options
            .create(true)
            .write(true)
            .truncate(true)
            .open(&draft)?;
        files::give_to_owner(&file, directory)?;
        file.write_all(&serde_json::to_vec(&self)?)?;
        fs::rename(draft, directory.join(NAME))
    }
}
