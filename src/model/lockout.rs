//! Failed log-ins, counted for an account over every way in, or for a name that no account has.

use serde::{Deserialize, Serialize};

use crate::types::time::Timestamp;

/// The counter of one account, of one of its devices, or of one canonical name without an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lockout {
    /// Failures since the last success or unlock.
    pub failures: u32,
    /// The moment of the last failure; an old one is forgotten.
    pub last_failure: Timestamp,
    /// Closed until this moment; the epoch when it is open.
    pub locked_until: Timestamp,
}

impl Lockout {
    /// Whether log-in is closed at `now`.
    pub fn is_locked(&self, now: Timestamp) -> bool {
        now < self.locked_until
    }
}

/// The reason against another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// The counter of the account, or of the name.
    pub account: Lockout,
    /// The counter of the device that was shown, if it is one of the account's.
    pub device: Option<Lockout>,
}

impl Standing {
    /// Whether a try is refused whatever the password is. A known device passes a lock, which must
    /// not be a weapon against the owner, until it has failed as often itself.
    pub fn refuses(&self, now: Timestamp) -> bool {
        self.account.is_locked(now) && self.device.is_none_or(|device| device.is_locked(now))
    }
}
