//! Failed log-ins, counted for an account over all its login names, or for a name that no account has.

use serde::{Deserialize, Serialize};

use crate::types::time::Timestamp;

/// The counter of one account, of one of its devices, or of one canonical name without an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lockout {
    /// Failures since the last success or unlock.
    pub failures: u32,
    /// The moment of the last failure. After a while it no longer counts.
    pub last_failure: Timestamp,
    /// Log-in is locked until this moment; the epoch when it is not locked.
    pub locked_until: Timestamp,
}

impl Lockout {
    /// Whether log-in is locked at `now`.
    pub fn is_locked(&self, now: Timestamp) -> bool {
        now < self.locked_until
    }
}

/// The counters that decide whether another attempt is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// The counter of the account, or of the name.
    pub account: Lockout,
    /// The counter of the device that the client presented, if the account knows it.
    pub device: Option<Lockout>,
}

impl Standing {
    /// Whether an attempt is refused whatever the password is. A known device passes the lock of the account
    /// until it has failed as often itself; otherwise anyone could lock the owner out.
    pub fn refuses(&self, now: Timestamp) -> bool {
        self.account.is_locked(now) && self.device.is_none_or(|device| device.is_locked(now))
    }
}
