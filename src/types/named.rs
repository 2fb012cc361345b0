//! How does an operator name an account? On the command line, over the control socket and in the service.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::types::ids::UserId;
use crate::types::login::LoginName;

/// An account, by its id or by anything it can log in with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Named {
    /// By id.
    Id(UserId),
    /// By username, e-mail address or mobile number.
    Login(LoginName),
}

impl Named {
    /// An id, or else a login.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        text.parse()
            .map(Self::Id)
            .or_else(|_| LoginName::guess(text).map(Self::Login))
            .map_err(|_| BadName)
    }
}

impl FromStr for Named {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Named {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        Self::parse(&text)
    }
}

impl From<Named> for String {
    fn from(user: Named) -> Self {
        user.to_string()
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Login(login) => login.fmt(f),
        }
    }
}

/// Text that names no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("name a user by id, username, e-mail address or mobile number")]
pub struct BadName;
