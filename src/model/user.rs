//! An account.

use serde::{Deserialize, Serialize};

use crate::types::ids::{TenantId, UserId};
use crate::types::login::LoginName;
use crate::types::role::Roles;
use crate::types::time::Timestamp;

/// Where one user lives: the scope of every read and write about them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The user within it.
    pub user: UserId,
}

/// How often an account had been changed when something was made from it. An access token carries
/// the version whose claims it states.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct AccountVersion(pub u32);

/// One account. At least one of `username`, `email`, `mobile` is present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Tenant and id.
    pub key: UserKey,
    /// Chosen name.
    pub username: Option<LoginName>,
    /// E-mail address.
    pub email: Option<LoginName>,
    /// Mobile number.
    pub mobile: Option<LoginName>,
    /// The person's name, as it should be shown.
    pub name: Option<String>,
    /// Roles, first one first.
    pub roles: Roles,
    /// The password's Argon2id hash in PHC form.
    pub password: PasswordHash,
    /// Whether the account may be used.
    pub status: UserStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts changes; an update names the version it was made from.
    pub version: u32,
}

impl User {
    /// The version of the account that is stated here.
    pub const fn account_version(&self) -> AccountVersion {
        AccountVersion(self.version)
    }

    /// The logins this account can be found by.
    pub fn logins(&self) -> impl Iterator<Item = &LoginName> {
        [&self.username, &self.email, &self.mobile]
            .into_iter()
            .flatten()
    }

    /// What the claim `username` and the header `X-User-Name` carry: the username, else the e-mail
    /// address, else the mobile number.
    pub fn handle(&self) -> &str {
        self.logins().next().map_or("", LoginName::as_str)
    }
}

/// Whether an account may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserStatus {
    /// Log-in works.
    Enabled,
    /// Log-in is refused exactly like a wrong password.
    Disabled,
}

/// A password hash in PHC form. Not the password, yet still nothing to print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Wraps a PHC string.
    pub fn new(phc: impl Into<String>) -> Self {
        Self(phc.into())
    }

    /// The PHC string.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(***)")
    }
}
