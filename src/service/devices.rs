//! Which of several device cookies counts: their values say nothing, but the store knows which devices
//! an account was logged in from.

use crate::service::Service;
use crate::service::caller::Caller;
use crate::service::error::AuthError;
use crate::service::grant::device_name;
use crate::store::{AccountStore as _, LoginKey, SessionStore as _};
use crate::types::ids::{DeviceId, TenantId};
use crate::types::login::LoginName;

impl Service {
    /// The device that a log-in to this account comes from: of several that a browser shows the one that
    /// a session of the account knows, else the first. A neighbouring host that plants a cookie must not
    /// take the owner's proof away.
    pub async fn choose_device(
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
        let store = &self.parts.store;
        let Some(user) = store.user_by_login(&key).await? else {
            return Ok(caller.device);
        };
        let sessions = store.sessions(&user.key).await?;
        let is_known = |device: &DeviceId| {
            let name = Some(device_name(*device));
            sessions.iter().any(|session| session.device_id == name)
        };
        let shown = caller.device.iter().chain(&caller.other_devices);
        let known = shown.copied().find(is_known);
        Ok(known.or(caller.device))
    }
}
