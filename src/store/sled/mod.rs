//! How is sled used safely? The ledger on disk: sled 0.34.7 with the safeguards that it needs.
//!
//! - Its `flush` passes bytes to the page cache only. Each commit therefore ends with an `fdatasync` on
//!   a second descriptor of its file. `flush_async` is never called: it never returns.
//! - `Tree::apply_batch` is as atomic in a crash as a transaction: both write the last log position of
//!   the batch to a place that recovery reads first, and recovery stops there when the log does not reach
//!   that position. One tree and one batch for each commit are therefore enough.
//! - After a failed write its memory may hold half a batch. It is then closed and opened again, so that
//!   only the content of its log counts. Until that succeeds, every call is refused.
//! - A half-written snapshot prevents opening, and so does a damaged one, although every record is in
//!   the log. [`place`] removes the first kind and moves the second kind aside.
//! - It takes the first damaged record for the end of its log and continues from there. Commits are
//!   therefore counted, and the last one is recorded beside the log ([`witness`]). The store that was
//!   opened is compared with it: a store with fewer or with other records is refused.
//! - Its flusher thread stays on, because it makes unused space available to new records.

#[cfg(test)]
mod detector;
mod disk_error;
pub(in crate::store) mod inspect;
#[cfg(test)]
mod inspected;
mod lock;
mod log;
mod marker;
pub(in crate::store) mod names;
mod opening;
mod place;
mod readable;
pub(in crate::store) mod salvage;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod ties;
mod walk;
mod witness;
mod witness_line;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::store::StoreError;
use crate::store::embedded::commits::{Commit, Proof};
use crate::store::embedded::ledger::{Batch, Entry, KeyRange, Ledger, Order};
use crate::store::sled::disk_error::explain;
use crate::store::sled::opening::{
    last_of, open_proved, refusal, start, start_engine, store_error, write_back,
};
use crate::store::sled::place::Place;
use crate::store::sled::witness::{Found, Witness};
use crate::store::sled::witness_line::Line;
use crate::types::ids::StoreId;
use crate::types::time::{Clock, Timestamp};

pub(in crate::store) use lock::hold;
pub(crate) use place::holds_a_store;
pub(in crate::store) use witness::seen_by_keys;

/// The pause before the engine is opened again after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// The ledger.
#[derive(Debug)]
pub(crate) struct Sled {
    place: Place,
    cache: u64,
    durability: Durability,
    clock: Arc<dyn Clock>,
    proof: Proof,
    witness: Witness,
    state: State,
}

/// When a commit counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// When it is on the disk.
    Synced,
    /// When it is in the page cache. A power cut loses it. Only for a test that shows this loss.
    PageCache,
}

/// Whether the records are compared with what was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detector {
    /// They are.
    On,
    /// They are not. Only for a test that shows that damage would be detected.
    Off,
}

#[derive(Debug)]
enum State {
    Open(Engine),
    /// A write failed. The engine is opened again after `retry_at`.
    Broken {
        why: String,
        retry_at: Timestamp,
    },
    /// The files do not hold what was acknowledged.
    Dead(String),
    /// The files were removed, or replaced by others.
    Lost(String),
    Closed,
}

#[derive(Debug)]
struct Engine {
    database: ::sled::Db,
    /// A second descriptor of the file of sled, used to sync it.
    file: File,
}

impl Sled {
    /// Opens the store of a directory.
    pub(crate) fn open(
        directory: &Path,
        cache: u64,
        durability: Durability,
        detector: Detector,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let place = Place::take(directory).map_err(|e| refusal(directory, e))?;
        let (engine, proof, found) = match detector {
            Detector::On => open_proved(&place, cache).map_err(|e| refusal(directory, e))?,
            Detector::Off => {
                let engine = start_engine(&place, cache)?;
                let proof = last_of(&engine)?;
                (engine, proof, Found::Nothing)
            }
        };
        let line = match (found, proof) {
            (Found::Line { line, .. }, Proof::Whole(commit)) => Line { commit, ..line },
            (_, Proof::Whole(commit)) => Line {
                commit,
                ..Line::default()
            },
            (_, Proof::Empty | Proof::Uncounted) => Line::default(),
        };
        let line = Line {
            unsynced: false,
            ..line
        };
        let witness = Witness::new(directory, line, durability == Durability::Synced);
        Ok(Self {
            place,
            cache,
            durability,
            clock,
            proof,
            witness,
            state: State::Open(engine),
        })
    }

    /// The engine. If it has failed, it is opened again when the pause is over.
    fn engine(&mut self) -> Result<&Engine, StoreError> {
        if let State::Broken { why, retry_at } = &self.state {
            let now = self.clock.now();
            if now < *retry_at {
                return Err(StoreError::Unavailable(why.clone()));
            }
            let acknowledged = self.witness.commit();
            let written = if self.witness.is_unsynced() {
                write_back(&self.place)
            } else {
                Ok(())
            };
            match written.and_then(|()| start(&self.place, self.cache, Some(&acknowledged))) {
                Ok((engine, _)) => {
                    tracing::warn!("the store works again");
                    self.state = State::Open(engine);
                }
                Err(StoreError::Damaged(what)) => {
                    let error = refusal(self.place.directory(), StoreError::Damaged(what));
                    tracing::error!(%error, "the store was opened again and lacks acknowledged records");
                    self.state = State::Dead(error.to_string());
                    return Err(StoreError::Unavailable(error.to_string()));
                }
                Err(error) => {
                    self.fail(error.to_string());
                    return Err(StoreError::Unavailable(error.to_string()));
                }
            }
        }
        match &self.state {
            State::Open(engine) => Ok(engine),
            State::Broken { why, .. } | State::Dead(why) => {
                Err(StoreError::Unavailable(why.clone()))
            }
            State::Lost(why) => Err(StoreError::Lost(why.clone())),
            State::Closed => Err(StoreError::Unavailable("the store is closed".to_owned())),
        }
    }

    fn read<T>(
        &mut self,
        read: impl FnOnce(&::sled::Db) -> Result<T, ::sled::Error>,
    ) -> Result<T, StoreError> {
        let directory = self.place.directory().to_owned();
        let engine = self.engine()?;
        read(&engine.database).map_err(|error| store_error(&directory, &error))
    }

    /// Marks the store as lost: records that are written from now on could not be found again.
    fn lose(&mut self, why: &str) -> StoreError {
        let why = format!(
            "the store in {} is lost: {why}. Put the directory back as it was, or restore a backup, \
             then restart sidegate",
            self.place.directory().display()
        );
        tracing::error!("{why}");
        discard(std::mem::replace(&mut self.state, State::Lost(why.clone())));
        StoreError::Lost(why)
    }

    /// Closes the engine after a failure, so that it is opened again later.
    fn fail(&mut self, why: String) {
        let retry_at = self.clock.now().plus(RETRY);
        let failed = std::mem::replace(&mut self.state, State::Broken { why, retry_at });
        discard(failed);
    }
}

impl Ledger for Sled {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|database| Ok(database.get(key)?.map(|value| value.to_vec())))
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        self.read(|database| {
            let found = database.range(range.from.clone()..range.to.clone());
            let pair = |pair: Result<(::sled::IVec, ::sled::IVec), _>| {
                pair.map(|(key, value)| Entry {
                    key: key.to_vec(),
                    value: value.to_vec(),
                })
            };
            match order {
                Order::Ascending => found.take(limit).map(pair).collect(),
                Order::Descending => found.rev().take(limit).map(pair).collect(),
            }
        })
    }

    fn identify(&mut self, store: StoreId, apart: Option<&Path>) -> Result<(), StoreError> {
        self.witness.identify(store, apart);
        match self.proof {
            Proof::Whole(_) => {
                let compared = self.witness.compare_with_keys();
                compared.map_err(|e| refusal(self.place.directory(), e))?;
                self.witness.renew(self.clock.monotonic())
            }
            // There is nothing to record before the first counted commit.
            Proof::Empty | Proof::Uncounted => Ok(()),
        }
    }

    fn commit(&mut self, batch: &Batch, commit: &Commit) -> Result<(), StoreError> {
        let synced = self.durability == Durability::Synced;
        let directory = self.place.directory().to_owned();
        let engine = self.engine()?;
        let writes = to_sled(batch);
        // A panic is treated like any other failure during the write.
        let written = catch_unwind(AssertUnwindSafe(|| {
            engine.database.apply_batch(writes)?;
            engine.database.flush()
        }))
        .unwrap_or_else(|_| Err(::sled::Error::ReportableBug("it panics".to_owned())));
        if let Err(error) = written {
            tracing::error!(%error, "the store engine could not write");
            self.fail(store_error(&directory, &error).to_string());
            // Only the next opening shows whether the log holds the whole batch.
            return Err(StoreError::Indeterminate);
        }
        if synced && let Err(error) = engine.file.sync_data() {
            tracing::error!(%error, "a sync failed");
            self.witness.note_unsynced();
            self.fail(format!("a sync failed ({error}): check the disk"));
            return Err(StoreError::Indeterminate);
        }
        if let State::Open(engine) = &self.state
            && let Err(why) = self.place.still_holds(&engine.file)
        {
            return Err(self.lose(&why));
        }
        if let Err(error) = self.witness.note(*commit, self.clock.monotonic()) {
            tracing::error!(%error, "the number of the last commit cannot be recorded");
            self.fail(error.to_string());
            return Err(StoreError::Indeterminate);
        }
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        match &self.state {
            State::Open(engine) => engine.file.metadata().map_or(0, |found| found.len()),
            State::Broken { .. } | State::Dead(_) | State::Lost(_) | State::Closed => 0,
        }
    }

    fn is_new(&self) -> bool {
        self.place.is_new()
    }

    fn mark_created(&mut self, store: StoreId) -> Result<(), StoreError> {
        self.place.mark(store)
    }

    fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost(_))
    }

    fn tick(&mut self) {
        if let State::Open(engine) = &self.state
            && let Err(why) = self.place.still_holds(&engine.file)
        {
            // The error is logged; the next call is refused.
            drop(self.lose(&why));
        }
        if matches!(self.state, State::Open(_))
            && let Err(error) = self.witness.sync(self.clock.monotonic())
        {
            tracing::error!(%error, "the number of the last commit cannot be synced");
            self.fail(error.to_string());
        }
    }

    fn close(&mut self) -> Result<(), StoreError> {
        let state = std::mem::replace(&mut self.state, State::Closed);
        let outcome = match &state {
            State::Open(engine) => engine.file.sync_data(),
            State::Broken { .. } | State::Dead(_) | State::Lost(_) | State::Closed => Ok(()),
        };
        discard(state);
        outcome.map_err(|e| explain(self.place.directory(), &e))?;
        self.witness.sync(self.clock.monotonic())
    }
}

/// Drops the engine. It panics when its last sync fails, which has no effect: what was acknowledged was
/// synced before.
fn discard<T>(held: T) {
    if catch_unwind(AssertUnwindSafe(|| drop(held))).is_err() {
        tracing::error!("the store engine did not stop cleanly");
    }
}

fn to_sled(batch: &Batch) -> ::sled::Batch {
    let mut writes = ::sled::Batch::default();
    for (key, write) in &batch.writes {
        match write {
            Some(value) => writes.insert(key.as_slice(), value.as_slice()),
            None => writes.remove(key.as_slice()),
        }
    }
    writes
}
