//! Where are failed log-ins counted? In the store, for the account, the login name and the device.

use std::future::Future;
use std::time::Duration;

use crate::model::lockout::{Lockout, Standing};
use crate::model::user::UserKey;
use crate::store::{LoginKey, StoreError};
use crate::types::ids::DeviceId;

/// How long a device is known after the last log-in from it.
pub const DEVICE_LIFE: Duration = Duration::from_secs(400 * 86_400);

/// The greatest number of known devices of one account. Above it, devices that were never used again
/// are removed first.
pub const MAX_DEVICES: usize = 64;

/// Failed attempts at a password.
///
/// There is one counter for each account, over all of its login names, and one for each canonical name
/// that no account has. The step that counts also decides which of the two a name means.
///
/// A device from which the account was logged in is known for [`DEVICE_LIFE`]. Its failures are
/// counted for the account and for the device.
pub trait LockoutStore: Send + Sync + 'static {
    /// The locks that apply to one more attempt.
    fn standing(
        &self,
        target: &Target,
        device: Option<DeviceId>,
    ) -> impl Future<Output = Result<Standing, StoreError>> + Send;

    /// Counts one failure, as `rules::lockout` decides, and returns the counter before and after it.
    fn count_failure(
        &self,
        target: &Target,
        device: Option<DeviceId>,
        policy: LockPolicy,
    ) -> impl Future<Output = Result<Failed, StoreError>> + Send;

    /// Clears all failures. Returns whether there were any.
    fn unlock(&self, target: &Target) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// The password that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// That of the account with this login name, if there is one.
    Login(LoginKey),
    /// That of this account.
    Account(UserKey),
}

/// A counted failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// The counter of the account or name before it.
    pub before: Lockout,
    /// The same counter after it.
    pub after: Lockout,
}

/// The parameters of the lock-out rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockPolicy {
    /// The number of failures that leads to a lock. Zero: no lock.
    pub max_failures: u32,
    /// How long a lock holds, and how long a failure counts.
    pub lock_for: Duration,
}
