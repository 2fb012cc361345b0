//! Failed log-ins of one account name, counted whether or not the account exists.

use serde::{Deserialize, Serialize};

use crate::types::time::Timestamp;

/// The counter kept for one canonical login name.
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
