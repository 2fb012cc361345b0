//! Which of several device cookies is used? The one that the store has for the account.

use crate::service::Service;
use crate::service::caller::Caller;
use crate::service::error::AuthError;
use crate::service::grant::device_name;
use crate::store::{LockoutStore as _, LoginKey, Target};
use crate::types::ids::{DeviceId, TenantId};
use crate::types::login::LoginName;

impl Service {
    /// The device of a log-in to this account: among several cookies the one that the account knows,
    /// otherwise the first. A neighbouring host that sets a cookie must not displace the device of the
    /// owner.
    pub(super) async fn choose_device(
        &self,
        identifier: &str,
        caller: &Caller,
    ) -> Result<Option<DeviceId>, AuthError> {
        if caller.other_devices.is_empty() {
            return Ok(caller.device);
        }
        let Ok(login) = LoginName::guess(identifier) else {
            return Ok(caller.device);
        };
        let key = LoginKey {
            tenant: TenantId::default(),
            login,
        };
        let target = Target::Login(key);
        let shown = caller.device.iter().chain(&caller.other_devices);
        for device in shown.take(MAX_SHOWN) {
            let name = Some(device_name(*device));
            let standing = self.parts.store.standing(&target, name).await?;
            if standing.device.is_some() {
                return Ok(Some(*device));
            }
        }
        Ok(caller.device)
    }
}

/// The largest number of devices that are looked up for one log-in.
const MAX_SHOWN: usize = 8;
