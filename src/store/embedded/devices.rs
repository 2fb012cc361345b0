//! How does an embedded store know the devices of an account? By a record for each device that logged
//! in.

use crate::model::lockout::Lockout;
use crate::model::user::UserKey;
use crate::rules::lockout::after_failure;
use crate::store::embedded::keys;
use crate::store::embedded::ledger::{Entry, Order};
use crate::store::embedded::records::StoredDevice;
use crate::store::embedded::transaction::Transaction;
use crate::store::{DEVICE_LIFE, LockPolicy, MAX_DEVICES, Route, StoreError, codec};
use crate::types::ids::DeviceId;

impl Transaction<'_> {
    /// A device of this account, unless it has expired. A live session of an earlier version counts as well,
    /// because no record was written for its device.
    pub(crate) fn known_device(
        &mut self,
        owner: &UserKey,
        device: DeviceId,
    ) -> Result<Option<StoredDevice>, StoreError> {
        let found: Option<StoredDevice> = self.get(&keys::device(owner, device))?;
        if let Some(stored) = found {
            return Ok((self.now < stored.known_until).then_some(stored));
        }
        let now = self.now;
        let sessions = self.sessions_of(Route::of(owner))?;
        let of_device = |session: &crate::model::session::Session| {
            session.device_id == Some(device) && !session.is_expired(now)
        };
        let lives = sessions.iter().any(|stored| of_device(&stored.session));
        let known_until = now.plus(DEVICE_LIFE);
        Ok(lives.then_some(StoredDevice {
            failures: Lockout::default(),
            logins: 1,
            known_until,
            check_at: known_until,
        }))
    }

    /// Records a successful log-in from a device.
    pub(crate) fn remember_device(
        &mut self,
        owner: &UserKey,
        device: DeviceId,
    ) -> Result<(), StoreError> {
        let record = keys::device(owner, device);
        let found: Option<StoredDevice> = self.get(&record)?;
        if found.is_none() {
            self.make_room_for_device(owner)?;
        }
        let known_until = self.now.plus(DEVICE_LIFE);
        // The expiry entry stays at its first moment. The sweep moves it.
        let check_at = if let Some(stored) = found {
            stored.check_at
        } else {
            self.expire_at(known_until, &record)?;
            known_until
        };
        let stored = StoredDevice {
            failures: Lockout::default(),
            logins: found.map_or(0, |stored| stored.logins).saturating_add(1),
            known_until,
            check_at,
        };
        self.put(record, &stored)
    }

    /// Counts a failure of a known device.
    pub(crate) fn count_device_failure(
        &mut self,
        owner: &UserKey,
        device: DeviceId,
        policy: LockPolicy,
    ) -> Result<(), StoreError> {
        let Some(mut stored) = self.known_device(owner, device)? else {
            return Ok(());
        };
        let record = keys::device(owner, device);
        if !self.has(&record)? {
            self.make_room_for_device(owner)?;
            self.expire_at(stored.check_at, &record)?;
        }
        let LockPolicy {
            max_failures,
            lock_for,
        } = policy;
        stored.failures = after_failure(stored.failures, max_failures, lock_for, self.now);
        self.put(record, &stored)
    }

    /// Clears the failures of all devices. Returns whether there were any.
    pub(crate) fn forgive_devices(&mut self, owner: &UserKey) -> Result<bool, StoreError> {
        let mut had_any = false;
        for (record, stored) in self.devices_of(owner)? {
            if stored.failures != Lockout::default() {
                had_any = true;
                let failures = Lockout::default();
                self.put(record, &StoredDevice { failures, ..stored })?;
            }
        }
        Ok(had_any)
    }

    /// Removes all devices of an account.
    pub(crate) fn forget_devices(&mut self, owner: &UserKey) -> Result<(), StoreError> {
        for (record, stored) in self.devices_of(owner)? {
            self.unexpire(stored.check_at, &record);
            self.delete(record);
        }
        Ok(())
    }

    /// A client that never sends its device id creates a new one with each log-in. Such devices must not
    /// displace one that is used.
    fn make_room_for_device(&mut self, owner: &UserKey) -> Result<(), StoreError> {
        let mut devices = self.devices_of(owner)?;
        devices.sort_by_key(|(_, stored)| (stored.logins > 1, stored.known_until));
        let excess = (devices.len() + 1).saturating_sub(MAX_DEVICES);
        for (record, stored) in devices.into_iter().take(excess) {
            self.unexpire(stored.check_at, &record);
            self.delete(record);
        }
        Ok(())
    }

    fn devices_of(&mut self, owner: &UserKey) -> Result<Vec<(Vec<u8>, StoredDevice)>, StoreError> {
        let range = keys::devices_of(owner);
        let entries = self.scan(&range, Order::Ascending, MAX_DEVICES)?;
        let record = |Entry { key, value }| {
            let stored = codec::decode(&key, &value)?;
            Ok((key, stored))
        };
        entries.into_iter().map(record).collect()
    }
}
