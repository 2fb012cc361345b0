//! Which database is in force, and what happens to one that cannot be used?
//!
//! A file that is absent or damaged is logged once and counted. The last good version stays in force; without
//! one, every place is unknown. No request fails because a place is unknown.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use crate::geo::database::{BadDatabase, Database, Stamp};
use crate::geo::settings::Settings;

/// The place of an address. Unknown parts are `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Two letters (ISO 3166-1).
    pub country: Option<String>,
    /// The city's name in English.
    pub city: Option<String>,
}

/// Finds places, in the newest usable version of the database.
#[derive(Debug, Default)]
pub struct Places {
    database: ArcSwapOption<Database>,
    file: Mutex<WatchedFile>,
    failures: AtomicU64,
}

/// The file that is watched.
#[derive(Debug, Default)]
struct WatchedFile {
    path: Option<PathBuf>,
    /// The version that was last read, usable or not. `None` if there was no file.
    seen: Option<Stamp>,
    /// Whether the last check failed, so that one failure is logged once.
    is_failing: bool,
}

impl Places {
    /// Uses the database of these settings, from now on. A file that is not used any more is forgotten.
    pub fn set(&self, settings: &Settings) {
        let mut file = self.file.lock();
        if file.path != settings.database {
            *file = WatchedFile {
                path: settings.database.clone(),
                ..WatchedFile::default()
            };
            self.database.store(None);
        }
        drop(file);
        self.check();
    }

    /// Reads the file if it has changed. Blocks while it is read.
    pub fn check(&self) {
        let mut file = self.file.lock();
        let Some(path) = file.path.clone() else {
            return;
        };
        let stamp = Stamp::of(&path);
        let read = match &stamp {
            Ok(stamp) if file.seen == Some(*stamp) => return,
            Ok(_) => Database::read(&path),
            Err(error) => Err(BadDatabase::Io(std::io::Error::new(
                error.kind(),
                error.to_string(),
            ))),
        };
        file.seen = stamp.ok();
        match read {
            Ok(database) => {
                tracing::info!(file = %path.display(), kind = database.kind(), "the city database is read");
                file.is_failing = false;
                self.database.store(Some(database.into()));
            }
            Err(error) => {
                if !file.is_failing {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    let kept = self.database.load().is_some();
                    tracing::warn!(
                        file = %path.display(),
                        %error,
                        "the city database cannot be used; {}",
                        if kept { "the one that was read before stays in use" } else { "places are unknown" }
                    );
                }
                file.is_failing = true;
            }
        }
    }

    /// The place of an address.
    pub fn find(&self, address: IpAddr) -> Place {
        let database = self.database.load();
        let found = database.as_ref().map(|database| database.find(address));
        // An entry that cannot be read is damage in one place of the file; the others are used.
        found.and_then(Result::ok).unwrap_or_default()
    }

    /// How often the file became unusable.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Whether a database is in force.
    pub fn is_loaded(&self) -> bool {
        self.database.load().is_some()
    }
}
