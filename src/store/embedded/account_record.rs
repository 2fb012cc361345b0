//! How is an account stored, in the present and in the earlier format?

use serde::{Deserialize, Serialize};

use crate::model::user::{PasswordHash, User, UserKey, UserStatus, VerifiedAddresses};
use crate::store::codec::Versioned;
use crate::types::login::LoginName;
use crate::types::role::Roles;
use crate::types::time::Timestamp;

impl Versioned for User {
    type First = First;
    type Second = Second;
}

/// Format 1 does not record which addresses were verified. None counts as verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct First {
    key: UserKey,
    username: Option<LoginName>,
    email: Option<LoginName>,
    mobile: Option<LoginName>,
    name: Option<String>,
    roles: Roles,
    password: PasswordHash,
    status: UserStatus,
    created_at: Timestamp,
    updated_at: Timestamp,
    version: u32,
}

/// Format 2: the fields of format 1, then the marks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Second {
    first: First,
    verified: VerifiedAddresses,
}

impl From<First> for User {
    fn from(first: First) -> Self {
        Self {
            key: first.key,
            username: first.username,
            email: first.email,
            mobile: first.mobile,
            verified: VerifiedAddresses::NONE,
            name: first.name,
            roles: first.roles,
            password: first.password,
            status: first.status,
            created_at: first.created_at,
            updated_at: first.updated_at,
            version: first.version,
        }
    }
}

impl From<Second> for User {
    fn from(second: Second) -> Self {
        Self {
            verified: second.verified,
            ..second.first.into()
        }
    }
}

impl From<&User> for First {
    fn from(user: &User) -> Self {
        Self {
            key: user.key.clone(),
            username: user.username.clone(),
            email: user.email.clone(),
            mobile: user.mobile.clone(),
            name: user.name.clone(),
            roles: user.roles.clone(),
            password: user.password.clone(),
            status: user.status,
            created_at: user.created_at,
            updated_at: user.updated_at,
            version: user.version,
        }
    }
}

impl From<&User> for Second {
    fn from(user: &User) -> Self {
        Self {
            first: user.into(),
            verified: user.verified,
        }
    }
}
