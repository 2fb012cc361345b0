//! The audit log: which user did what, and when? The records are in files of their own.
//!
//! ```text
//! lock              held by the process that writes
//! state.json        which lines there should be
//! audit-N.log       records, one a line, from number N on
//! carried-N.log     older records, which an earlier version kept in the store
//! ```
//!
//! A bounded queue passes records to the only thread that waits for the disk. The caller
//! can wait, for a bounded time, until the line has been written to the operating system
//! ([`AuditLog::settled`]); a second later it is on the disk.

mod directory;
mod error;
mod line;
pub(crate) mod read;
mod series;
pub mod settings;
mod state;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::audit::writer::{PATIENCE, Writer};
use crate::model::audit::AuditRecord;
use crate::types::time::Clock;

pub use directory::Stats;
pub use error::AuditError;
pub use read::{Checked, Fault, Found, Part, Query};
pub use settings::Settings;

/// How many records are kept where there are no files.
const IN_MEMORY: usize = 10_000;

/// The audit log of a process.
#[derive(Debug)]
pub struct AuditLog {
    place: Place,
    stats: Arc<Stats>,
}

#[derive(Debug)]
enum Place {
    Files(Writer),
    Memory(Mutex<VecDeque<AuditRecord>>),
}

impl AuditLog {
    /// Opens the log that the settings name.
    ///
    /// # Errors
    /// When its directory cannot be used.
    pub fn open(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        Self::with_patience(settings, clock, PATIENCE)
    }

    /// The same, with another limit for the wait of [`AuditLog::settled`].
    fn with_patience(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        patience: Duration,
    ) -> Result<Self, AuditError> {
        let Some(path) = &settings.dir else {
            return Ok(Self::in_memory());
        };
        let stats = Arc::new(Stats::default());
        let writer = Writer::start(path, settings, Arc::clone(&stats), clock, patience)?;
        Ok(Self {
            place: Place::Files(writer),
            stats,
        })
    }

    /// A log that ends with the process and keeps the newest 10,000 records.
    pub fn in_memory() -> Self {
        Self {
            place: Place::Memory(Mutex::default()),
            stats: Arc::default(),
        }
    }

    /// The counters of the log.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// The counter of records that could not be written.
    pub fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.stats.lost)
    }

    /// Passes a record to the writer. Never waits. Returns whether it was accepted.
    pub fn record(&self, record: AuditRecord) -> bool {
        match &self.place {
            Place::Files(writer) => {
                let is_taken = writer.record(record);
                if !is_taken {
                    self.stats.lost.fetch_add(1, Ordering::Relaxed);
                }
                is_taken
            }
            Place::Memory(records) => {
                let mut records = records.lock();
                if records.len() >= IN_MEMORY {
                    records.pop_front();
                }
                records.push_back(record);
                self.stats.written.fetch_add(1, Ordering::Relaxed);
                true
            }
        }
    }

    /// Waits until the records so far have been passed to the operating system. The wait is bounded, and there
    /// is none while the disk does not respond.
    pub async fn settled(&self) {
        if let Place::Files(writer) = &self.place {
            writer.settled().await;
        }
    }

    /// The directory of the files, if there are any.
    pub fn directory(&self) -> Option<&Path> {
        match &self.place {
            Place::Files(writer) => Some(writer.directory()),
            Place::Memory(_) => None,
        }
    }

    /// The newest records of a part that match the query, newest first. Blocks while files are read.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn find(&self, part: Part, query: &Query) -> std::io::Result<Found> {
        match &self.place {
            Place::Files(writer) => read::find(writer.directory(), part, query),
            Place::Memory(_) if part == Part::Carried => Ok(Found::default()),
            Place::Memory(records) => {
                let records = records.lock();
                let wanted = records.iter().rev().filter(|record| query.wants(record));
                Ok(Found {
                    records: wanted.take(query.limit).cloned().collect(),
                    faults: Vec::new(),
                })
            }
        }
    }

    /// Checks every line of all files. Blocks while files are read.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn check(&self) -> std::io::Result<Checked> {
        match &self.place {
            Place::Files(writer) => read::check(writer.directory()),
            Place::Memory(records) => {
                let records = records.lock();
                Ok(Checked {
                    records: records.len() as u64,
                    ..Checked::default()
                })
            }
        }
    }

    /// The numbers that lines had in the store before they were carried over.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn carried(&self) -> std::io::Result<HashSet<u64>> {
        match &self.place {
            Place::Files(writer) => read::carried_numbers(writer.directory()),
            Place::Memory(_) => Ok(HashSet::new()),
        }
    }

    /// Writes records of an earlier version, with the numbers that they have in its store. They are on the disk
    /// when this returns `true`. A log without files keeps none of them and returns `false`: they must stay in
    /// the store.
    ///
    /// # Errors
    /// When they could not be written.
    pub async fn carry(&self, records: Vec<(u64, AuditRecord)>) -> Result<bool, AuditError> {
        match &self.place {
            Place::Files(writer) => writer.carry(records).await.map(|()| true),
            Place::Memory(_) => Ok(false),
        }
    }

    /// Writes the remaining records, makes them durable and releases the files. Waits for a bounded time. Later
    /// records are refused.
    pub fn close(&self) {
        if let Place::Files(writer) = &self.place {
            writer.close();
        }
    }
}
