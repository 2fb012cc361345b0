//! How does a store without files work? As a ledger in memory, which can be made to fail.
//!
//! Its content is lost when the process ends. Tests use it as the model, and to test everything above a store
//! that fails or hangs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

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
    /// An empty ledger, and the switch that makes it fail.
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
        self.faults.pass(Access::Scan)?;
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

/// Makes a store in memory behave like one whose disk is full or does not respond. Clones control the
/// same store.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    shared: Arc<(Mutex<Switches>, Condvar)>,
}

#[derive(Debug, Default)]
struct Switches {
    fail_reads: bool,
    fail_scans: bool,
    writes: Writes,
    stall: bool,
}

/// The effect of writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Writes {
    #[default]
    Taken,
    Refused,
    /// Applied, and reported as if the outcome were unknown.
    Doubtful,
    #[cfg(test)]
    Panicking,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Scan,
    Write,
}

impl Faults {
    /// While on, every write is refused as if the disk were full.
    pub fn fail_writes(&self, on: bool) {
        self.switches().writes = if on { Writes::Refused } else { Writes::Taken };
    }

    /// While on, every write is applied and reported as if its outcome were unknown, as after a failed
    /// sync.
    pub fn doubt_writes(&self, on: bool) {
        self.switches().writes = if on { Writes::Doubtful } else { Writes::Taken };
    }

    /// From now on every write panics, as by a defect of the engine.
    #[cfg(test)]
    pub(crate) fn panic_writes(&self) {
        self.switches().writes = Writes::Panicking;
    }

    /// While on, every read is refused as if the disk were removed.
    pub fn fail_reads(&self, on: bool) {
        self.switches().fail_reads = on;
    }

    /// While on, every read of a range of keys is refused.
    #[cfg(test)]
    pub(crate) fn fail_scans(&self, on: bool) {
        self.switches().fail_scans = on;
    }

    /// While on, every access blocks. When turned off, blocked accesses continue. Turn it off at the end
    /// of a test, or the thread of the store stays blocked.
    pub fn stall(&self, on: bool) {
        self.switches().stall = on;
        self.shared.1.notify_all();
    }

    fn switches(&self) -> MutexGuard<'_, Switches> {
        self.shared.0.lock()
    }

    fn pass(&self, access: Access) -> Result<(), StoreError> {
        let mut switches = self.switches();
        let stalls = |switches: &mut Switches| switches.stall;
        self.shared.1.wait_while(&mut switches, stalls);
        #[cfg(test)]
        assert!(
            access != Access::Write || switches.writes != Writes::Panicking,
            "a write panics"
        );
        let fails = match access {
            Access::Read => switches.fail_reads,
            Access::Scan => switches.fail_reads || switches.fail_scans,
            Access::Write => switches.writes == Writes::Refused,
        };
        if fails {
            return Err(StoreError::Unavailable("no space left".to_owned()));
        }
        Ok(())
    }
}
