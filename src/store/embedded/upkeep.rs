//! How are expired records removed, and how is the store checked and closed?

use tokio::sync::oneshot;

use crate::store::embedded::Embedded;
use crate::store::embedded::jobs::Message;
use crate::store::embedded::keys;
use crate::store::embedded::keys::{CHALLENGE, DEVICE, LOCKOUT, META_CHECK, REVOCATION, SESSION};
use crate::store::embedded::ledger::{Entry, Order};
use crate::store::embedded::records::{StoredDevice, StoredLockout, StoredRevocation};
use crate::store::embedded::transaction::Transaction;
use crate::store::{Lifecycle, Stats, StoreError};
use crate::types::time::Timestamp;

/// The number of records in one step of the sweep. Other operations wait for one step at most.
const STEP: usize = 256;

impl Lifecycle for Embedded {
    async fn sweep(&self, limit: usize) -> Result<usize, StoreError> {
        let mut swept = 0;
        while swept < limit {
            let step = STEP.min(limit - swept);
            let done = self.run(move |view| view.sweep(step)).await?;
            swept += done;
            if done < step {
                break;
            }
        }
        // Removes the remaining records of an end of all sessions that no caller continued.
        if swept < limit {
            swept += self.clear_leftovers(limit - swept).await?;
        }
        Ok(swept)
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.numbers.check(self.clock.monotonic())?;
        self.run(|view| {
            let now = view.now;
            view.put(META_CHECK.to_vec(), &now)
        })
        .await
    }

    fn is_lost(&self) -> bool {
        self.numbers.is_lost()
    }

    fn stats(&self) -> Stats {
        self.numbers.stats()
    }

    async fn close(&self) -> Result<(), StoreError> {
        let (caller, closed) = oneshot::channel();
        let queue = self.queue.lock().take();
        match queue {
            Some(queue) if queue.send(Message::Close(caller)).is_ok() => self.wait(closed).await,
            // The store is closed already.
            _ => Ok(()),
        }
    }
}

/// The state of a record whose time has come.
enum Due {
    /// It was removed, now or before.
    Over,
    /// It stays until then.
    Until(Timestamp),
}

impl Transaction<'_> {
    /// Examines up to `limit` records whose time has come. Fewer means that no more are due.
    fn sweep(&mut self, limit: usize) -> Result<usize, StoreError> {
        let due = self.scan(&keys::expired(self.now), Order::Ascending, limit)?;
        let mut looked_at = due.len();
        for Entry { key: entry, .. } in due {
            let Some(record) = keys::expiring(&entry).map(<[u8]>::to_vec) else {
                self.delete(entry);
                continue;
            };
            self.delete(entry);
            match self.due_state(&record) {
                Ok(Due::Over) => {}
                Ok(Due::Until(later)) => self.expire_at(later, &record)?,
                // It stays, so that reading it reports the damage. It is not examined again, or it would
                // stop the sweep permanently.
                Err(StoreError::Corrupt(what)) => {
                    tracing::error!(what, "the sweep found a damaged record");
                }
                Err(error) => return Err(error),
            }
        }
        if looked_at < limit {
            looked_at += self.sweep_audit(limit - looked_at)?;
        }
        Ok(looked_at)
    }

    fn due_state(&mut self, record: &[u8]) -> Result<Due, StoreError> {
        match record.first() {
            Some(&SESSION) => self.look_at_session(record),
            Some(&LOCKOUT) => {
                let found: Option<StoredLockout> = self.get(record)?;
                let Some(stored) = found else {
                    return Ok(Due::Over);
                };
                if self.now >= stored.forget_at {
                    self.delete(record.to_vec());
                    return Ok(Due::Over);
                }
                let check_at = stored.forget_at;
                self.put(record.to_vec(), &StoredLockout { check_at, ..stored })?;
                Ok(Due::Until(check_at))
            }
            Some(&DEVICE) => {
                let found: Option<StoredDevice> = self.get(record)?;
                let Some(stored) = found else {
                    return Ok(Due::Over);
                };
                if self.now >= stored.known_until {
                    self.delete(record.to_vec());
                    return Ok(Due::Over);
                }
                let check_at = stored.known_until;
                self.put(record.to_vec(), &StoredDevice { check_at, ..stored })?;
                Ok(Due::Until(check_at))
            }
            Some(&REVOCATION) => {
                let found: Option<StoredRevocation> = self.get(record)?;
                match found.map(|stored| stored.revocation.until) {
                    Some(until) if self.now < until => Ok(Due::Until(until)),
                    _ => {
                        self.delete(record.to_vec());
                        Ok(Due::Over)
                    }
                }
            }
            Some(&CHALLENGE) => {
                self.delete(record.to_vec());
                Ok(Due::Over)
            }
            _ => Ok(Due::Over),
        }
    }

    fn look_at_session(&mut self, record: &[u8]) -> Result<Due, StoreError> {
        let Some(mut stored) = self.stored_session(record)? else {
            return Ok(Due::Over);
        };
        if self.over()?.includes(&stored.session) {
            self.remove_session(&stored)?;
            return Ok(Due::Over);
        }
        stored.check_at = stored.session.ends_at();
        let check_at = stored.check_at;
        self.put(record.to_vec(), &stored)?;
        self.touches.settle(record);
        Ok(Due::Until(check_at))
    }
}
