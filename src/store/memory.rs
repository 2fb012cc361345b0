//! The ledger in memory: gone with the process. It is the model the tests compare with, and it can
//! be told to fail or to hang, so that everything above the store can be tested against that.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::store::StoreError;
use crate::store::embedded::commits::Commit;
use crate::store::embedded::ledger::{Batch, Entry, KeyRange, Ledger, Order};
use crate::types::ids::StoreId;

/// The ledger.
#[derive(Debug)]
pub(crate) struct Memory {
    map: BTreeMap<Vec<u8>, Vec<u8>>,
    faults: Faults,
}

impl Memory {
    /// An empty one and the switch that makes it fail.
    pub(crate) fn new() -> (Self, Faults) {
        let faults = Faults::default();
        let memory = Self {
            map: BTreeMap::new(),
            faults: faults.clone(),
        };
        (memory, faults)
    }
}

impl Ledger for Memory {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.faults.pass(Access::Read)?;
        Ok(self.map.get(key).cloned())
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.faults.pass(Access::Read)?;
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.map.range(range.from.clone()..range.to.clone());
        let pair = |(key, value): (&Vec<u8>, &Vec<u8>)| Entry {
            key: key.clone(),
            value: value.clone(),
        };
        Ok(match order {
            Order::Ascending => found.take(limit).map(pair).collect(),
            Order::Descending => found.rev().take(limit).map(pair).collect(),
        })
    }

    fn identify(&mut self, _store: StoreId, _apart: Option<&Path>) -> Result<(), StoreError> {
        Ok(())
    }

    fn commit(&mut self, batch: &Batch, _commit: &Commit) -> Result<(), StoreError> {
        self.faults.pass(Access::Write)?;
        for (key, write) in &batch.writes {
            match write {
                Some(value) => self.map.insert(key.clone(), value.clone()),
                None => self.map.remove(key),
            };
        }
        if self.faults.switches().writes == Writes::Doubtful {
            return Err(StoreError::Indeterminate);
        }
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn is_new(&self) -> bool {
        self.map.is_empty()
    }

    fn mark_created(&mut self, _store: StoreId) -> Result<(), StoreError> {
        Ok(())
    }

    fn tick(&mut self) {}

    fn is_lost(&self) -> bool {
        false
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.map.clear();
        Ok(())
    }
}

/// Makes a store in memory behave like one whose disk is full or hangs. Clones switch the same
/// store.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    shared: Arc<(Mutex<Switches>, Condvar)>,
}

#[derive(Debug, Default)]
struct Switches {
    fail_reads: bool,
    writes: Writes,
    stall: bool,
}

/// What becomes of writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Writes {
    #[default]
    Taken,
    Refused,
    /// Applied, and reported as if that were not known.
    Doubtful,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

impl Faults {
    /// While on, every write is refused as if the disk were full.
    pub fn fail_writes(&self, on: bool) {
        self.switches().writes = if on { Writes::Refused } else { Writes::Taken };
    }

    /// While on, every write is applied and reported as one that may have been, as after a failed sync.
    pub fn doubt_writes(&self, on: bool) {
        self.switches().writes = if on { Writes::Doubtful } else { Writes::Taken };
    }

    /// While on, every read is refused as if the disk were gone.
    pub fn fail_reads(&self, on: bool) {
        self.switches().fail_reads = on;
    }

    /// While on, every access hangs; turned off, what hung goes on. Turn it off at the end of a
    /// test, or the store's thread hangs for ever.
    pub fn stall(&self, on: bool) {
        self.switches().stall = on;
        self.shared.1.notify_all();
    }

    fn switches(&self) -> MutexGuard<'_, Switches> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, access: Access) -> Result<(), StoreError> {
        let switches = self
            .shared
            .1
            .wait_while(self.switches(), |switches| switches.stall)
            .unwrap_or_else(PoisonError::into_inner);
        let fails = match access {
            Access::Read => switches.fail_reads,
            Access::Write => switches.writes == Writes::Refused,
        };
        if fails {
            return Err(StoreError::Unavailable("no space left".to_owned()));
        }
        Ok(())
    }
}
