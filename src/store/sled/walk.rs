//! How is every record of a database read quickly? In parts, on several threads.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::store::StoreError;
use crate::store::embedded::commits::Records;
use crate::store::embedded::digest::Digest;
use crate::store::embedded::keys::META_COMMIT;

/// The borders of parts of similar size. The index and the table of sessions are the large ones.
const CUTS: [&[u8]; 6] = [b"", b"I", b"S", b"S\x80", b"T", b"X"];

/// The largest number of threads.
const THREADS: usize = 4;

/// The records of a database.
#[derive(Debug)]
pub(super) struct Walk<'a>(pub(super) &'a ::sled::Db);

impl Records for Walk<'_> {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = catch_unwind(AssertUnwindSafe(|| self.0.get(key)));
        match found {
            Ok(Ok(value)) => Ok(value.map(|value| value.to_vec())),
            Ok(Err(error)) => Err(unreadable(&error.to_string(), key)),
            Err(_) => Err(unreadable("the engine panics", key)),
        }
    }

    fn sum(&self) -> Result<(u64, Digest), StoreError> {
        let next = AtomicUsize::new(0);
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let work = || -> Result<(u64, Digest), StoreError> {
            let mut total = (0, Digest::default());
            loop {
                let part = next.fetch_add(1, Ordering::Relaxed);
                let Some(from) = CUTS.get(part) else {
                    return Ok(total);
                };
                let to = CUTS.get(part + 1).copied();
                let (count, digest) = self.sum_of(from, to)?;
                total = (total.0 + count, total.1.plus(digest));
            }
        };
        thread::scope(|scope| {
            let others: Vec<_> = (1..threads.min(THREADS))
                .map(|_| scope.spawn(work))
                .collect();
            let mut total = work()?;
            for other in others {
                let (count, digest) = other
                    .join()
                    .map_err(|_| StoreError::Damaged("reading it panics".to_owned()))??;
                total = (total.0 + count, total.1.plus(digest));
            }
            Ok(total)
        })
    }
}

impl Walk<'_> {
    /// Reads the records from `from` up to, not including, `to`.
    fn sum_of(&self, from: &[u8], to: Option<&[u8]>) -> Result<(u64, Digest), StoreError> {
        let mut total = (0, Digest::default());
        let mut last = Vec::new();
        let walked = catch_unwind(AssertUnwindSafe(|| {
            let records = match to {
                Some(to) => self.0.range(from..to),
                None => self.0.range(from..),
            };
            for record in records {
                let (key, value) = record.map_err(|e| unreadable(&e.to_string(), &last))?;
                if total.0 > 0 && *key <= *last {
                    return Err(unreadable("its keys are not in order", &last));
                }
                if *key != *META_COMMIT {
                    total.1 = total.1.plus(Digest::of(&key, &value));
                    total.0 += 1;
                }
                last.clear();
                last.extend_from_slice(&key);
            }
            Ok(())
        }));
        match walked {
            Ok(outcome) => outcome.map(|()| total),
            Err(_) => Err(unreadable("the engine panics", &last)),
        }
    }
}

/// Names the table only: keys can contain data that must not be logged.
fn unreadable(why: &str, after: &[u8]) -> StoreError {
    let table = after.first().map_or('?', |tag| char::from(*tag));
    StoreError::Damaged(format!("a page of table {table} cannot be read ({why})"))
}
